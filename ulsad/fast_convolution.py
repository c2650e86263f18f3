"""A transposed convolution with a large kernel at a fraction of its multiplications, exact but for rounding.

A tile of m × m outputs is a bilinear function of a tile of inputs and of the k × k kernel: transform both,
multiply value by value, transform back. With the discrete Fourier transform this is the convolution theorem.
The values are matrices over channels, so each is one matrix product. For m = 8 and k = 5 there are 214 of
them instead of m² k² = 1,600.

All numbers are real: of a real signal half of the frequencies say everything, and a complex product is
three real ones (Gauss), whose sums of real and imaginary parts belong to the transforms.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORTH_WHILE = 5  # k; at 3, which only `quick` has, the gain is a tenth of one layer
TILE = 8  # m: larger tiles take fewer products, and more memory for the transformed kernels


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


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch's, of stride 1, with a square odd kernel that is padded to keep the size.

    It takes the short way where that pays: in training, because transformed kernels fill memory that batches
    of one photo would not make worth while, in float32 on a CPU, and from 5 × 5 on.
    """

    def forward(self, values: Tensor) -> Tensor:
        on_cpu = values.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if not (self.training and on_cpu and self.kernel_size[0] >= WORTH_WHILE):
            return super().forward(values)
        result = convolved(values, self.weight)
        return result if self.bias is None else result + self.bias[:, None, None]


def convolved(values: Tensor, weight: Tensor) -> Tensor:
    """(n, c, h, w) by a kernel (c, d, k, k), k odd, zeros beyond the borders → (n, d, h, w)."""
    n, c, height, width = values.shape
    d, k = weight.shape[1], weight.shape[2]
    algorithm = Bilinear(*(matrix.to(values.dtype) for matrix in bilinear(TILE, k)))
    tiles = _tiles(values, TILE, k)  # t, t, c, n, down, across
    down, across = tiles.shape[4:]
    inputs = (algorithm.inputs @ tiles.reshape(-1, c * n * down * across)).view(-1, c, n * down * across)
    kernel = (algorithm.kernel @ weight.permute(2, 3, 1, 0).reshape(k * k, d * c)).view(-1, d, c)
    outputs = algorithm.outputs @ (kernel @ inputs).view(len(kernel), -1)
    outputs = outputs.view(TILE, TILE, d, n, down, across).permute(3, 4, 0, 5, 1, 2)
    outputs = outputs.reshape(n, down * TILE, across * TILE, d)[:, :height, :width]
    return outputs.permute(0, 3, 1, 2)  # channels_last


def _tiles(values: Tensor, m: int, k: int) -> Tensor:
    """Overlapping tiles of m + k − 1 rows and columns, m apart: (t, t, c, n, down, across)."""
    height, width = values.shape[2:]
    right, below = -width % m + k // 2, -height % m + k // 2
    padded = F.pad(values, (k // 2, right, k // 2, below))
    t = m + k - 1
    return padded.unfold(2, t, m).unfold(3, t, m).permute(4, 5, 1, 0, 2, 3)
