"""One pair of networks ψ and φ with the errors that it usually makes on good photos."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ulsad.method.config import Config
from ulsad.method.equations import distance
from ulsad.method.networks import Networks, Outputs
from ulsad.method.residuals import (
    expected,
    expected_coefficients,
    whitened_distance,
    whitening,
    with_peaks,
)

WHOLE_PHOTO = (False, True)  # local, global: whether the expected distance depends on the patch or the photo


def prefix_of(member: int) -> str:
    """What the names of a member's tensors in a file begin with: nothing for the first, as in models with
    one."""
    return f"member{member}." if member else ""


@dataclass(frozen=True)
class Member:
    """ψ and φ, and what `fitted` measures; None if the configuration does not use it.

    `whitening` (c*, c*), `expected`, (3,) for each branch, and `spread`, the standard deviation of ψ's
    distances over good patches.
    """

    config: Config
    networks: Networks
    whitening: Tensor | None = None
    expected: tuple[Tensor, ...] | None = None
    spread: Tensor | None = None

    @torch.no_grad()
    def fitted(self, features: Tensor, outputs: Outputs, keep_whitening: bool = False) -> Member:
        """A copy with the usual errors on these photos, which are trained on, without copies.

        If the networks' outputs are not finite, nothing is fitted; their maps will show it.
        """
        fitted, config = replace(self, expected=None, spread=None), self.config
        if not keep_whitening:
            fitted = replace(fitted, whitening=None)
        if not all(output is None or output.isfinite().all() for output in outputs):
            return fitted
        if config.local_metric == "whitened" and not keep_whitening:
            fitted = replace(fitted, whitening=whitening(outputs.reconstruction - features))
        distances = fitted._distances(features, outputs)
        if config.relative_maps:
            fitted = replace(fitted, expected=tuple(
                expected_coefficients(d, features, whole) for d, whole in zip(distances, WHOLE_PHOTO)))
        if config.nearest_patches:
            local = fitted._relative(distances, features)[0]
            fitted = replace(fitted, spread=local.std().clamp_min(1e-12))
        return fitted

    def distances(self, features: Tensor, outputs: Outputs) -> list[Tensor]:
        """Local and, if there is one, global distances at every position, (n, h*, w*) each.

        With a bank, the local ones are multiples of their spread.
        """
        local, *whole = self._relative(self._distances(features, outputs), features)
        return [local if self.spread is None else local / self.spread, *whole]

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
