"""Self-made defects: small, seen, of every kind, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import DEMO_PHOTOS
from PIL import Image

from ulsad.photos import probe
from ulsad.photos.images import read_squares
from ulsad.photos.self_made import FEWEST, KINDS, SEEN, self_made


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    return read_squares(DEMO_PHOTOS[:2], 256)[1]


def test_only_the_marked_pixels_changed_visibly(squares):
    damaged, masks, made_from = self_made(squares, 28, seed=0)
    assert len(damaged) == len(masks) == 28 and damaged.dtype == torch.uint8
    for photo, mask, good in zip(damaged, masks, made_from, strict=True):
        difference = (photo.int() - squares[good].int()).abs().amax(dim=0).numpy()
        assert (mask == (difference > SEEN)).all()
        assert FEWEST <= mask.sum() < 0.2 * mask.size


def test_every_kind_comes_as_often_and_the_seed_decides(squares):
    damaged, masks, made_from = self_made(squares, 2 * len(KINDS), seed=0)
    assert made_from == [0, 1] * len(KINDS)
    again, other = self_made(squares, 2 * len(KINDS), seed=0), self_made(squares, 2 * len(KINDS), seed=1)
    assert torch.equal(damaged, again[0]) and (masks == again[1]).all()
    assert not torch.equal(damaged, other[0])
    lines = self_made(squares, 2, seed=0)[1]  # a scratch on each of the two photos comes first
    assert (lines == masks[:2]).all()


def test_photos_on_which_nothing_can_be_seen_give_fewer_defects():
    plain = torch.full((1, 3, 256, 256), 128, dtype=torch.uint8)
    damaged, masks, made_from = self_made(plain, 14, seed=0)
    assert 0 < len(damaged) == len(masks) == len(made_from) < 14  # erasing, moving, blurring change nothing
    assert masks.any(axis=(1, 2)).all()


def test_a_changed_region_stays_where_it_was(squares):
    photo = Image.fromarray(squares[0].permute(1, 2, 0).numpy())
    darker = np.asarray(probe.changed(photo, (0.25, 0.25, 0.5, 0.5),
                                      lambda region: region.point(lambda value: value // 2)))
    difference = np.abs(darker.astype(int) - np.asarray(photo)).max(axis=2) > 0
    assert difference[70:120, 70:120].mean() > 0.9
    difference[64:128, 64:128] = False
    assert not difference.any()
