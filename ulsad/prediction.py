"""What a detector says of one photo: raw maps first, everything that depends on α and β afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ulsad.calibration import AnomalyMaps, Calibration


@dataclass(frozen=True)
class Prediction:
    """What the networks say of one photo: raw maps, before any α and β.

    `raw_local` and `raw_global` are float32 (image_size, image_size), ≥ 0, at the network's resolution;
    scores and everything that depends on α and β follow from them.
    """

    path: Path | None
    size: tuple[int, int]  # the photo's own (height, width)
    raw_local: np.ndarray
    raw_global: np.ndarray | None  # None when the model has no global branch
    calibration: Calibration
    alpha: float  # the model's defaults
    beta: float

    def maps(self, alpha: float | None = None, beta: float | None = None) -> AnomalyMaps:
        """The normalised maps (Eq. 9) at the network's resolution, with their scores (Eq. 10)."""
        alpha = self.alpha if alpha is None else alpha
        beta = self.beta if beta is None else beta
        return self.calibration.normalisation(alpha, beta)(self.raw_local, self.raw_global)

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
        return None if self.raw_global is None else stretch(self.raw_global, self.size)

    @property
    def combined_map(self) -> np.ndarray:
        """The normalised maps as one, at the model's α and β: float32 (H, W) at the photo's own size."""
        return stretch(self.maps().combined, self.size)


def stretch(square: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A square map brought back, bilinearly, to a photo of (height, width): float32 (H, W)."""
    height, width = size
    image = Image.fromarray(square.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
