"""A bank of good patches, and the distance of a patch to the nearest of them.

ψ learns what good patches have in common, and may also reconstruct a patch that none of them resembles. The
bank remembers single patches instead. Both err in different places, so the local map is the mean of both; see
assets/EXPERIMENTS.md. Similar to PatchCore (Roth et al. 2022), with a random bank instead of its coreset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ulsad.compute.rows import Rows, batches
from ulsad.method.config import Config
from ulsad.method.residuals import expected, expected_coefficients, with_peaks

FITTED_ON = 40  # photos that set what distances are usual: 40,960 patches are enough
ROUNDING = 1e-6  # squared distances below this share of ‖p‖² are rounding errors, and differ between machines
AT_ONCE = 16  # photos of which patches are drawn at a time; bounds memory and affects nothing else


@dataclass(frozen=True)
class Bank:
    """Patches of good photos, with the distances that good patches usually have to those of other photos."""

    patches: Tensor  # float32 (m, c*), rounded to float16: see `averaged`
    spread: Tensor  # (): standard deviation of the distances of good patches
    expected: Tensor | None = None  # (3,), see `residuals.expected_coefficients`; None without relative maps
    photo: Tensor | None = None  # int (m,): index of the photo that each patch is from; None in old models

    @classmethod
    def of(cls, features: Rows, config: Config, device: torch.device) -> Bank:
        """`nearest_patches` random patches of n ≥ 2 good photos, whose standardised features are given as
        (n, c*, h, w)."""
        drawn = draw(len(features) * features.shape[2] * features.shape[3], config.nearest_patches,
                     config.seed)
        patches = drawn_patches(features, drawn).half().float().to(device)
        photo = (drawn // (features.shape[2] * features.shape[3])).to(torch.int32).to(device)
        some = list(range(0, len(features), -(-len(features) // FITTED_ON)))
        seen = torch.cat([features[i:i + 1] for i in some]).to(device)
        bank = cls(patches, torch.ones((), device=device), photo=photo)
        return bank.fitted(seen, some, config.relative_maps)

    def fitted(self, features: Tensor, photos: Sequence[int], relative: bool) -> Bank:
        """A copy that knows what distances are usual, from good photos: their standardised features
        (n, c*, h, w) and their numbers in `photo`. Each is compared with the patches of all others, if the
        bank knows whose they are."""
        distances = torch.cat([
            nearest_distance(features[k:k + 1], self.patches if self.photo is None
                             else self.without(photo).patches) for k, photo in enumerate(photos)])
        coefficients = expected_coefficients(distances, features, False) if relative else None
        spread = _relative(distances, features, coefficients).std().clamp_min(1e-12)
        return replace(self, spread=spread, expected=coefficients)

    def without(self, photo: int) -> Bank:
        """The same bank without the patches of one photo."""
        assert self.photo is not None
        kept = self.photo != photo
        return replace(self, patches=self.patches[kept], photo=self.photo[kept])

    def distances(self, features: Tensor) -> Tensor:
        """Distances to the nearest patch, as multiples of their usual spread: (n, c*, h, w) → (n, h, w).

        As in `Branches.distances`, the patches of a photo are compared by their distance, and photos by its
        ratio to the expected distance.
        """
        distances = nearest_distance(features, self.patches)
        return _relative(distances, features, self.expected) / self.spread


def _relative(distances: Tensor, features: Tensor, coefficients: Tensor | None) -> Tensor:
    if coefficients is None:
        return distances
    return with_peaks(distances, distances / expected(features, coefficients, False))


def averaged(features: Tensor) -> Tensor:
    """Mean over 3 × 3 neighbours. Padding with 0, the mean feature, lowers the high distances at borders."""
    return F.avg_pool2d(features, 3, stride=1, padding=1)


def draw(patches: int, size: int, seed: int) -> Tensor:
    """Indices of `size` of so many patches, at random and without repetition; of all if there are fewer."""
    return torch.randperm(patches, generator=torch.Generator().manual_seed(seed))[:size]


def drawn_patches(features: Rows, drawn: Tensor) -> Tensor:
    """The averaged patches at these indices of all patches, photo by photo and row by row: (m, c*)."""
    positions = features.shape[2] * features.shape[3]
    order = drawn.argsort()
    found, start = [], 0
    for batch in batches(features, AT_ONCE):
        index = drawn[order]
        index = index[(index >= start) & (index < start + len(batch) * positions)] - start
        found.append(averaged(batch).permute(0, 2, 3, 1).flatten(0, 2)[index])
        start += len(batch) * positions
    return torch.cat(found)[order.argsort()]


def nearest_distance(features: Tensor, patches: Tensor) -> Tensor:
    """Euclidean distance of every averaged patch of (n, c, h, w) to the nearest of (m, c): (n, h, w)."""
    points = averaged(features).permute(0, 2, 3, 1)
    return _nearest(points.flatten(0, 2), patches).view(points.shape[:3])


def _nearest(points: Tensor, patches: Tensor) -> Tensor:
    """√ of min ‖p‖² − 2 p·q + ‖q‖² over the patches q. The first term is added after the minimum."""
    without = torch.addmm(patches.square().sum(dim=1), points, patches.T, alpha=-2).amin(dim=1)
    squares = points.square().sum(dim=1)
    return (without + squares).maximum(ROUNDING * squares).sqrt()
