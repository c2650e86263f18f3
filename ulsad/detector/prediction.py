"""A detector's result for one photo: distances, and what follows from them for any α and β."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ulsad.compute.frontier import frontiers
from ulsad.errors import InputError
from ulsad.method.calibration import AnomalyMaps, Calibration, Combination
from ulsad.method.equations import resample


@dataclass(frozen=True)
class Prediction:
    """The networks' result for one photo, independent of α and β: a few kilobytes, so thousands can be kept.

    Raw maps, scores and everything that depends on α and β are computed from the distances.
    """

    path: Path | None
    size: tuple[int, int]  # the photo's own (height, width)
    distances: np.ndarray  # float32 (b, g, g), ≥ 0: local and, if the model has that branch, global
    resampling: np.ndarray  # float32 (s, g), from the grid to the network's resolution
    calibration: Calibration
    alpha: float  # the model's defaults
    beta: float
    reference: int  # index of the most similar photo in the model's `References`
    digest: str  # fingerprint of the photo, see `images.digest`
    notes: tuple[str, ...] = ()  # sentences on the photo, to read before the verdict
    strangeness: float = 0.0  # distance from all `References`; > 1: probably not such a part

    @property
    def file(self) -> Path:
        """The photo's file. Raises `InputError` if the photo was given as pixels."""
        if self.path is None:
            raise InputError("This photo was given as pixels, so it can't be read again. Pass its file.")
        return self.path

    @property
    def is_strange(self) -> bool:
        """Whether it is unlike all training photos, so that its score means little."""
        return self.strangeness > 1

    @property
    def raw_local(self) -> np.ndarray:
        """M^l (Eq. 7) at the network's resolution, float32 (s, s), ≥ 0; 0 where the model ignores pixels."""
        return self._raw(0)

    @property
    def raw_global(self) -> np.ndarray | None:
        """M^g (Eq. 8) in the same form; None if the model has no global branch."""
        return self._raw(1) if len(self.distances) > 1 else None

    def _raw(self, branch: int) -> np.ndarray:
        raw = resample(self.distances[branch], self.resampling)
        if self.calibration.ignored is not None:
            raw[self.calibration.ignored] = 0  # below all other pixels
        return raw

    @cached_property
    def frontier(self) -> np.ndarray:
        """(k, b): the few pixels that determine all three scores, see `compute.frontier`."""
        raw_global = self.raw_global
        return frontiers(self.raw_local[None], None if raw_global is None else raw_global[None])[0]

    def maps(
        self, alpha: float | None = None, beta: float | None = None, combine: Combination | None = None
    ) -> AnomalyMaps:
        """The normalised maps (Eq. 9) at the network's resolution, with their scores (Eq. 10).

        α, β and the combination default to the model's.
        """
        alpha = self.alpha if alpha is None else alpha
        beta = self.beta if beta is None else beta
        return self.calibration.normalisation(alpha, beta, combine)(self.raw_local, self.raw_global)

    @property
    def score(self) -> float:
        """Eq. 10 at the model's α and β."""
        return self.maps().score

    @property
    def local_map(self) -> np.ndarray:
        """Raw M^l (Eq. 7), float32 (H, W) at the photo's own size: structural defects."""
        return stretch(self.raw_local, self.size)

    @property
    def global_map(self) -> np.ndarray | None:
        """Raw M^g (Eq. 8), float32 (H, W) at the photo's own size: logical defects."""
        raw = self.raw_global
        return None if raw is None else stretch(raw, self.size)

    @property
    def combined_map(self) -> np.ndarray:
        """The combined normalised map at the model's α and β: float32 (H, W) at the photo's own size."""
        return stretch(self.maps().combined, self.size)


def stretch(square: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A square map resized bilinearly to a photo of (height, width): float32 (H, W)."""
    values = torch.from_numpy(square.astype(np.float32))[None, None]
    shrinks = min(size) < min(square.shape)
    return F.interpolate(values, size, mode="bilinear", antialias=shrinks)[0, 0].numpy()
