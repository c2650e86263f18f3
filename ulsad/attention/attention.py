"""Which patches a pre-trained network finds similar: the attention of one patch, as in Figure 5.

Needs no trained model. Patch features are (c, h, w): c channels on a grid of h × w patches.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ulsad.method.backbones import FeatureExtractor
from ulsad.method.equations import attention_weights
from ulsad.photos.images import to_square

TEMPERATURES = (2.0**-10, 2.0**10)  # search range of `temperature_for`


def patch_features(extractor: FeatureExtractor, photo: Image.Image, image_size: int) -> Tensor:
    """Features U of one RGB photo from the backbone, float32 (c, h, w)."""
    square = to_square(photo, image_size)[None].to(extractor.pixel_mean.device)
    return extractor(extractor.normalise(square))[0].cpu()


def standardised(features: Tensor, like: Tensor | None = None) -> Tensor:
    """Standardise each channel by its mean and standard deviation over the patches of `like` (or its own).

    Without a training set there is no other μ and σ. A second photo is standardised like the first, so that
    their patches are comparable.
    """
    std, mean = torch.std_mean(features if like is None else like, dim=(1, 2), keepdim=True)
    return (features - mean) / std.clamp_min(1e-6)


def patch_at(x: float, y: float, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """The patch (row, column) at pixel (x, y) of a photo of (height, width); the nearest one for a position
    outside."""
    row, column = math.floor(y * grid[0] / size[0]), math.floor(x * grid[1] / size[1])
    return min(max(row, 0), grid[0] - 1), min(max(column, 0), grid[1] - 1)


def attention_over(features: Tensor, query: Tensor, temperature: float = 1.0) -> np.ndarray:
    """Attention of one query over all patches: float32 (h, w), sums to 1.

    If the query (c,) is a patch of `features` itself, this is the column W[:, q] of Eq. 3; if it comes from
    the global branch, Ŵ[:, q] of Eq. 4. The rest of the matrix is not computed. `temperature` multiplies the
    paper's √c*: above 1 the attention spreads, below 1 it narrows.
    """
    channels, height, width = features.shape
    keys, queries = features.double().flatten(1)[None], query.double()[None, :, None]
    column = attention_weights(keys, queries, temperature * channels**0.5)
    return column.float().reshape(height, width).numpy()


def share_of_second(first: Tensor, second: Tensor, query: Tensor, temperature: float = 1.0) -> float:
    """The second photo's share of attention, from 0 to 1, when both photos' patches share one softmax.

    About 0.5 if the second photo has patches as similar as the first; near 0 if it has none.
    """
    both = torch.cat([first.flatten(1), second.flatten(1)], dim=1)
    weights = attention_over(both[..., None], query, temperature)
    return float(weights[first[0].numel():].sum())


def spread(weights: np.ndarray) -> float:
    """The effective number of patches that share the attention: exp of its entropy, from 1 to all patches."""
    positive = weights[weights > 0].astype(np.float64)
    return float(np.exp(-(positive * np.log(positive)).sum()))


def temperature_for(features: Tensor, query: Tensor, patches: float) -> float:
    """The temperature at which `spread` of the attention equals `patches`.

    The spread grows with the temperature, so bisection finds it; clipped to `TEMPERATURES`.
    """
    low, high = TEMPERATURES
    for _ in range(20):
        middle = math.sqrt(low * high)
        if spread(attention_over(features, query, middle)) < patches:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)
