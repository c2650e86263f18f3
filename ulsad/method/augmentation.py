"""Augmented copies of good photos, with small changes in position, size and light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ulsad.compute.rows import IN_MEMORY, Rows, Space
from ulsad.method.config import Config

if TYPE_CHECKING:
    from torchvision.transforms import v2

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
    vary = _variation(config.image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for i in range(size):
            original = images[i % photos:i % photos + 1]
            rows[i:i + 1] = original if i < photos else vary(original[0])[None]
    return rows


def _variation(size: int) -> v2.Transform:
    """The random transform. Borders are mirrored before the rotation, so that no empty corners appear."""
    from torchvision.transforms import v2

    margin = size // 8
    shift = SHIFT * size / (size + 2 * margin)
    return v2.Compose([
        v2.Pad(margin, padding_mode="reflect"),
        v2.RandomAffine(DEGREES, (shift, shift), (1 - SCALE, 1 + SCALE),
                        interpolation=v2.InterpolationMode.BILINEAR),
        v2.CenterCrop(size),
        v2.ColorJitter(brightness=LIGHT, contrast=LIGHT),
    ])
