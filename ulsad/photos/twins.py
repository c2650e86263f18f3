"""Find equal and nearly equal photos. Numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

SIDE = 32  # px of the grey thumbnails that are compared

# Two photos are near duplicates when their grey 32 x 32 thumbnails differ by an RMS of less than NEAR grey
# levels and less than NEAR_CONTRAST of the thumbnail's own standard deviation. Measured on the good training
# photos of four screws (19), toy figures (38), magnetic tiles (240), and on 400 demo trays; in brackets
# relative to the standard deviation:
#                                lowest          median          highest         found of 697
#   JPEG at quality 60           0.11 (0.003)    0.24 (0.007)    0.46 (0.038)    697
#   half the size                0.03 (0.001)    0.06 (0.002)    0.55 (0.024)    697
#   half the size, and back      0.03 (0.001)    0.04 (0.001)    0.54 (0.025)    697
#   1 % brighter                 0.69 (0.027)    1.39 (0.040)    1.91 (0.108)    2
#   shifted by 1 px              0.41 (0.018)    2.03 (0.059)    6.85 (0.245)    28
#   nearest other good photo     4.49 (0.127)    6.57 (0.189)    30.3 (1.952)    0
# The relative limit is for dark photos: with 12-bit values in 16-bit files, different trays differ by only
# 0.30 (0.149).
NEAR, NEAR_CONTRAST = 0.8, 0.05
NEAR_CAP = 5000  # photos; the number of comparisons grows with their square

_CHUNK = 256  # rows of the distance table at a time


def exact_twins(digests: Sequence[Hashable]) -> dict[int, int]:
    """Index of a photo → index of the first one with the same digest."""
    first: dict[Hashable, int] = {}
    twins = {i: first.setdefault(digest, i) for i, digest in enumerate(digests)}
    return {second: first for second, first in twins.items() if second != first}


def near_twins(thumbnails: Sequence[np.ndarray], slots: Sequence[str]) -> dict[int, int]:
    """Index of a photo → index of the nearest earlier one, if that is a near duplicate.

    `thumbnails` are float32 (`SIDE`, `SIDE`) from 0 to 255; of more than `NEAR_CAP`, see `compared`.
    """
    if len(thumbnails) < 2:
        return {}
    indices = compared(slots)
    twins: dict[int, int] = {}
    greys = np.stack([thumbnails[i].ravel() for i in indices])
    limits = np.minimum(NEAR, NEAR_CONTRAST * greys.std(axis=1))
    greys -= greys.mean(axis=0)  # small numbers, so that a² + b² - 2ab keeps its digits in float32
    squares = np.square(greys).mean(axis=1)
    for start in range(0, len(greys), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(greys)))
        earlier = np.arange(rows[-1] + 1)
        distances = squares[rows, None] + squares[earlier] - 2 * (greys[rows] @ greys[earlier].T) / SIDE**2
        distances[earlier >= rows[:, None]] = np.inf
        near = np.sqrt(distances.min(axis=1).clip(0)) < limits[rows]
        twins |= {indices[row]: indices[column]
                  for row, column in zip(rows[near], distances[near].argmin(axis=1))}
    return twins


def compared(slots: Sequence[str]) -> list[int]:
    """Indices of at most `NEAR_CAP` photos, smaller slots first, where an overlap does the most harm."""
    photos = Counter(slots)
    smaller_first = sorted(range(len(slots)), key=lambda i: photos[slots[i]])
    return sorted(smaller_first[:NEAR_CAP])
