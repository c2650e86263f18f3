"""torch's convolutions with square kernels, faster when training on a CPU, exact except for rounding.

Kernels of 5 × 5 and more at stride 1 use the convolution theorem. In other layers with many channels, the
gradient of the weights is computed as one matrix product, which takes half of torch's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ulsad.compute.fast_convolution import convolved

LARGE = 5  # px; for 3, which `quick` has, the convolution theorem would save only a tenth of one layer's time
MANY = 256  # input and output channels; with fewer, preparing the product costs as much as it gains


class Conv2d(nn.Conv2d):
    """torch's `Conv2d`, without a bias."""

    def forward(self, values: Tensor) -> Tensor:
        if not (_can_be_faster(self, values) and _has_many_channels(self)):
            return super().forward(values)
        return _Convolution.apply(values, self.weight, self.stride[0], self.padding[0], False)


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch's `ConvTranspose2d`; at stride 1 the kernel is odd and padded to keep the size.

    Faster in training only: transformed kernels take memory that is not worth it for single photos, and the
    other gain is in the gradients.
    """

    def forward(self, values: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size or not _can_be_faster(self, values):
            return super().forward(values, output_size)
        if self.stride == (1, 1) and self.kernel_size[0] >= LARGE:
            result = convolved(values, self.weight)
        elif _has_many_channels(self):
            result = _Convolution.apply(values, self.weight, self.stride[0], self.padding[0], True)
        else:
            return super().forward(values)
        return result if self.bias is None else result + self.bias[:, None, None]


def _can_be_faster(layer: nn.Module, values: Tensor) -> bool:
    return layer.training and values.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def _has_many_channels(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return min(layer.in_channels, layer.out_channels) >= MANY


class _Convolution(torch.autograd.Function):
    """A convolution with weights (coarse, fine, k, k) from a fine to a coarse grid, or transposed from coarse
    to fine. Each is the gradient of the other."""

    @staticmethod
    def forward(context: Any, values: Tensor, weight: Tensor, stride: int, padding: int, transposed: bool
                ) -> Tensor:
        context.save_for_backward(values, weight)
        context.layout = stride, padding, transposed
        return _convolved(values, weight, stride, padding, transposed)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = context.saved_tensors
        stride, padding, transposed = context.layout
        k = weight.shape[2]
        fine, coarse = (gradient, values) if transposed else (values, gradient)
        left_over = [0 if transposed else (size + 2 * padding - k) % stride for size in fine.shape[2:]]
        of_values = None
        if context.needs_input_grad[0]:
            of_values = _convolved(gradient, weight, stride, padding, not transposed, left_over)
        of_weight = _rows(coarse).T @ patches(fine, k, stride, padding)
        of_weight = of_weight.view(len(weight), k, k, -1).permute(0, 3, 1, 2)  # channels_last, as the weights
        return of_values, of_weight, None, None, None


def _convolved(
    values: Tensor, weight: Tensor, stride: int, padding: int, transposed: bool,
    left_over: Sequence[int] = (0, 0),
) -> Tensor:
    """`left_over`: rows and columns of the fine grid that no kernel reaches."""
    return torch.convolution(values, weight, None, (stride, stride), (padding, padding), (1, 1), transposed,
                             left_over, 1)


def patches(values: Tensor, k: int, stride: int, padding: int) -> Tensor:
    """The input values at each position of the kernel on (n, c, h, w): (n · h′ · w′, k · k · c)."""
    padded = F.pad(values.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    down, across = ((size - k) // stride * stride + 1 for size in padded.shape[1:3])
    seen = [padded[:, i:i + down:stride, j:j + across:stride] for i in range(k) for j in range(k)]
    return torch.stack(seen, dim=3).flatten(3).flatten(0, 2)


def _rows(values: Tensor) -> Tensor:
    """(n, c, h, w) → (n · h · w, c)."""
    return values.permute(0, 2, 3, 1).flatten(0, 2)
