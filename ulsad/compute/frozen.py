"""Simplify frozen networks: fewer operations, same outputs except for rounding."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batchnorm(module: nn.Module) -> None:
    """Fold each BatchNorm, which is only a scale and a shift when frozen, into the convolution before it.

    Features stay the same except for rounding, and large activations are written once instead of twice.
    """
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        fold_batchnorm(child)
        if isinstance(before, nn.Conv2d) and isinstance(child, nn.BatchNorm2d):
            assert child.running_mean is not None and child.running_var is not None  # of a trained network
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, child.running_mean, child.running_var, child.eps, child.weight,
                child.bias)
            setattr(module, name, getattr(child, "act", nn.Identity()))  # some contain the activation
        before = child
