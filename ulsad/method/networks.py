"""The two trained networks, forward pass only: no losses, files or devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ulsad.compute.convolutions import Conv2d, ConvTranspose2d
from ulsad.compute.distributed import BatchNorm2d
from ulsad.method.config import Config


class Outputs(NamedTuple):
    """The networks' outputs for a batch, each (n, c*, h*, w*); None if the configuration leaves it out."""

    reconstruction: Tensor  # Ũ′, the local branch's reconstruction of U
    second: Tensor | None  # Ũ″, the local branch's imitation of Û
    global_features: Tensor | None  # Û, the global branch's features

    def map(self, function: Callable[[Tensor], Tensor]) -> Outputs:
        """Apply a function to all outputs that are not None."""
        second, global_features = (None if output is None else function(output) for output in self[1:])
        return Outputs(function(self.reconstruction), second, global_features)

    @classmethod
    def joined(cls, parts: Sequence[Outputs]) -> Outputs:
        """The outputs for several batches, joined."""
        return cls._of_each(parts, torch.cat)

    @classmethod
    def mean(cls, parts: Sequence[Outputs]) -> Outputs:
        """The mean of several networks' outputs for the same batch."""
        return cls._of_each(parts, lambda outputs: torch.stack(outputs).mean(dim=0))

    @classmethod
    def _of_each(cls, parts: Sequence[Outputs], function: Callable[[tuple[Tensor, ...]], Tensor]) -> Outputs:
        """The function of all parts' reconstructions, and likewise for the outputs that are not None."""
        second, global_features = (None if some[0] is None else function(some)
                                   for some in zip(*(part[1:] for part in parts), strict=True))
        return cls(function(tuple(part.reconstruction for part in parts)), second, global_features)


class Networks(nn.Module):
    """ψ and φ together, sized by the configuration and the backbone's channels and grid."""

    def __init__(self, config: Config, channels: int, grid: int) -> None:
        super().__init__()
        has_global = config.global_target != "none"
        self.two_outputs = has_global and config.local_global_loss
        self.frn = feature_reconstruction_network(
            channels, config.frn_width, config.frn_kernel, outputs=1 + self.two_outputs,
            output=config.frn_output, order=config.frn_order)
        self.autoencoder = (
            GlobalAutoencoder(config.image_size, grid, channels, config.autoencoder_width,
                              config.lean_autoencoder, config.fine_decoder)
            if has_global else None)
        self.to(memory_format=torch.channels_last)  # faster on CPUs; always the same layout for equal results

    def forward(self, images: Tensor, features: Tensor) -> Outputs:
        """Normalised images (n, 3, s, s) and standardised features U (n, c*, h*, w*)."""
        reconstruction = self.frn(features)
        second = None
        if self.two_outputs:
            reconstruction, second = reconstruction.chunk(2, dim=1)
        return Outputs(reconstruction, second, self.autoencoder(images) if self.autoencoder else None)


def feature_reconstruction_network(
    channels: int, width: int, kernel: int, outputs: int, output: str, order: str
) -> nn.Sequential:
    """ψ of Table 4: reconstructs a feature map through a bottleneck at a quarter of its resolution.

    Maps (n, channels, h, w), h and w multiples of 4, to (n, outputs · channels, h, w). With two outputs, the
    first half is Ũ′ (local objective), the second Ũ″ (global objective).

    `kernel` is that of the last layer, padded to keep h × w (for the table's 5 this needs 2, not the table's
    1). `output="linear"` ends there: targets are standardised, and a ReLU could not reconstruct their
    negative half. `output="relu"` appends BatchNorm and ReLU like the authors' code. `order` is
    "batchnorm_first", as in that code, or "relu_first", as in Table 4.
    """
    half, quarter = width // 2, width // 4
    layers = [
        *_normalised(Conv2d(channels, half, 3, stride=2, padding=1, bias=False), order),
        *_normalised(Conv2d(half, width, 3, stride=2, padding=1, bias=False), order),
        Conv2d(width, width, 3, padding=1, bias=False),
        BatchNorm2d(width),
        *_normalised(ConvTranspose2d(width, half, 4, stride=2, padding=1, bias=False), order),
        *_normalised(ConvTranspose2d(half, quarter, 4, stride=2, padding=1, bias=False), order),
    ]
    last = ConvTranspose2d(
        quarter, outputs * channels, kernel, padding=kernel // 2, bias=output == "linear")
    return nn.Sequential(*layers, *([last] if output == "linear" else _normalised(last, order)))


def _normalised(layer: Conv2d | ConvTranspose2d, order: str) -> list[nn.Module]:
    batchnorm, relu = BatchNorm2d(layer.out_channels), nn.ReLU(inplace=True)
    return [layer, batchnorm, relu] if order == "batchnorm_first" else [layer, relu, batchnorm]


class GlobalAutoencoder(nn.Module):
    """φ of Table 5: from a whole photo, through one vector, to a feature map Û.

    Maps (n, 3, image_size, image_size) to (n, channels, grid, grid). The kernel of the last encoder layer has
    image_size/32 px, so that the bottleneck is 1 × 1 at any image size (8 × 8 at 256, as in the table). The
    output is linear, because its targets, the features, are standardised.

    `lean` makes two layers cheaper: the first, which works at half the image size, has half as many channels
    as in the table, and the last a kernel of 1 instead of 3. `fine_decoder` keeps the table's
    fifth decoder layer, which works at a quarter of the image size, twice as fine as the usual grid, and
    takes four tenths of φ's arithmetic.
    """

    def __init__(self, image_size: int, grid: int, channels: int, width: int, lean: bool,
                 fine_decoder: bool) -> None:
        super().__init__()
        half, last = width // 2, 1 if lean else 3
        first = (half + 1) // 2 if lean else half
        sides = [(3, first), (first, half), (half, width), (width, width), (width, width)]
        self.encoder = nn.Sequential(
            *[part for a, b in sides for part in _block(nn.Conv2d(a, b, 4, stride=2, padding=1))],
            *_block(nn.Conv2d(width, width, image_size // 32)),
        )
        sizes = [image_size // 64 - 1, image_size // 32, image_size // 16 - 1, image_size // 8 - 1]
        sizes += [image_size // 4 - 1] if fine_decoder else []
        self.decoder = nn.Sequential(
            *[part for size in sizes
              for part in (_interpolate(size), *_block(nn.Conv2d(width, width, 4, padding=2)))],
            _interpolate(grid),
            *_block(nn.Conv2d(width, width, 3, padding=1)),
            nn.Conv2d(width, channels, last, padding=last // 2),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))


def _block(convolution: nn.Conv2d) -> list[nn.Module]:
    """Convolution without bias, as the BatchNorm would cancel it."""
    convolution.bias = None  # removed after initialisation, so that a seed still gives the same weights
    return [convolution, BatchNorm2d(convolution.out_channels, eps=1e-4, affine=False),
            nn.ReLU(inplace=True)]


def _interpolate(size: int) -> nn.Upsample:
    return nn.Upsample(size=(size, size), mode="bilinear", align_corners=False)
