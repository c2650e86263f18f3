"""The concepts of a photo: groups of similar patches, each shown by the attention of its most typical one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ulsad.attention.attention import attention_over, standardised, temperature_for

GROUPS = 12  # of patches that a photo is divided into
COMPONENTS = 12  # principal components that patches are grouped by


@dataclass(frozen=True)
class Concept:
    """A group of similar patches, and the attention of its medoid."""

    row: int  # of the medoid, the query
    column: int
    attention: np.ndarray  # float32 (h, w), sums to 1
    members: np.ndarray  # bool (h, w), the patches of the group
    temperature: float  # of the attention, as a multiple of √c*


def concepts(features: Tensor, count: int, temperature: float | None = None, seed: int = 0) -> list[Concept]:
    """The `count` (1 … 12) most distinct concepts of U (c, h, w), most distinct first; fewer if the photo has
    too few different patches.

    Without a temperature, each concept gets its own, at which attention spreads over as many patches as the
    group has (`attention.spread`): at the paper's √c*, patches of some networks attend almost only to
    themselves.
    """
    patches = groupable(features)
    found = []
    for members in _groups(patches, seed):
        row, column = divmod(_medoid(patches, members), features.shape[2])
        square = members.reshape(features.shape[1:])
        found.append((_distinctness(patches, square), row, column, square))
    found.sort(key=lambda group: -group[0])
    return [_asked(features, row, column, members, temperature)
            for _, row, column, members in found[:count]]


def groupable(features: Tensor) -> np.ndarray:
    """Vectors for grouping the patches of U (c, h, w), float32 (h · w, k): the standardised mean over each
    patch and its eight neighbours, reduced to the first k = 12 principal components with equal weight.

    So groups are kinds of objects rather than of edges, and no single direction dominates.
    """
    from sklearn.decomposition import PCA

    smooth = F.avg_pool2d(standardised(features)[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    patches = smooth.flatten(1).T.numpy()
    return PCA(min(COMPONENTS, *patches.shape), whiten=True, random_state=0).fit_transform(patches)


def _groups(patches: np.ndarray, seed: int) -> list[np.ndarray]:
    """Masks (h · w,) of the groups found by k-means; none is empty."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different patches than groups
        labels = KMeans(min(GROUPS, len(patches)), n_init=4, random_state=seed).fit_predict(patches)
    return [labels == label for label in np.unique(labels)]


def _medoid(patches: np.ndarray, members: np.ndarray) -> int:
    """The member closest to the mean of its group."""
    distances = np.linalg.norm(patches - patches[members].mean(axis=0), axis=1)
    return int(np.where(members, distances, np.inf).argmin())


def _distinctness(patches: np.ndarray, members: np.ndarray) -> float:
    """Distance of a group from the mean of all patches, reduced by the group's share at the photo's edge:
    what extends beyond the edge is mostly background."""
    inner = members[1:-1, 1:-1].sum() / members.sum()
    return float(np.linalg.norm(patches[members.ravel()].mean(axis=0)) * inner)


def _asked(
    features: Tensor, row: int, column: int, members: np.ndarray, temperature: float | None
) -> Concept:
    query = features[:, row, column]
    own = temperature_for(features, query, members.sum()) if temperature is None else temperature
    return Concept(row, column, attention_over(features, query, own), members, own)
