"""A small training on random numbers, for tests of the steps alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from conftest import TINY

from ulsad import Config
from ulsad.method.networks import Networks
from ulsad.method.training import Diverged, Training, TrainingData


def made_up_training(device: str, config: Config) -> Training:
    """Of seeded networks, small ones, with photos and features drawn at random."""
    config = replace(config, frn_width=32, autoencoder_width=16, batch_size=4)
    generator, channels, grid = torch.Generator().manual_seed(1), 24, 32
    images = torch.randint(0, 256, (10, 3, 256, 256), dtype=torch.uint8, generator=generator)
    features, targets = (torch.randn(10, channels, *shape, generator=generator, dtype=torch.float64)
                         .to(torch.get_default_dtype()) for shape in ((grid, grid), (grid * grid,)))
    torch.manual_seed(0)
    networks = Networks(config, channels, grid).to(device)
    return Training(networks, TrainingData(images, features, targets), config,
                    lambda photos: (photos.to(torch.get_default_dtype()) - 120) / 60)


def not_finite_losses_stay_away_from_the_weights(device: str) -> None:
    broken = made_up_training(device, TINY)
    list(islice(broken, 2))
    broken.data.features[:] = float("nan")
    before = [parameter.detach().clone() for parameter in broken.networks.parameters()]
    with pytest.raises(Diverged, match="step 3"):
        next(iter(broken))
    assert all(map(torch.equal, before, broken.networks.parameters()))
