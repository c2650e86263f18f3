"""Simplify frozen networks: fewer operations, same outputs except for rounding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def simplify(stages: nn.ModuleDict) -> None:
    """Simplify, in place, a network that is never trained again."""
    _pad_evenly(stages)
    _fold_batchnorm(stages)


def _pad_evenly(stages: nn.ModuleDict) -> None:
    """Replace the explicit padding of TensorFlow's networks by the convolution's own padding.

    These layers halve a side of even length with an odd kernel of k px, which needs k − 2 zeros, the odd one
    after the input. A kernel extended by a row and a column of zeros in front needs equal padding on both
    sides: the same result, without a padded copy.
    """
    for module in stages.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and _halves_what_it_pads(child):
                kernel = child.kernel_size[0]
                padded = nn.Conv2d(child.in_channels, child.out_channels, kernel + 1, 2, kernel // 2,
                                   groups=child.groups, bias=False)
                padded.weight = nn.Parameter(F.pad(child.weight, (1, 0, 1, 0)))
                setattr(module, name, padded)


def _halves_what_it_pads(layer: nn.Conv2d) -> bool:
    return type(layer).__name__ == "Conv2dSame" and layer.stride == (2, 2)


def _fold_batchnorm(module: nn.Module) -> None:
    """Fold each BatchNorm, which is only a scale and a shift when frozen, into the convolution before it.

    Features stay the same except for rounding, and large activations are written once instead of twice.
    """
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        _fold_batchnorm(child)
        if isinstance(before, nn.Conv2d) and isinstance(child, nn.BatchNorm2d):
            assert child.running_mean is not None and child.running_var is not None  # of a trained network
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, child.running_mean, child.running_var, child.eps, child.weight,
                child.bias)
            setattr(module, name, getattr(child, "act", nn.Identity()))  # timm's norms contain the activation
        before = child
