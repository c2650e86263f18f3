"""A few good photos stored in the model, to show what it expects and to detect unfamiliar photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ulsad.method.branches import FIELDS
from ulsad.photos.images import read_photo

MOST = 32  # photos; they add about half a megabyte to a model file
SIDE = 384  # px, their longer side

# Constants of `References.limit`. They were checked on five sets, where the model of each set saw photos of
# all five. In units of the limit: with 15 to 200 good photos, no good photo exceeded 0.75 and no defective
# one 0.84; with 8, none exceeded 0.96. Photos of other sets reached 1.05 or more; with 15 good photos at
# least 0.9, with 8 at least 0.8. The only exception: to a model of circuit boards, which can be blank, toy
# figures on white looked familiar (0.4 to 0.7).
SPREADS = 3.0  # times the mean distance from a reference to its nearest neighbour
LEAST = 0.33  # standard deviations: for nearly equal good photos, from which even a broken part is far


@dataclass(frozen=True)
class References:
    """Small copies of good training photos, and their descriptors from `branches.describe`."""

    names: tuple[str, ...]
    descriptors: np.ndarray  # float16 (n, c* · 16)
    jpegs: tuple[bytes, ...]

    @classmethod
    def chosen(cls, paths: Sequence[Path], descriptors: np.ndarray, seed: int = 0,
               white_level: float | None = None) -> References:
        """Choose at most `MOST` of n good photos, so that each of the n has a similar one among them.

        They are the medoids of `MOST` k-means clusters of the descriptors (n, d). See `read_photo` for
        `white_level`.
        """
        indices = _medoids(descriptors, seed) if len(paths) > MOST else range(len(paths))
        return cls(tuple(paths[i].name for i in indices), descriptors[list(indices)].astype(np.float16),
                   tuple(_jpeg(paths[i], white_level) for i in indices))

    def nearest(self, descriptors: np.ndarray, names: Sequence[str | None] = ()) -> np.ndarray:
        """Index of the nearest reference (Euclidean) for each of the descriptors (m, d): int (m,).

        `names` are those of photos that are themselves good photos of the model: another one is found.
        """
        squares = (descriptors[:, None] - self.descriptors[None].astype(np.float32)) ** 2
        distances = squares.sum(axis=2)
        for row, name in zip(distances, names):
            row[np.array(self.names) == name] = np.inf
        return distances.argmin(axis=1)

    @cached_property
    def limit(self) -> float:
        """The largest distance from the nearest reference, in standard deviations, that is not strange."""
        if len(self.descriptors) < 2:
            return LEAST
        return max(SPREADS * float(self._apart.mean()), LEAST)

    @cached_property
    def own_strangeness(self) -> np.ndarray:
        """How strange each reference is to the others: float (k,); empty if there is only one.

        As references were chosen far apart, another good photo is rather less strange than these.
        """
        return self._apart / self.limit if len(self.descriptors) > 1 else np.empty(0)

    @cached_property
    def _apart(self) -> np.ndarray:
        """(k,): distance from each reference to the nearest other one."""
        distances = _distances(self.means, self.means)
        np.fill_diagonal(distances, np.inf)
        return distances.min(axis=1)

    def strangeness(self, descriptors: np.ndarray) -> np.ndarray:
        """Distance of descriptors (m, d) from the nearest reference, in multiples of `limit`: float (m,).

        Photos are compared by their channel means, which do not depend on positions: a defective or moved
        part changes them less than a photo of something else.
        """
        return _distances(_channel_means(descriptors), self.means).min(axis=1) / self.limit

    @cached_property
    def means(self) -> np.ndarray:
        """float32 (k, c*): the channel means of the references."""
        return _channel_means(self.descriptors)

    def photo(self, index: int) -> Image.Image:
        return Image.open(BytesIO(self.jpegs[index])).convert("RGB")


def _channel_means(descriptors: np.ndarray) -> np.ndarray:
    """(n, c* · 16) of `branches.describe` → float32 (n, c*): means over the whole photo."""
    return descriptors.astype(np.float32).reshape(len(descriptors), -1, FIELDS).mean(axis=2)


def _distances(means: np.ndarray, others: np.ndarray) -> np.ndarray:
    """RMS differences over channels between (m, c*) and (n, c*): (m, n)."""
    return np.sqrt(np.square(means[:, None] - others[None]).mean(axis=2))


def _medoids(descriptors: np.ndarray, seed: int) -> list[int]:
    from sklearn.cluster import KMeans

    clusters = KMeans(MOST, n_init=1, random_state=seed).fit(descriptors)
    distances = np.linalg.norm(descriptors - clusters.cluster_centers_[clusters.labels_], axis=1)
    return sorted(int(np.where(clusters.labels_ == label, distances, np.inf).argmin())
                  for label in np.unique(clusters.labels_))


def _jpeg(path: Path, white_level: float | None) -> bytes:
    photo = read_photo(path, white_level, SIDE).image
    photo.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    photo.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
