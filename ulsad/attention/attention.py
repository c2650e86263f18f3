"""What a pre-trained network holds to be similar: the attention of one patch, as in Figure 5.

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

TEMPERATURES = (2.0**-10, 2.0**10)  # where `temperature_for` looks


def patch_features(extractor: FeatureExtractor, photo: Image.Image, image_size: int) -> Tensor:
    """U of one RGB photo as the backbone gives it, float32 (c, h, w)."""
    square = to_square(photo, image_size)[None].to(extractor.pixel_mean.device)
    return extractor(extractor.normalise(square))[0].cpu()


def standardised(features: Tensor, like: Tensor | None = None) -> Tensor:
    """Each channel less its mean, by its standard deviation, over the patches of `like` (or its own).

    Without a training set there is no other μ and σ. A second photo is standardised like the first, so that
    their patches stay comparable.
    """
    std, mean = torch.std_mean(features if like is None else like, dim=(1, 2), keepdim=True)
    return (features - mean) / std.clamp_min(1e-6)


def patch_at(x: float, y: float, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """The patch (row, column) under the pixel (x, y) of a photo of (height, width); the nearest one for
    places outside of it."""
    row, column = math.floor(y * grid[0] / size[0]), math.floor(x * grid[1] / size[1])
    return min(max(row, 0), grid[0] - 1), min(max(column, 0), grid[1] - 1)


def attention_over(features: Tensor, query: Tensor, temperature: float = 1.0) -> np.ndarray:
    """How one query shares its attention among patches: float32 (h, w), sums to 1.

    It is the column W[:, q] of Eq. 3 where the query (c,) is a patch of `features` itself, and Ŵ[:, q] of
    Eq. 4 where it is the global branch's; the rest of the matrix is not computed. `temperature` multiplies
    the paper's √c*: above 1 the attention spreads, below it narrows.
    """
    channels, height, width = features.shape
    keys, queries = features.double().flatten(1)[None], query.double()[None, :, None]
    column = attention_weights(keys, queries, temperature * channels**0.5)
    return column.float().reshape(height, width).numpy()


def share_of_second(first: Tensor, second: Tensor, query: Tensor, temperature: float = 1.0) -> float:
    """What the second photo's patches get, from 0 to 1, where both photos' patches compete in one softmax.

    About a half where the second has something as similar as the first; near 0 where it has nothing.
    """
    both = torch.cat([first.flatten(1), second.flatten(1)], dim=1)
    weights = attention_over(both[..., None], query, temperature)
    return float(weights[first[0].numel():].sum())


def spread(weights: np.ndarray) -> float:
    """Among how many patches attention is shared: exp of its entropy, from 1 to the number of patches."""
    positive = weights[weights > 0].astype(np.float64)
    return float(np.exp(-(positive * np.log(positive)).sum()))


def temperature_for(features: Tensor, query: Tensor, patches: float) -> float:
    """The temperature at which attention is shared among that many patches, as `spread` counts them.

    It grows with the temperature, so halving finds it; an end of `TEMPERATURES` where it lies beyond.
    """
    low, high = TEMPERATURES
    for _ in range(20):
        middle = math.sqrt(low * high)
        if spread(attention_over(features, query, middle)) < patches:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)
