"""A bank of good patches and the distance to the nearest one: a baseline that a trained detector should beat.

Similar to PatchCore without its coreset: features, split and grid are Ulsad's, and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ulsad.detector.preparation import (
    Photos,
    choose_device,
    extract_features,
    feature_statistics,
    read_and_split,
    with_white_level,
)
from ulsad.errors import InputError
from ulsad.method.backbones import FeatureExtractor, load_backbone
from ulsad.method.bank import draw, drawn_patches, nearest_distance
from ulsad.method.config import Config
from ulsad.method.equations import resample, resampling_matrix
from ulsad.photos.images import read_squares

SIZE = 8000  # patches in the bank, drawn at random from all training photos
STRANGEST = 5  # a photo's score is the mean of this many largest distances


@dataclass(frozen=True)
class Bank:
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
    ) -> Bank:
        """A bank from the photos that `Ulsad.fit` would train on; the ones it would hold out are not used."""
        extractor = load_backbone(config, weights).to(choose_device(device))
        config, _ = with_white_level(config, photos, held_out)
        good, _ = read_and_split(photos, held_out, config)
        features = extract_features(extractor, good.images, lambda *counts: None)
        mean, std = feature_statistics(features)
        features = (features[:] - mean) / std
        drawn = draw(features[:, 0].numel(), SIZE, config.seed)
        return cls(config, extractor, mean, std, drawn_patches(features, drawn))

    def score(self, photos: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n,) and maps float32 (n, s, s). Raises `InputError` when a photo can't be read."""
        _, images, skipped = read_squares(photos, self.config.image_size, white_level=self.config.white_level)
        if skipped:
            raise InputError(skipped[0].reason)
        features = extract_features(self.extractor, images, lambda *counts: None)
        distances = nearest_distance((features[:] - self.mean) / self.std, self.patches)
        scores = distances.flatten(1).topk(STRANGEST).values.mean(dim=1)
        matrix = resampling_matrix(self.extractor.grid, self.config.image_size, blur_sigma=0.0)
        return scores.double().numpy(), resample(distances, matrix).numpy()

