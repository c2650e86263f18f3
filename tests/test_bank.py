"""The bank of good patches against scikit-learn's nearest neighbours and plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from sklearn.neighbors import NearestNeighbors

from ulsad.compute.rows import MappedRows
from ulsad.method import bank as banks
from ulsad.method import residuals
from ulsad.method.bank import Bank

N, C, H, W = 19, 5, 6, 7  # more photos than are read at a time
CPU = torch.device("cpu")


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(N, C, H, W, generator=torch.Generator().manual_seed(6))


@pytest.fixture
def bank(features) -> Bank:
    return Bank.of(features, replace(TINY, nearest_patches=50), CPU)


def averaged(features: torch.Tensor) -> np.ndarray:
    """(n, h, w, c), the mean over 3 × 3 with zeros beyond the border."""
    padded = np.pad(features.double().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sum(padded[:, :, y:y + H, x:x + W] for y in range(3) for x in range(3)).transpose(0, 2, 3, 1) / 9


def to_nearest(patches: np.ndarray, photos: np.ndarray) -> np.ndarray:
    found = NearestNeighbors(n_neighbors=1).fit(patches).kneighbors(photos.reshape(-1, C))[0]
    return found.reshape(photos.shape[:-1])


def test_distances_are_those_to_the_nearest_neighbour(features):
    patches = torch.randn(30, C, generator=torch.Generator().manual_seed(7))
    found = banks.nearest_distance(features[:3], patches)
    np.testing.assert_allclose(found, to_nearest(patches.double().numpy(), averaged(features[:3])), rtol=1e-4)


@pytest.mark.parametrize("mapped", [False, True])
def test_drawn_patches_are_the_averaged_ones_at_these_indices(features, tmp_path, mapped):
    rows = features
    if mapped:
        rows = MappedRows.allocated(tmp_path / "rows", tuple(features.shape), torch.float32)
        rows[:] = features
    drawn = banks.draw(N * H * W, 100, seed=3)
    assert len(set(drawn.tolist())) == 100 and not torch.equal(drawn, banks.draw(N * H * W, 100, seed=4))
    expected = averaged(features).reshape(-1, C)[drawn]
    np.testing.assert_allclose(banks.drawn_patches(rows, drawn), expected, atol=2e-3 if mapped else 1e-6)


def test_fewer_patches_than_asked_for_are_all_kept(features):
    assert len(Bank.of(features[:2], replace(TINY, nearest_patches=4000), CPU).patches) == 2 * H * W


@pytest.mark.parametrize("relative", [False, True])
def test_what_is_usual_is_the_distance_to_the_patches_of_other_photos(features, relative):
    bank = Bank.of(features, replace(TINY, nearest_patches=50, relative_maps=relative), CPU)
    photo_of = banks.draw(N * H * W, 50, TINY.seed).numpy() // (H * W)
    good = averaged(features)
    others = np.array([to_nearest(bank.patches.double().numpy()[photo_of != i], good[i]) for i in range(N)])
    if not relative:
        assert bank.expected is None
        assert float(bank.spread) == pytest.approx(others.std(ddof=1), rel=1e-4)
        return
    others = torch.from_numpy(others).float()
    torch.testing.assert_close(bank.expected, residuals.expected_coefficients(others, features, False),
                               rtol=1e-3, atol=1e-5)
    ratio = (others / residuals.expected(features, bank.expected, False)).amax((1, 2))
    peaked = others * (ratio / others.amax((1, 2)))[:, None, None]
    assert float(bank.spread) == pytest.approx(float(peaked.std()), rel=1e-3)


def test_a_photo_keeps_the_place_of_its_distances_and_the_peak_of_the_relative_ones(features, bank):
    photos = torch.randn(4, C, H, W, generator=torch.Generator().manual_seed(8)) * torch.linspace(0.5, 2, W)
    distances = banks.nearest_distance(photos, bank.patches)
    relative = distances / residuals.expected(photos, bank.expected, False)
    found = bank.distances(photos)
    np.testing.assert_allclose(found.amax((1, 2)), relative.amax((1, 2)) / bank.spread, rtol=1e-5)
    ratios = (found / distances).flatten(1)
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios))


def test_photos_that_are_all_the_same_give_finite_distances():
    same = torch.ones(3, C, H, W)
    bank = Bank.of(same, replace(TINY, nearest_patches=50), CPU)
    assert torch.isfinite(bank.distances(same)).all() and torch.isfinite(bank.distances(same + 1)).all()


def test_the_local_map_is_the_mean_of_both_in_units_of_their_spread(detector):
    branches = detector.branches
    photo = torch.randint(0, 256, (1, 3, 256, 256), generator=torch.Generator().manual_seed(9)).byte()
    features, _ = branches.forward(photo[0])
    member, = branches.members
    alone = replace(branches, bank=None, members=(replace(member, spread=None),)).analyse(photo).distances
    both = branches.analyse(photo).distances
    expected = (alone[:, 0] / member.spread.numpy() + branches.bank.distances(features).numpy()) / 2
    np.testing.assert_allclose(both[:, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(both[:, 1], alone[:, 1])
    assert branches.bank.patches.shape == (4000, features.shape[1])


def test_without_a_photo_the_bank_has_the_patches_of_the_others(features, bank):
    photo_of = banks.draw(N * H * W, len(bank.patches), TINY.seed) // (H * W)
    for photo in range(N):
        others = bank.without(photo)
        assert torch.equal(others.patches, bank.patches[photo_of != photo])
        assert (others.spread, others.expected) == (bank.spread, bank.expected) and photo not in others.photo
