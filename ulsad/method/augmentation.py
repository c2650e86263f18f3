"""Varied copies of good photos, as another part on another day might have looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ulsad.compute.rows import IN_MEMORY, Rows, Space
from ulsad.method.config import Config

if TYPE_CHECKING:
    from torchvision.transforms import v2

DEGREES = 3.0  # of rotation, to either side
SHIFT = 0.03  # of the image's side, to either side
SCALE = 0.03  # larger or smaller
LIGHT = 0.1  # brighter or darker, and more or less contrast


def size_with_copies(photos: int, config: Config) -> int:
    """How many photos a number of them grows to: as many copies of each as fit into `augmented_photos`."""
    return photos * max(1, config.augmented_photos // max(photos, 1))


def with_copies(images: Rows, config: Config, space: Space = IN_MEMORY) -> Rows:
    """uint8 (n, 3, s, s) → the same photos first, then varied copies of each: (m, 3, s, s), with m from
    `size_with_copies`. The copies depend on the seed and the photos alone.

    They show what a few photos can't: how much a good part moves and how the light changes. Variation is
    kept below what an inspector would call misplaced.
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
    """Borders are mirrored before the photo is turned, so that no empty corner comes into view."""
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
