"""Augmented copies of good photos, with small changes in position, size and light."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ulsad.compute.rows import IN_MEMORY, Rows, Space
from ulsad.method.config import Config

DEGREES = 3.0  # maximum rotation in either direction
SHIFT = 0.03  # maximum shift in either direction, as a fraction of the image's side
SCALE = 0.03  # maximum change of size
LIGHT = 0.1  # maximum change of brightness and of contrast


def size_with_copies(photos: int, config: Config) -> int:
    """Number of photos including copies: as many copies of each photo as fit into `augmented_photos`."""
    return photos * max(1, config.augmented_photos // max(photos, 1))


def with_copies(images: Rows, config: Config, space: Space = IN_MEMORY) -> Rows:
    """uint8 (n, 3, s, s) → the same photos, then augmented copies of each: (m, 3, s, s), with m from
    `size_with_copies`. The copies depend only on the seed and the photos.

    They add what a few photos lack: how much good parts move and how the light changes. The variation stays
    below what an inspector would call misplaced.
    """
    photos, size = len(images), size_with_copies(len(images), config)
    if size == photos:
        return images
    rows = space.empty("copies", (size, *images.shape[1:]), torch.uint8)
    generator = torch.Generator().manual_seed(config.seed)
    for i in range(size):
        original = images[i % photos:i % photos + 1]
        rows[i:i + 1] = original if i < photos else varied(original, *_drawn(generator))
    return rows


def _drawn(generator: torch.Generator) -> list[float]:
    return (2 * torch.rand(6, generator=generator) - 1).tolist()


def varied(photo: Tensor, angle: float, right: float, down: float, size: float, brightness: float,
           contrast: float) -> Tensor:
    """A copy of uint8 (1, 3, s, s): turned clockwise, scaled and moved, then its light changed. Each change
    is from -1 to 1 times the maximum. What comes in at the borders is mirrored, so there are no empty
    corners.
    """
    turned, scaled = math.radians(DEGREES * angle), 1 + SCALE * size
    cos, sin = math.cos(turned) / scaled, math.sin(turned) / scaled
    x, y = 2 * SHIFT * right, 2 * SHIFT * down  # the side of the image is 2 in the grid's units
    back = torch.tensor([[[cos, sin, -cos * x - sin * y], [-sin, cos, sin * x - cos * y]]])
    grid = F.affine_grid(back, list(photo.shape), align_corners=False)
    moved = F.grid_sample(photo.float(), grid, padding_mode="reflection", align_corners=False)
    bright = (moved * (1 + LIGHT * brightness)).clamp(0, 255)
    mean = bright.mean()
    return (mean + (bright - mean) * (1 + LIGHT * contrast)).clamp(0, 255).round().byte()
