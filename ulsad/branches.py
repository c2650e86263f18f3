"""The two branches of one model as a whole: from 8-bit squares to raw anomaly maps (Eq. 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ulsad.backbones import FeatureExtractor
from ulsad.config import Config
from ulsad.maps import distance, resample, resampling_matrix
from ulsad.networks import Networks

BATCH = 16  # photos per forward pass; bounds memory, changes nothing else


@dataclass(frozen=True)
class Branches:
    """Backbone, standardisation and networks that belong together.

    `mean` and `std` are μ and σ of the training features, float32 (1, c*, 1, 1).
    """

    config: Config
    extractor: FeatureExtractor
    networks: Networks
    mean: Tensor
    std: Tensor

    @torch.no_grad()
    def raw_maps(self, images: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 (n, 3, s, s) → raw local and global maps, float32 (n, s, s) each, ≥ 0.

        Always float32 arithmetic, so that a model trained in bfloat16 gives the same maps elsewhere.
        """
        self.networks.eval()
        matrix = resampling_matrix(self.extractor.grid, self.config.image_size, self.config.blur_sigma)
        matrix = matrix.to(self.mean.device)
        parts = [self._raw_maps(batch, matrix) for batch in images.split(BATCH)]
        local, global_ = zip(*parts, strict=True)
        return np.concatenate(local), None if global_[0] is None else np.concatenate(global_)

    def _raw_maps(self, images: Tensor, matrix: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        images = self.extractor.normalise(images.to(self.mean.device))
        features = (self.extractor(images) - self.mean) / self.std
        outputs = self.networks(images, features)
        local = distance(outputs.reconstruction, features, self.config.lambda_l)
        if outputs.global_features is None:
            return resample(local, matrix).cpu().numpy(), None
        counterpart = features if outputs.second is None else outputs.second
        global_ = distance(counterpart, outputs.global_features, self.config.lambda_g)
        return resample(local, matrix).cpu().numpy(), resample(global_, matrix).cpu().numpy()
