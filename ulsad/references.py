"""A few good photos that a model carries along, so that it can show what it expected to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ulsad.images import read_image

MOST = 32  # photos; a model file grows by about half a megabyte
SIDE = 384  # px, their longer side


@dataclass(frozen=True)
class References:
    """Good training photos, small, and what `branches.describe` says of them."""

    names: tuple[str, ...]
    descriptors: np.ndarray  # float16 (n, c* · 16)
    jpegs: tuple[bytes, ...]

    @classmethod
    def chosen(cls, paths: Sequence[Path], descriptors: np.ndarray, seed: int = 0,
               white_level: float | None = None) -> References:
        """At most `MOST` of n good photos, so that every one has a similar one among them.

        They are the medoids of as many k-means clusters of the descriptors (n, d). See `read_photo` for
        `white_level`.
        """
        indices = _medoids(descriptors, seed) if len(paths) > MOST else range(len(paths))
        return cls(tuple(paths[i].name for i in indices), descriptors[list(indices)].astype(np.float16),
                   tuple(_jpeg(paths[i], white_level) for i in indices))

    def nearest(self, descriptors: np.ndarray) -> np.ndarray:
        """For each of (m, d), the index of the photo with the smallest Euclidean distance: int (m,)."""
        squares = (descriptors[:, None] - self.descriptors[None].astype(np.float32)) ** 2
        return squares.sum(axis=2).argmin(axis=1)

    def photo(self, index: int) -> Image.Image:
        return Image.open(BytesIO(self.jpegs[index])).convert("RGB")


def _medoids(descriptors: np.ndarray, seed: int) -> list[int]:
    from sklearn.cluster import KMeans

    clusters = KMeans(MOST, n_init=1, random_state=seed).fit(descriptors)
    distances = np.linalg.norm(descriptors - clusters.cluster_centers_[clusters.labels_], axis=1)
    return sorted(int(np.where(clusters.labels_ == label, distances, np.inf).argmin())
                  for label in np.unique(clusters.labels_))


def _jpeg(path: Path, white_level: float | None) -> bytes:
    photo = read_image(path, white_level)
    photo.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    photo.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
