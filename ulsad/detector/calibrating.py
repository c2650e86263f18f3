"""Calibrate a model on held-out good photos: what Eq. 9 needs, from their distances."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np

from ulsad.compute.frontier import frontiers
from ulsad.detector.snapshot import combination
from ulsad.method.branches import BATCH, Branches
from ulsad.method.calibration import Calibration
from ulsad.method.equations import resample

PIXELS_OF = 256  # held-out photos whose pixels set the quantiles: 16 million pixels are enough


def calibrate(branches: Branches, distances: np.ndarray, ignored: np.ndarray | None = None) -> Calibration:
    """Quantiles and scores from the distances of n held-out good photos.

    With more than `PIXELS_OF` photos, only evenly spaced ones set the quantiles.
    """
    some = distances[:: -(-len(distances) // PIXELS_OF)]
    calibration = Calibration.of(*raw_maps(branches, some), combination(branches.config), ignored)
    if len(some) == len(distances):
        return calibration
    kept = slice(None) if ignored is None else ~ignored
    chunks = (raw_maps(branches, distances[i:i + BATCH]) for i in range(0, len(distances), BATCH))
    return replace(calibration, frontiers=tuple(chain.from_iterable(
        frontiers(local[:, kept], None if global_ is None else global_[:, kept])
        for local, global_ in chunks)))


def raw_maps(branches: Branches, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Raw maps (n, s, s) of both branches, from distances (n, b, g, g); None without a global branch."""
    maps = resample(distances, branches.resampling)
    return maps[:, 0], maps[:, 1] if maps.shape[1] > 1 else None
