"""What a pre-trained network attends to, as in Figure 5; needs no trained model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from sklearn.cluster import KMeans
from torch import Tensor

from ulsad.backbones import FeatureExtractor
from ulsad.images import to_square
from ulsad.maps import attention_weights


@dataclass(frozen=True)
class Concept:
    """A cluster of similar patches, and the attention of its most typical one."""

    row: int  # of the medoid patch, the query
    column: int
    attention: np.ndarray  # (h, w), sums to 1
    members: np.ndarray  # bool (h, w), the patches of the cluster


def patch_features(extractor: FeatureExtractor, photo: Image.Image, image_size: int) -> Tensor:
    """Features of one photo (c, h, w), standardised over its own patches: without a training set there
    is no other μ and σ, and raw features let the few patches with large values win every product."""
    square = to_square(photo, image_size)[None].to(extractor.pixel_mean.device)
    features = extractor(extractor.normalise(square))[0].cpu()
    std, mean = torch.std_mean(features, dim=(1, 2), keepdim=True)
    return (features - mean) / std.clamp_min(1e-6)


def patch_at(x: float, y: float, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """The patch (row, column) under the pixel (x, y) of a photo of (height, width)."""
    row, column = int(y * grid[0] / size[0]), int(x * grid[1] / size[1])
    return min(max(row, 0), grid[0] - 1), min(max(column, 0), grid[1] - 1)


def attention_of_patch(features: Tensor, row: int, column: int, temperature: float = 1.0) -> np.ndarray:
    """The column W[:, q] of Eq. 3 for the patch q = (row, column): float32 (h, w), sums to 1.

    `temperature` multiplies the paper's √c*; above 1 the attention spreads, below it narrows.
    """
    channels, height, width = features.shape
    keys = features.flatten(1)[None]
    query = features[:, row, column][None, :, None]
    column_of_w = attention_weights(keys, query, temperature * channels**0.5)
    return column_of_w.reshape(height, width).numpy()


def concepts(features: Tensor, count: int, temperature: float = 1.0, seed: int = 0) -> list[Concept]:
    """`count` clusters of patches (k-means), largest first, each queried at its medoid.

    The medoid is the member closest to its cluster's mean.
    """
    _, height, width = features.shape
    patches = features.flatten(1).T.numpy()
    clusters = KMeans(count, n_init=4, random_state=seed).fit(patches)
    found = []
    for label in np.argsort(-np.bincount(clusters.labels_, minlength=count)):
        members = clusters.labels_ == label
        spread = np.linalg.norm(patches - clusters.cluster_centers_[label], axis=1)
        medoid = int(np.where(members, spread, np.inf).argmin())
        row, column = divmod(medoid, width)
        found.append(Concept(row, column, attention_of_patch(features, row, column, temperature),
                             members.reshape(height, width)))
    return found
