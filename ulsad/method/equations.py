"""The method's equations as pure tensor functions: distances, attention, losses, anomaly maps.

Shapes: n photos, c channels (c* in the paper), an h × w grid. A feature map U is (n, c, h, w); the paper's
Z = f(U) has the same numbers as (n, c, h·w), at position k = row · w + column. Distances accept both.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Array = TypeVar("Array", Tensor, np.ndarray)

SMALLEST = 1e-16  # lower limit of ‖a‖² ‖b‖²: a zero vector has a direction distance of 1 from any other


def value_distance(a: Tensor, b: Tensor) -> Tensor:
    """l_v of Eq. 2: mean squared difference over channels, (n, c, …) twice → (n, …), ≥ 0."""
    return (a - b).square().mean(dim=1)


def direction_distance(a: Tensor, b: Tensor) -> Tensor:
    """l_d of Eq. 2: one minus the cosine over channels, (n, c, …) twice → (n, …), in [0, 2]."""
    squared_lengths = a.square().sum(dim=1) * b.square().sum(dim=1)
    return 1 - (a * b).sum(dim=1) * squared_lengths.clamp_min(SMALLEST).rsqrt()


def distance(a: Tensor, b: Tensor, direction_weight: float) -> Tensor:
    """l_v + λ l_d at every position: the summand of Eq. 1, 5 and 6, and the maps of Eq. 7 and 8."""
    if not direction_weight:
        return value_distance(a, b)
    return value_distance(a, b) + direction_weight * direction_distance(a, b)


def attention_weights(keys: Tensor, queries: Tensor, temperature: float | None = None) -> Tensor:
    """W of Eq. 3 (queries = keys) and Ŵ of Eq. 4: softmax over keys of the products of keys and queries.

    `keys` (n, c, p) and `queries` (n, c, q) → (n, p, q); every column sums to 1. `temperature` replaces
    the paper's √c.
    """
    scale = temperature or math.sqrt(keys.shape[1])
    return ((queries / scale).transpose(1, 2) @ keys).softmax(dim=2).transpose(1, 2)  # keys last in memory


def attention(keys: Tensor, queries: Tensor) -> Tensor:
    """A = ZW of Eq. 3 (queries = keys) and Â = ZŴ of Eq. 4: (n, c, p) and (n, c, q) → (n, c, q).

    This is scaled dot-product attention with the keys as values. On CPUs, two plain products are faster than
    the fused kernel, because autocast runs them in bfloat16 while the softmax stays in float32.
    """
    weights = attention_weights(keys, queries)
    return (weights.transpose(1, 2) @ keys.transpose(1, 2)).transpose(1, 2)


def local_loss(reconstruction: Tensor, features: Tensor, lambda_l: float) -> Tensor:
    """L_pl of Eq. 1 between Ũ′ and U, mean over photos and positions."""
    return distance(reconstruction, features, lambda_l).mean()


def attention_loss(cross: Tensor, target: Tensor, lambda_g: float) -> Tensor:
    """L_pg of Eq. 5 between Â and A; with Û and U instead, L_pg^d of Table 3."""
    return distance(cross, target, lambda_g).mean()


def local_global_loss(second_reconstruction: Tensor, global_features: Tensor, lambda_g: float) -> Tensor:
    """L_lg of Eq. 6 between Ũ″ and Û; gradients reach both networks (Algorithm 1)."""
    return distance(second_reconstruction, global_features, lambda_g).mean()


def resampling_matrix(grid: int, size: int, blur_sigma: float) -> Tensor:
    """(size, grid): bilinear upsampling of one axis, then a Gaussian blur with σ in px of the result.

    Both are linear and separable, so a map M becomes R M Rᵀ. The kernel extends 4 σ to each side (33 px in
    total at σ = 4), and borders are mirrored.
    """
    axis = F.interpolate(torch.eye(grid)[None], size=size, mode="linear", align_corners=False)
    if blur_sigma:
        radius = min(math.ceil(4 * blur_sigma), size - 1)
        offsets = torch.arange(-radius, radius + 1)
        kernel = torch.exp(-0.5 * (offsets / blur_sigma) ** 2)
        padded = F.pad(axis, (radius, radius), mode="reflect")
        axis = F.conv1d(padded.transpose(0, 1), (kernel / kernel.sum())[None, None]).transpose(0, 1)
    return axis[0].T.contiguous()


def resample(maps: Array, matrix: Array) -> Array:
    """Anomaly maps on the grid (…, g, g) → (…, size, size), smoothed, with a `resampling_matrix`.

    Takes tensors or numpy arrays. Both are multiplied by torch: after numpy's own products, numpy's threads
    keep spinning and slow down networks that run at the same time by a quarter.
    """
    if isinstance(maps, np.ndarray):
        return resample(torch.from_numpy(maps), torch.from_numpy(matrix)).numpy()
    return matrix @ maps @ matrix.T
