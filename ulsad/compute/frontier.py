"""The few pixels of two maps that can be the maximum of a sum of both with positive weights.

They replace the whole maps where only the maximum matters: the scores of hundreds of photos are computed from
them for any α, β and weight while a slider moves.
"""

from __future__ import annotations

import numpy as np
import scipy


def frontiers(raw_local: np.ndarray, raw_global: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """The `frontier` of each of n photos' raw maps (n, …); without a second map only the peak, (1, 1)."""
    if raw_global is None:
        return tuple(raw_local.reshape(len(raw_local), -1).max(axis=1)[:, None, None])
    return tuple(frontier(a, b) for a, b in zip(raw_local, raw_global, strict=True))


def frontier(raw_local: np.ndarray, raw_global: np.ndarray) -> np.ndarray:
    """The pixels of a photo that can be its maximum under some α and β: (k, 2) raw (local, global).

    Both maps enter a score with positive weights. So a pixel matters only if it is not below one map's peak
    in both values. Of these pixels only the corners of the convex hull matter, as a linear function over a
    set of points is largest at such a corner. About a dozen pixels replace all 65,536.
    """
    local, global_ = raw_local.ravel(), raw_global.ravel()
    top_local, top_global = local == local.max(), global_ == global_.max()
    kept = (local >= local[top_global].max()) & (global_ >= global_[top_local].max())
    points = np.stack([local[kept], global_[kept]], axis=1)
    try:
        return points[scipy.spatial.ConvexHull(points).vertices] if len(points) > 8 else points
    except scipy.spatial.QhullError:  # all points lie on a line, as in a constant map: keep its two ends
        order = np.lexsort(points.T)
        return points[order[[0, -1]]]
