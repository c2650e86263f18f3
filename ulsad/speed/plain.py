"""A plain implementation of Algorithm 1, as in the paper: the reference for speed and exactness.

Every step runs the backbone and computes the target attention again. Convolutions, attention and optimiser
are torch's own, in float32 and with the default memory layout.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ulsad.compute.convolutions import Conv2d, ConvTranspose2d
from ulsad.method.backbones import layers_of, pool_channels, pretrained_stages
from ulsad.method.config import Config
from ulsad.method.networks import Networks


class PublishedBackbone(nn.Module):
    """An unmodified pre-trained network: normalised photos (n, 3, s, s) → patch features U."""

    def __init__(self, config: Config, stages: nn.ModuleDict) -> None:
        super().__init__()
        self.stages = stages.eval()
        self.layers = layers_of(config)
        self.feature_dim = config.feature_dim

    @classmethod
    def pretrained(cls, config: Config, weights: Path | str | None = None) -> PublishedBackbone:
        return cls(config, pretrained_stages(config, weights))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        taps = []
        for name, stage in self.stages.items():
            images = stage(images)
            if name in self.layers:
                taps.append(images)
        coarse = F.interpolate(taps[1], taps[0].shape[2:], mode="bilinear")
        return pool_channels(torch.cat([taps[0], coarse], dim=1), self.feature_dim)


def plain_networks(networks: Networks) -> Networks:
    """The same weights in torch's own layers and layout."""
    plain = copy.deepcopy(networks).to(memory_format=torch.contiguous_format)
    for i, layer in enumerate(plain.frn):
        for ours, torchs in ((Conv2d, nn.Conv2d), (ConvTranspose2d, nn.ConvTranspose2d)):
            if isinstance(layer, ours):
                plain.frn[i] = _twin(layer, torchs)
    return plain


def _twin(layer: nn.Module, kind: type[nn.Module]) -> nn.Module:
    twin = kind(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
                bias=layer.bias is not None, dtype=layer.weight.dtype, device=layer.weight.device)
    twin.load_state_dict(layer.state_dict())
    return twin


def train(
    networks: Networks, backbone: PublishedBackbone, images: Tensor, mean: Tensor, std: Tensor,
    config: Config, batches: Iterable[Tensor],
) -> Iterator[tuple[float, float, float]]:
    """Train on normalised images (n, 3, s, s); yield L_pl, L_pg and L_lg of each step.

    `mean` and `std` (1, c*, 1, 1) standardise the features; `batches` holds the photos of each step.
    """
    optimiser = torch.optim.Adam(networks.parameters(), config.learning_rate,
                                 weight_decay=config.weight_decay)
    assert networks.autoencoder is not None  # the paper's method has both branches
    networks.train()
    for batch in batches:
        u = (backbone(images[batch]) - mean) / std
        z = u.flatten(2)
        a = _attention(z, z)
        first, second = networks.frn(u).chunk(2, dim=1)
        u_hat = networks.autoencoder(images[batch])
        a_hat = _attention(z, u_hat.flatten(2))
        local = _loss(first, u, config.lambda_l)
        whole = _loss(a_hat, a, config.lambda_g)
        related = _loss(second, u_hat, config.lambda_g)
        optimiser.zero_grad()
        (local + whole + related).backward()
        optimiser.step()
        yield local.item(), whole.item(), related.item()


def _attention(z: Tensor, queries: Tensor) -> Tensor:
    weights = torch.softmax(z.transpose(1, 2) @ queries / math.sqrt(z.shape[1]), dim=1)
    return z @ weights


def _loss(a: Tensor, b: Tensor, direction_weight: float) -> Tensor:
    value = F.mse_loss(a, b)
    return value + direction_weight * (1 - F.cosine_similarity(a, b, dim=1)).mean()
