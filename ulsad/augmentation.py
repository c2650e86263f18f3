"""Varied copies of good photos, as another part on another day might have looked."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from ulsad.config import Config

DEGREES = 3.0  # of rotation, to either side
SHIFT = 0.03  # of the image's side, to either side
SCALE = 0.03  # larger or smaller
LIGHT = 0.1  # brighter or darker, and more or less contrast


def with_copies(images: Tensor, config: Config) -> Tensor:
    """uint8 (n, 3, s, s) → the same photos first, then as many varied copies of each as fit into
    `augmented_photos` in all: (m, 3, s, s). The copies depend on the seed and the photos alone.

    They show what a few photos can't: how much a good part moves and how the light changes. Variation is
    kept below what an inspector would call misplaced.
    """
    copies = config.augmented_photos // len(images) - 1
    if copies < 1:
        return images
    vary = _variation(config.image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return torch.cat([images, *(vary(image)[None] for _ in range(copies) for image in images)])


def _variation(size: int) -> v2.Transform:
    """Borders are mirrored before the photo is turned, so that no empty corner comes into view."""
    margin = size // 8
    shift = SHIFT * size / (size + 2 * margin)
    return v2.Compose([
        v2.Pad(margin, padding_mode="reflect"),
        v2.RandomAffine(DEGREES, (shift, shift), (1 - SCALE, 1 + SCALE),
                        interpolation=v2.InterpolationMode.BILINEAR),
        v2.CenterCrop(size),
        v2.ColorJitter(brightness=LIGHT, contrast=LIGHT),
    ])
