"""Good photos with small defects made at random: they show, without a real one, how well a detector finds
the place of a defect."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from ulsad.photos import probe
from ulsad.photos.probe import Box

SMALLEST, LARGEST = 0.06, 0.22  # sides of a damaged region, as fractions of the photo's
SEEN = 12  # of 255: a pixel that changes by more belongs to the defect
FEWEST = 40  # pixels of a defect; fewer can't be seen
TRIES = 8  # for each defect: a region of a plain surface hardly changes when it is erased or moved


class Damaged(NamedTuple):
    """m photos with defects made on purpose."""

    squares: Tensor  # uint8 (m, 3, s, s)
    masks: np.ndarray  # bool (m, s, s)
    made_from: list[int]  # (m,): index of the good photo


def self_made(squares: Tensor, count: int, seed: int) -> Damaged:
    """Up to `count` damaged copies of good photos, uint8 (n, 3, s, s), taken in turns. Each kind of damage
    comes equally often."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        photo = Image.fromarray(squares[i % len(squares)].permute(1, 2, 0).numpy())
        damage = KINDS[(i // len(squares)) % len(KINDS)]
        for _ in range(TRIES):
            damaged = np.asarray(damage(photo, rng))
            mask = np.abs(damaged.astype(int) - np.asarray(photo)).max(axis=2) > SEEN
            if mask.sum() >= FEWEST:
                found.append((torch.from_numpy(damaged.copy()).permute(2, 0, 1), mask, i % len(squares)))
                break
    if not found:
        return Damaged(squares[:0], np.empty((0, *squares.shape[2:]), bool), [])
    damaged_squares, masks, made_from = zip(*found, strict=True)
    return Damaged(torch.stack(damaged_squares), np.array(masks), list(made_from))


def _region(rng: np.random.Generator) -> Box:
    width, height = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), 2))
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return left, top, left + width, top + height


def _elsewhere(rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform(0.1, 0.9, 2)
    return x, y


def _scratch(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    start, angle, length = rng.uniform(0.1, 0.9, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.3)
    along = np.linspace(0, 1, 5)[:, None]
    bent = angle + 0.3 * along
    points = start + length * along * np.hstack([np.cos(bent), np.sin(bent)])
    return probe.scratch(photo, [(x, y) for x, y in points])


def _erase(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return probe.erase(photo, _region(rng))


def _duplicate(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return probe.duplicate(photo, _region(rng), _elsewhere(rng))


def _swap(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return probe.swap(photo, _region(rng), _elsewhere(rng))


def _move(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return probe.move(photo, _region(rng), _elsewhere(rng))


def _blur(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return probe.changed(photo, _region(rng), lambda region: region.filter(ImageFilter.GaussianBlur(3)))


def _recolour(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    shift = rng.choice([-1, 1], 3) * rng.uniform(20, 60, 3)
    return probe.changed(photo, _region(rng), lambda region: Image.fromarray(
        np.clip(np.asarray(region) + shift, 0, 255).astype(np.uint8)))


KINDS: tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...] = (
    _scratch, _erase, _duplicate, _swap, _move, _blur, _recolour)
