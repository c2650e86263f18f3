"""A transposed convolution with a large kernel with far fewer multiplications, exact except for rounding.

A tile of m × m outputs is a bilinear function of a tile of inputs and of the k × k kernel: transform both,
multiply elementwise, transform back. With the discrete Fourier transform this is the convolution theorem. The
elements are matrices over channels, so each multiplication is a matrix product. For m = 8 and k = 5 there are
214 of them instead of m² k² = 1,600.

All numbers are real: a real signal is determined by half of its frequencies, and a complex product takes
three real ones (Gauss), with the sums of real and imaginary parts moved into the transforms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 8  # m: larger tiles need fewer products, but more memory for the transformed kernels
AT_ONCE = 256  # channels d processed at a time


class Bilinear(NamedTuple):
    """Outputs = outputs · ((kernel · w) ⊙ (inputs · x)), with x, w and the result flattened by rows."""

    inputs: Tensor  # float64 (r, (m + k − 1)²)
    kernel: Tensor  # (r, k²)
    outputs: Tensor  # (m², r)


@cache
def bilinear(m: int, k: int) -> Bilinear:
    """y[p] = Σ_i w[i] x[p + k − 1 − i] for m × m outputs p: convolution with a k × k kernel."""
    t = m + k - 1
    row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(t), torch.arange(t), indexing="ij"))
    frequencies = [(f, g) for f in range(t) for g in range(t) if (f, g) <= (-f % t, -g % t)]
    f, g = torch.tensor(frequencies, dtype=torch.float64).T
    angle = 2 * math.pi / t * (f[:, None] * row + g[:, None] * column)
    cos, sin = angle.cos(), angle.sin()
    alone = torch.tensor([(f, g) == (-f % t, -g % t) for f, g in frequencies])  # real, like frequency 0
    used = (row < k) & (column < k)
    asked = (row >= k - 1) & (column >= k - 1)
    a, b = cos[:, used], -sin[:, used]
    c, d = cos, -sin
    p, q = cos[:, asked] / t**2, sin[:, asked] / t**2
    inputs = torch.cat([c[alone], c[~alone], (d - c)[~alone], (c + d)[~alone]])
    kernel = torch.cat([a[alone], (a + b)[~alone], a[~alone], b[~alone]])
    outputs = torch.cat([p[alone], 2 * (p - q)[~alone], -2 * q[~alone], -2 * p[~alone]]).T
    return Bilinear(inputs, kernel, outputs)


def convolved(values: Tensor, weight: Tensor) -> Tensor:
    """Convolve (n, c, h, w) with a kernel (c, d, k, k), k odd, zero padding → (n, d, h, w)."""
    return _Convolved.apply(values, weight)


class _Convolved(torch.autograd.Function):
    """Processes a few channels d at a time and keeps no transformed kernels, as these are nine times as large
    as the kernels."""

    @staticmethod
    def forward(context: Any, values: Tensor, weight: Tensor) -> Tensor:
        to_inputs, to_kernel, to_outputs = _algorithm(weight)
        inputs = _by(to_inputs, _tiles(values, weight.shape[2]))
        context.save_for_backward(inputs, weight)
        context.shape = values.shape
        outputs = inputs.new_empty(TILE**2, weight.shape[1], inputs.shape[2])
        for some in _parts(weight):
            outputs[:, some] = _by(to_outputs, _by(to_kernel, _taps(weight[:, some])) @ inputs)
        return _from_tiles(outputs, values.shape)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        inputs, weight = context.saved_tensors
        to_inputs, to_kernel, to_outputs = _algorithm(weight)
        of_outputs = _to_tiles(gradient)
        of_inputs, of_weight = torch.zeros_like(inputs), torch.empty_like(weight)
        for some in _parts(weight):
            of_products = _by(to_outputs.T, of_outputs[:, some])
            of_inputs.baddbmm_(_by(to_kernel, _taps(weight[:, some])).transpose(1, 2), of_products)
            of_taps = _by(to_kernel.T, of_products @ inputs.transpose(1, 2))
            of_weight[:, some] = of_taps.unflatten(0, weight.shape[2:]).permute(3, 2, 0, 1)
        return _added_tiles(_by(to_inputs.T, of_inputs), context.shape, weight.shape[2]), of_weight


def _algorithm(weight: Tensor) -> Bilinear:
    return Bilinear(*(matrix.to(weight.dtype) for matrix in bilinear(TILE, weight.shape[2])))


def _by(matrix: Tensor, values: Tensor) -> Tensor:
    """The matrix (a, b) times values (b, …)."""
    return (matrix @ values.flatten(1)).unflatten(1, values.shape[1:])


def _parts(weight: Tensor) -> Iterator[slice]:
    return (slice(start, start + AT_ONCE) for start in range(0, weight.shape[1], AT_ONCE))


def _taps(weight: Tensor) -> Tensor:
    """(c, d, k, k) → (k · k, d, c)."""
    return weight.permute(2, 3, 1, 0).flatten(0, 1)


def _tiles(values: Tensor, k: int) -> Tensor:
    """Overlapping tiles of t = TILE + k − 1 rows and columns, TILE apart: (t · t, c, n · tiles)."""
    t = TILE + k - 1
    c, height, width = values.shape[1:]
    right, below = -width % TILE + k // 2, -height % TILE + k // 2
    padded = F.pad(values, (k // 2, right, k // 2, below))
    return padded.unfold(2, t, TILE).unfold(3, t, TILE).permute(4, 5, 1, 0, 2, 3).reshape(t * t, c, -1)


def _added_tiles(tiles: Tensor, shape: torch.Size, k: int) -> Tensor:
    """The gradient of `_tiles`: overlapping tiles added up, (n, c, h, w)."""
    t = TILE + k - 1
    n, c, height, width = shape
    down, across = -(-height // TILE), -(-width // TILE)
    tiles = tiles.view(t, t, c, n, down, across).permute(4, 5, 3, 0, 1, 2)  # down, across, n, t, t, c
    padded = tiles.new_zeros(n, down * TILE + k - 1, across * TILE + k - 1, c)
    for row, column in product(range(down), range(across)):
        top, left = row * TILE, column * TILE
        padded[:, top:top + t, left:left + t] += tiles[row, column]
    return padded[:, k // 2:k // 2 + height, k // 2:k // 2 + width].permute(0, 3, 1, 2)


def _to_tiles(values: Tensor) -> Tensor:
    """Adjacent tiles, the last ones padded with zeros: (n, d, h, w) → (TILE · TILE, d, n · tiles)."""
    d, height, width = values.shape[1:]
    padded = F.pad(values, (0, -width % TILE, 0, -height % TILE))
    tiles = padded.unflatten(3, (-1, TILE)).unflatten(2, (-1, TILE))  # n, d, down, TILE, across, TILE
    return tiles.permute(3, 5, 1, 0, 2, 4).reshape(TILE**2, d, -1)


def _from_tiles(tiles: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_to_tiles`: (TILE · TILE, d, n · tiles) → (n, d, h, w), channels_last."""
    n, _, height, width = shape
    d, down, across = tiles.shape[1], -(-height // TILE), -(-width // TILE)
    tiles = tiles.view(TILE, TILE, d, n, down, across).permute(3, 4, 0, 5, 1, 2)
    return tiles.reshape(n, down * TILE, across * TILE, d)[:, :height, :width].permute(0, 3, 1, 2)
