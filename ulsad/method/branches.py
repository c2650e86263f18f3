"""Both branches of a model together: from 8-bit squares to distances on the grid (Eq. 7 and 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ulsad.compute.rows import Rows, batches
from ulsad.method.backbones import FeatureExtractor
from ulsad.method.bank import FITTED_ON, Bank
from ulsad.method.config import Config
from ulsad.method.equations import distance, resampling_matrix
from ulsad.method.networks import Networks, Outputs
from ulsad.method.residuals import (
    expected,
    expected_coefficients,
    whitened_distance,
    whitening,
    with_peaks,
)

BATCH = 16  # photos processed at a time; bounds memory and affects nothing else
FIELDS = 16  # 4 × 4 fields of a photo, whose means describe it
WHOLE_PHOTO = (False, True)  # local, global: whether the expected distance depends on the patch or the photo


class Analysis(NamedTuple):
    """Results for n photos on the g × g grid."""

    distances: np.ndarray  # float32 (n, b, g, g), ≥ 0: local and, if there is one, global (Eq. 7 and 8)
    descriptors: np.ndarray  # float32 (n, c* · FIELDS), see `describe`


def describe(features: Tensor) -> Tensor:
    """Standardised features (n, c*, g, g) → (n, c* · 16): means in 4 × 4 fields, for comparing photos."""
    return F.adaptive_avg_pool2d(features, math.isqrt(FIELDS)).flatten(1)


@dataclass(frozen=True)
class Branches:
    """Backbone, standardisation and networks of one model, with their expected errors.

    `mean` and `std` are μ and σ of the training features, float32 (1, c*, 1, 1). `whitening` (c*, c*),
    `expected`, (3,) for each branch, and `spread`, the standard deviation of ψ's distances, come from
    `fitted`; None if the configuration does not use them.
    """

    config: Config
    extractor: FeatureExtractor
    networks: Networks
    mean: Tensor
    std: Tensor
    bank: Bank | None = None
    whitening: Tensor | None = None
    expected: tuple[Tensor, ...] | None = None
    spread: Tensor | None = None

    @torch.no_grad()
    def fitted(self, images: Rows) -> Branches:
        """A copy whose expected errors come from these training photos, uint8 (n, 3, s, s), without copies.

        If the networks' outputs are not finite, nothing is fitted; their maps will show it.
        """
        fitted = replace(self, whitening=None, expected=None, spread=None)
        if self.config.local_metric == "plain" and not self.config.relative_maps and self.bank is None:
            return fitted
        some = torch.arange(0, len(images), math.ceil(len(images) / FITTED_ON))
        features, outputs = fitted._forward_all(images[some])
        if not all(output is None or output.isfinite().all() for output in outputs):
            return fitted
        if self.config.local_metric == "whitened":
            fitted = replace(fitted, whitening=whitening(outputs.reconstruction - features))
        distances = fitted._distances(features, outputs)
        if self.config.relative_maps:
            fitted = replace(fitted, expected=tuple(
                expected_coefficients(d, features, whole) for d, whole in zip(distances, WHOLE_PHOTO)))
        if self.bank is not None:
            local = fitted._relative(distances, features)[0]
            fitted = replace(fitted, spread=local.std().clamp_min(1e-12))
        return fitted

    @torch.no_grad()
    def analyse(self, images: Rows) -> Analysis:
        """The networks' results for uint8 (n, 3, s, s), on the grid.

        Always in float32, so that a model trained in bfloat16 gives the same maps on other machines.
        """
        self.networks.eval()
        pieces = batches(images, self.extractor.at_once)
        distances, descriptors = zip(*self.extractor.each(self._analysed, pieces), strict=True)
        return Analysis(np.concatenate(distances), np.concatenate(descriptors))

    @torch.no_grad()
    def _analysed(self, images: Tensor) -> Analysis:
        features, outputs = self._forward(images)
        distances = torch.stack(self.distances(features, outputs), dim=1)
        return Analysis(distances.cpu().numpy(), describe(features).cpu().numpy())

    @torch.no_grad()
    def forward(self, square: Tensor) -> tuple[Tensor, Outputs]:
        """Standardised features of one photo, uint8 (3, s, s), and the networks' outputs, as batches of one
        on the CPU."""
        self.networks.eval()
        features, outputs = self._forward(square[None])
        return features.cpu(), outputs.map(Tensor.cpu)

    @cached_property
    def resampling(self) -> np.ndarray:
        """float32 (s, g): the matrix from distances on the grid to raw maps at the image size, see
        `equations.resample`."""
        return resampling_matrix(self.extractor.grid, self.config.image_size, self.config.blur_sigma).numpy()

    @torch.no_grad()
    def _forward(self, images: Tensor) -> tuple[Tensor, Outputs]:
        """Standardised features, and the networks' outputs."""
        normalised = self.extractor.normalise(images.to(self.mean.device))
        features = (self.extractor(normalised) - self.mean) / self.std
        return features, self.networks(normalised, features)

    def _forward_all(self, images: Rows) -> tuple[Tensor, Outputs]:
        self.networks.eval()
        pieces = batches(images, self.extractor.at_once)
        features, outputs = zip(*self.extractor.each(self._forward, pieces), strict=True)
        return torch.cat(features), Outputs.joined(outputs)

    def distances(self, features: Tensor, outputs: Outputs) -> list[Tensor]:
        """Local and, if there is one, global distances at every position, (n, h*, w*) each.

        With a bank, the local one is the mean of ψ's distance and of the one to the nearest good patch, each
        in units of its spread over good patches.
        """
        distances = self._relative(self._distances(features, outputs), features)
        if self.bank is None or self.spread is None:
            return distances
        return [(distances[0] / self.spread + self.bank.distances(features)) / 2, *distances[1:]]

    def _distances(self, features: Tensor, outputs: Outputs) -> list[Tensor]:
        """The networks' own distances, Eq. 7 and 8, the first one possibly whitened."""
        local = self._local_distance(features, outputs.reconstruction)
        if outputs.global_features is None:
            return [local]
        counterpart = features if outputs.second is None else outputs.second
        return [local, distance(counterpart, outputs.global_features, self.config.lambda_g)]

    def _relative(self, distances: list[Tensor], features: Tensor) -> list[Tensor]:
        """The same distances as multiples of the expected ones, if there are any."""
        if self.expected is None:
            return distances
        usual = [expected(features, coefficients, whole)
                 for coefficients, whole in zip(self.expected, WHOLE_PHOTO)]
        relative = [d / e for d, e in zip(distances, usual)]
        place = distances[0] / usual[0] ** self.config.expected_power
        return [with_peaks(place, relative[0]), *relative[1:]]

    def _local_distance(self, features: Tensor, reconstruction: Tensor) -> Tensor:
        if self.whitening is None:
            return distance(reconstruction, features, self.config.lambda_l)
        return whitened_distance(reconstruction - features, self.whitening)
