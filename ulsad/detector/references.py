"""A few good photos that a model carries along, so that it can show what it expected to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ulsad.method.branches import FIELDS
from ulsad.photos.images import read_image

MOST = 32  # photos; a model file grows by about half a megabyte
SIDE = 384  # px, their longer side

# What `References.limit` is made of. On five sets, each as the model of itself and of the other four, in
# units of the limit: with 15 to 200 good photos no good one came above 0.75 and no defective one above 0.84;
# with 8 neither above 0.96. Photos of other sets came to 1.05 and more; with 15 at least to 0.9, with 8 to
# 0.8. Only toy figures on white looked familiar to a model of circuit boards, which can be blank: 0.4 to 0.7.
SPREADS = 3.0  # times the mean distance of references to their nearest other one
LEAST = 0.33  # standard deviations: for good photos that are nearly alike, which a broken part is far from


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

    @cached_property
    def limit(self) -> float:
        """How far a photo may be from the nearest reference and not be strange, in standard deviations."""
        if len(self.descriptors) < 2:
            return LEAST
        distances = _distances(self._means, self._means)
        np.fill_diagonal(distances, np.inf)
        return max(SPREADS * float(distances.min(axis=1).mean()), LEAST)

    def strangeness(self, descriptors: np.ndarray) -> np.ndarray:
        """How much (m, d) differ from all references, as multiples of `limit`: float (m,), > 1 is beyond it.

        Photos are compared by the means of their channels, which do not tell where something is: defects of
        a part, and parts that lie elsewhere, change them less than other things do.
        """
        return _distances(_channel_means(descriptors), self._means).min(axis=1) / self.limit

    @cached_property
    def _means(self) -> np.ndarray:
        return _channel_means(self.descriptors)

    def photo(self, index: int) -> Image.Image:
        return Image.open(BytesIO(self.jpegs[index])).convert("RGB")


def _channel_means(descriptors: np.ndarray) -> np.ndarray:
    """(n, c* · 16) of `branches.describe` → float32 (n, c*): means over the whole photo."""
    return descriptors.astype(np.float32).reshape(len(descriptors), -1, FIELDS).mean(axis=2)


def _distances(means: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Root mean squares of the channels' differences between (m, c*) and (n, c*), (m, n)."""
    return np.sqrt(np.square(means[:, None] - others[None]).mean(axis=2))


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
