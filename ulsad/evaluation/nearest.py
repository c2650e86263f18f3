"""A nearest-neighbour search among good patches: a baseline that a trained detector should beat.

Similar to PatchCore without its coreset: features, split and grid are Ulsad's, and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ulsad.compute.device import choose_device
from ulsad.detector.detector import Ulsad
from ulsad.detector.photo_sets import Photos, read_and_split, with_white_level
from ulsad.detector.preparation import extract_features, feature_statistics
from ulsad.errors import InputError
from ulsad.method.backbones import FeatureExtractor, load_backbone
from ulsad.method.bank import draw, drawn_patches, nearest_distance
from ulsad.method.config import Config
from ulsad.method.equations import resample, resampling_matrix
from ulsad.photos.images import read_squares

SIZE = 8000  # patches that `fit` draws at random from all training photos
STRANGEST = 5  # a photo's score is the mean of this many largest distances
AT_ONCE = 16  # photos


@dataclass(frozen=True)
class NearestNeighbours:
    """Patch features of good photos, standardised and averaged over 3 × 3 neighbours."""

    config: Config
    extractor: FeatureExtractor
    mean: Tensor
    std: Tensor
    patches: Tensor  # float32 (≤ SIZE, c*)

    @classmethod
    def fit(
        cls, photos: Photos, config: Config, held_out: Photos | None = None,
        weights: Path | str | None = None, device: str | None = None,
    ) -> NearestNeighbours:
        """From the photos that `Ulsad.fit` would train on; the ones it would hold out are not used."""
        extractor = load_backbone(config, weights).to(choose_device(device))
        config, _ = with_white_level(config, photos, held_out)
        good = read_and_split(photos, held_out, config).good
        features = extract_features(extractor, good.images, lambda *counts: None)
        mean, std = feature_statistics(features)
        features = (features[:] - mean) / std
        drawn = draw(features[:, 0].numel(), SIZE, config.seed)
        return cls(config, extractor, mean, std, drawn_patches(features, drawn))

    @classmethod
    def of(cls, detector: Ulsad) -> NearestNeighbours:
        """From the good patches in a model, so that no training photo is needed. Raises `InputError` if it
        has none."""
        branches = detector.branches
        if branches.bank is None:
            raise InputError("This model has no good patches, so there is no nearest-neighbour search to "
                             "compare it with. Train with nearest_patches=4000, as 'quick' does.")
        return cls(branches.config, branches.extractor, branches.mean.cpu(), branches.std.cpu(),
                   branches.bank.patches.cpu())

    def score(self, photos: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n,) and maps float32 (n, s, s). Raises `InputError` when a photo can't be read."""
        scores, maps = zip(*self.score_each(photos), strict=True)
        return np.array(scores), np.array(maps)

    def score_each(self, photos: Sequence[Path]) -> Iterator[tuple[float, np.ndarray]]:
        """The same, photo by photo, for `Evaluation.beside`."""
        matrix = resampling_matrix(self.extractor.grid, self.config.image_size, blur_sigma=0.0)
        for start in range(0, len(photos), AT_ONCE):
            distances = self._distances(photos[start:start + AT_ONCE])
            scores = distances.flatten(1).topk(STRANGEST).values.double().mean(dim=1)
            yield from zip(scores.tolist(), resample(distances, matrix).numpy(), strict=True)

    def _distances(self, photos: Sequence[Path]) -> Tensor:
        _, images, skipped = read_squares(photos, self.config.image_size, white_level=self.config.white_level,
                                          at_least=self.config.decoded_side)
        if skipped:
            raise InputError(skipped[0].reason)
        features = extract_features(self.extractor, images, lambda *counts: None)
        return nearest_distance((features[:] - self.mean) / self.std, self.patches)
