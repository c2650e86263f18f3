"""The few pixels of two maps that can be the maximum of a sum of both with positive weights.

They stand for the whole maps wherever only the maximum counts: scores of hundreds of photos follow from them
at any α, β and weight while a slider moves.
"""

from __future__ import annotations

import numpy as np
import scipy


def frontiers(raw_local: np.ndarray, raw_global: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """The `frontier` of each of n photos' raw maps (n, …); just the peak, (1, 1), without a second map."""
    if raw_global is None:
        return tuple(raw_local.reshape(len(raw_local), -1).max(axis=1)[:, None, None])
    return tuple(frontier(a, b) for a, b in zip(raw_local, raw_global, strict=True))


def frontier(raw_local: np.ndarray, raw_global: np.ndarray) -> np.ndarray:
    """The pixels of a photo that can be its maximum under some α and β: (k, 2) raw (local, global).

    Both maps enter a score with positive weights. So a pixel counts only if it is not below the local map's
    peak, or the global one's, in both values; and as a linear function over a point set is largest at a
    corner of its convex hull, of those only corners. A dozen pixels stand for all 65,536.
    """
    local, global_ = raw_local.ravel(), raw_global.ravel()
    top_local, top_global = local == local.max(), global_ == global_.max()
    kept = (local >= local[top_global].max()) & (global_ >= global_[top_local].max())
    points = np.stack([local[kept], global_[kept]], axis=1)
    try:
        return points[scipy.spatial.ConvexHull(points).vertices] if len(points) > 8 else points
    except scipy.spatial.QhullError:  # all points on one line, as in a constant map: its two ends
        order = np.lexsort(points.T)
        return points[order[[0, -1]]]
