"""EfficientNet-Lite0, an EfficientNet (Tan & Le 2019) with ReLU6 and without squeeze-and-excitation.

The layers have timm's names (`tf_efficientnet_lite0`), as a model file has a hash of names and weights. timm
itself is not used: its import would take as long as all else from a command to its first result.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

STEM = 32  # channels


class _Stage(NamedTuple):
    """Equal blocks, of which only the first has the stride. `expansion`: how many times wider inside."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (_Stage(1, 3, 1, 1, 16), _Stage(2, 3, 2, 6, 24), _Stage(2, 5, 2, 6, 40), _Stage(3, 3, 2, 6, 80),
           _Stage(3, 5, 1, 6, 112), _Stage(4, 5, 2, 6, 192), _Stage(1, 3, 1, 6, 320))


def efficientnet_stages() -> dict[str, nn.Module]:
    """Its stages by name, in order of execution, up to the last block: conv_stem, bn1, block0, …, block6.

    Together they map (n, 3, s, s), s a multiple of 32, to (n, 320, s/32, s/32).
    """
    stages: dict[str, nn.Module] = {"conv_stem": _Convolution(3, STEM, 3, stride=2), "bn1": _Activated(STEM)}
    inputs = STEM
    for i, stage in enumerate(_STAGES):
        blocks = []
        for k in range(stage.blocks):
            make = _Widened if stage.expansion > 1 else _Separable
            blocks.append(make(inputs, stage, stage.stride if k == 0 else 1))
            inputs = stage.channels
        stages[f"block{i}"] = nn.Sequential(*blocks)
    return stages


class _Convolution(nn.Conv2d):
    """Without a bias. At stride 2, even sides are padded by one pixel more at the end, as in TensorFlow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0 if stride > 1 else kernel // 2, groups=groups,
                         bias=False)

    def forward(self, values: Tensor) -> Tensor:
        if self.stride[0] > 1:
            before = self.kernel_size[0] // 2 - 1
            values = F.pad(values, (before, before + 1) * 2)
        return super().forward(values)


class _BatchNorm(nn.BatchNorm2d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)


class _Activated(_BatchNorm):
    """A BatchNorm with the activation after it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, values: Tensor) -> Tensor:
        return self.act(super().forward(values))


class _Separable(nn.Module):
    """A filter for each channel, and a convolution of 1 × 1."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        self.conv_dw = _Convolution(inputs, inputs, stage.kernel, stride, groups=inputs)
        self.bn1 = _Activated(inputs)
        self.conv_pw = _Convolution(inputs, stage.channels, 1)
        self.bn2 = _BatchNorm(stage.channels)

    def forward(self, values: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(self.bn1(self.conv_dw(values))))


class _Widened(nn.Module):
    """An inverted residual: widen by a convolution of 1 × 1, filter each channel, narrow again."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inside = stage.expansion * inputs
        self.adds = stride == 1 and inputs == stage.channels
        self.conv_pw, self.bn1 = _Convolution(inputs, inside, 1), _Activated(inside)
        self.conv_dw = _Convolution(inside, inside, stage.kernel, stride, groups=inside)
        self.bn2 = _Activated(inside)
        self.conv_pwl, self.bn3 = _Convolution(inside, stage.channels, 1), _BatchNorm(stage.channels)

    def forward(self, values: Tensor) -> Tensor:
        widened = self.bn1(self.conv_pw(values))
        narrowed = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(widened))))
        return values + narrowed if self.adds else narrowed
