"""Quantile normalisation (Eq. 9) and scores (Eq. 10) from held-out good photos. Numpy only, but `Transform`
and `Combination` take tensors as well.

Raw maps do not depend on α and β: everything here is affine and takes microseconds, so a slider never runs a
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ulsad.compute.frontier import frontiers
from ulsad.method.equations import Array

# Levels at which the quantile function is stored: evenly spaced below the median, then increasingly dense
# towards 1, so that at most 0.3 % of the remaining values above lie between two neighbours.
LEVELS = np.concatenate([np.linspace(0, 0.5, 129)[:-1], 1 - 0.5 * np.geomspace(1, 1e-6, 5000), [1.0]])


@dataclass(frozen=True)
class QuantileFunction:
    """The distribution of one branch's raw pixel scores over the held-out good photos."""

    values: np.ndarray  # float64 (len(LEVELS),), ascending

    def __post_init__(self) -> None:
        if self.values.shape != LEVELS.shape:
            raise ValueError(f"a quantile function has {len(LEVELS)} values, not {self.values.shape}")

    @classmethod
    def of(cls, samples: np.ndarray) -> QuantileFunction:
        return cls(np.quantile(samples, LEVELS))

    def __call__(self, level: float) -> float:
        """q at a level in [0, 1]; within 0.1 % of numpy's for levels in [0.5, 0.9995]."""
        return float(np.interp(level, LEVELS, self.values))


@dataclass(frozen=True)
class Transform:
    """t of Eq. 9 for one branch, as described in the paper's text: q_α ↦ 0, q_β ↦ 0.1."""

    q_alpha: float
    q_beta: float

    def __call__(self, raw: Array) -> Array:
        spread = max(self.q_beta - self.q_alpha, 1e-6 * abs(self.q_beta), 1e-12)  # constant maps
        return 0.1 * (raw - self.q_alpha) / spread


@dataclass(frozen=True)
class AnomalyMaps:
    """Normalised maps of one photo, all of the same shape (H, W); `global_` is None without that branch."""

    local: np.ndarray
    global_: np.ndarray | None
    combined: np.ndarray

    @property
    def score(self) -> float:
        """s of Eq. 10, the maximum of the combined map."""
        return float(self.combined.max())

    @property
    def local_score(self) -> float:
        return float(self.local.max())

    @property
    def global_score(self) -> float:
        return float("nan") if self.global_ is None else float(self.global_.max())


@dataclass(frozen=True)
class Combination:
    """How both normalised maps are combined, with weight w for the global map and 1 for the local map.

    "mean": (l + w g) / (1 + w), the paper's at w = 1. "maximum": max(l, w g), so that a defect seen by only
    one branch is not averaged down. "sum": l + w max(g, 0): what the global branch finds unusual adds to the
    local map, and where it finds nothing, the local map stays as it is.
    """

    kind: str = "mean"
    global_weight: float = 1.0

    def __call__(self, local: Array, global_: Array) -> Array:
        weighted = self.global_weight * global_
        if self.kind == "maximum":
            return weighted.clip(min=local)
        if self.kind == "sum":
            return local + weighted.clip(min=0)
        return (local + weighted) / (1 + self.global_weight)


@dataclass(frozen=True)
class Normalisation:
    """Eq. 9 for both branches at one choice of α and β."""

    local: Transform
    global_: Transform | None
    combine: Combination

    def __call__(self, raw_local: np.ndarray, raw_global: np.ndarray | None) -> AnomalyMaps:
        local = self.local(raw_local)
        if self.global_ is None or raw_global is None:
            return AnomalyMaps(local, None, local)
        global_ = self.global_(raw_global)
        return AnomalyMaps(local, global_, self.combine(local, global_))


@dataclass(frozen=True)
class Calibration:
    """What is normal for the held-out good photos, for any α and β.

    `frontiers` holds, per held-out photo, the few (local, global) raw values that determine its three scores
    exactly; see `compute.frontier`.
    """

    local: QuantileFunction
    global_: QuantileFunction | None
    frontiers: tuple[np.ndarray, ...]  # each (k, 2), or (1, 1) without a global branch
    combine: Combination = Combination()
    ignored: np.ndarray | None = None  # bool (s, s): pixels left out everywhere

    @classmethod
    def of(
        cls, raw_local: np.ndarray, raw_global: np.ndarray | None, combine: Combination = Combination(),
        ignored: np.ndarray | None = None,
    ) -> Calibration:
        """From raw maps (n, s, s) of n held-out good photos."""
        kept = slice(None) if ignored is None else ~ignored
        local, global_ = raw_local[:, kept], None if raw_global is None else raw_global[:, kept]
        return cls(QuantileFunction.of(local), None if global_ is None else QuantileFunction.of(global_),
                   frontiers(local, global_), combine, ignored)

    def normalisation(self, alpha: float, beta: float, combine: Combination | None = None) -> Normalisation:
        """Eq. 9 at these levels; `combine` replaces the model's own combination."""
        def transform(quantile: QuantileFunction) -> Transform:
            return Transform(quantile(alpha), quantile(beta))

        return Normalisation(transform(self.local), None if self.global_ is None else transform(self.global_),
                             combine or self.combine)

    def held_out_scores(
        self, alpha: float, beta: float, combine: Combination | None = None
    ) -> np.ndarray:
        """(n, 3): combined, local and global score of every held-out good photo (Eq. 10)."""
        return self.scores(self.frontiers, alpha, beta, combine)

    def scores(
        self, frontiers: Sequence[np.ndarray], alpha: float, beta: float,
        combine: Combination | None = None,
    ) -> np.ndarray:
        """(n, 3): combined, local and global score of n photos, from their frontiers."""
        if not len(frontiers):
            return np.empty((0, 3))
        points = np.concatenate(frontiers)
        starts = np.cumsum([0, *map(len, frontiers[:-1])])
        maps = self.normalisation(alpha, beta, combine)(*_columns(points))
        missing = np.full(len(points), np.nan)
        columns = (maps.combined, maps.local, missing if maps.global_ is None else maps.global_)
        return np.stack([np.maximum.reduceat(column, starts) for column in columns], axis=1)


def _columns(points: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    return points[:, 0], points[:, 1] if points.shape[1] == 2 else None
