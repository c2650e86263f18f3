"""Copies: as many as promised, the originals untouched, and parts that stay nearly where they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ulsad import Config
from ulsad.method.augmentation import DEGREES, LIGHT, SCALE, SHIFT, varied, with_copies


@pytest.fixture(scope="module")
def spots() -> torch.Tensor:
    """Ten photos of a bright spot, 48 px right of and 32 px below the middle."""
    rows, columns = torch.arange(256)[:, None], torch.arange(256)[None]
    spot = 200 * torch.exp(-((rows - 160) ** 2 + (columns - 176) ** 2) / 128) + 20
    return spot.round().to(torch.uint8).expand(10, 3, 256, 256).clone()


@pytest.mark.parametrize("wanted, photos", [(0, 10), (10, 10), (19, 10), (20, 20), (39, 30), (240, 240)])
def test_copies_fill_up_to_the_number_wanted(spots, wanted, photos):
    result = with_copies(spots, Config(augmented_photos=wanted))
    assert result.shape == (photos, 3, 256, 256) and result.dtype == torch.uint8
    assert torch.equal(result[:10], spots)


def test_copies_vary_a_little_in_place_and_light(spots):
    copies = with_copies(spots, Config(augmented_photos=400))[10:].float().mean(dim=1)
    weights = (copies - 60).clamp_min(0)
    rows, columns = (torch.arange(256).float().view(shape) for shape in ((1, 256, 1), (1, 1, 256)))
    mass = weights.sum(dim=(1, 2))
    y, x = (weights * rows).sum(dim=(1, 2)) / mass, (weights * columns).sum(dim=(1, 2)) / mass
    moved = torch.hypot(y - 160, x - 176)
    # Corners of the allowed square of shifts, and 3° and 3 % of the 58 px from the middle, at worst.
    assert moved.max() < 256 * 0.03 * 2 ** 0.5 + 58 * (0.0524 + 0.03) + 1
    assert moved.median() > 2
    peak = copies.amax(dim=(1, 2)) / 220
    assert peak.std() > LIGHT / 5 and peak.min() > 0.7 and peak.max() <= 255 / 220


def test_the_seed_alone_decides_and_nobody_elses_random_numbers_change(spots):
    config = Config(augmented_photos=20)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = with_copies(spots, config)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, with_copies(spots, config))
    assert not torch.equal(first, with_copies(spots, replace(config, seed=1)))


def test_a_copy_is_torchvisions_affine_and_light():
    from torchvision.transforms.v2 import functional as reference

    photo = F.avg_pool2d(torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)), 9, 1, 4)
    photo = (255 * (photo - 0.3) / 0.4).clamp(0, 255).byte()
    angle, right, down, size, brightness, contrast = 0.5, -1, 0.4, 0.7, -0.8, 0.6
    moved = reference.affine(photo.float(), angle * DEGREES, [256 * SHIFT * right, 256 * SHIFT * down],
                             1 + SCALE * size, [0, 0], interpolation=reference.InterpolationMode.BILINEAR)
    bright = moved * (1 + LIGHT * brightness)
    inside = slice(24, -24)  # farther in than anything that comes in at a border
    copy = varied(photo, angle, right, down, size, brightness, 0)
    assert (copy.float() - bright)[..., inside, inside].abs().max() <= 0.5 + 1e-3
    mean = copy.float().mean()
    lively = varied(photo, angle, right, down, size, brightness, contrast).float()
    expected = mean + (copy.float() - mean) * (1 + LIGHT * contrast)
    assert (lively - expected.clamp(0, 255)).abs().max() <= 1.5  # rounded twice
