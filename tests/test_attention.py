"""The column of W behind a click, and the right patch for a pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import DEMO_PHOTOS

from ulsad.attention.attention import (
    attention_over,
    patch_at,
    patch_features,
    share_of_second,
    spread,
    standardised,
    temperature_for,
)
from ulsad.method.backbones import BACKBONES, load_backbone
from ulsad.method.config import Config
from ulsad.method.equations import attention_weights
from ulsad.photos.images import read_image

FEATURES = torch.randn(6, 8, 10, generator=torch.Generator().manual_seed(2))


def test_column_equals_the_full_matrix_and_sums_to_one():
    full = attention_weights(FEATURES.flatten(1)[None], FEATURES.flatten(1)[None])[0]
    for row, column in [(0, 0), (7, 9), (3, 4)]:
        weights = attention_over(FEATURES, FEATURES[:, row, column])
        np.testing.assert_allclose(weights.ravel(), full[:, row * 10 + column], atol=1e-6)
        assert weights.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("standard", [False, True])
def test_the_same_of_a_photo(standard):
    features = patch_features(load_backbone(Config()), read_image(DEMO_PHOTOS[0]), 256)
    features = standardised(features) if standard else features
    keys = features.double().flatten(1)[None]
    full = attention_weights(keys, keys)[0]
    for row, column in [(0, 0), (31, 31), (13, 21)]:
        weights = attention_over(features, features[:, row, column])
        np.testing.assert_allclose(weights.ravel(), full[:, row * 32 + column], atol=1e-6)
        assert weights.sum() == pytest.approx(1, abs=1e-6)


def test_a_query_from_elsewhere_is_eq_4_literally():
    query, scale = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, -0.1]), 0.7 * math.sqrt(6)
    weights = attention_over(FEATURES, query, temperature=0.7)
    products = [[math.exp(float(sum(FEATURES[c, i, j] * query[c] for c in range(6))) / scale)
                 for j in range(10)] for i in range(8)]
    np.testing.assert_allclose(weights, np.array(products) / np.sum(products), rtol=1e-4)


def test_two_photos_share_by_what_is_similar():
    query = FEATURES[:, 2, 3]
    assert share_of_second(FEATURES, FEATURES, query) == pytest.approx(0.5, abs=1e-6)
    assert share_of_second(FEATURES, FEATURES - 10 * query[:, None, None], query) < 1e-6
    numerators = [torch.exp(half.flatten(1).T @ query / math.sqrt(6)).sum()
                  for half in (FEATURES, FEATURES[:, :4])]
    assert share_of_second(FEATURES, FEATURES[:, :4], query) == pytest.approx(
        float(numerators[1] / sum(numerators)), rel=1e-5)


def test_spread_counts_patches():
    assert spread(np.full((4, 5), 1 / 20, np.float32)) == pytest.approx(20, rel=1e-6)
    assert spread(np.eye(1, 20)) == pytest.approx(1)
    assert spread(np.array([0.25, 0.25, 0.5])) == pytest.approx(math.exp(1.5 * math.log(2)))


def test_the_temperature_for_a_spread():
    query = FEATURES[:, 1, 1]
    for patches in (3, 30, 70):
        weights = attention_over(FEATURES, query, temperature_for(FEATURES, query, patches))
        assert spread(weights) == pytest.approx(patches, rel=1e-3)


def test_standardised_like_another_photo():
    own, other = standardised(FEATURES), standardised(3 * FEATURES + 1, like=FEATURES)
    torch.testing.assert_close(own.mean(dim=(1, 2)), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(own.std(dim=(1, 2)), torch.ones(6))
    std, mean = torch.std_mean(FEATURES, dim=(1, 2), keepdim=True)
    torch.testing.assert_close(other, (3 * FEATURES + 1 - mean) / std)
    assert standardised(torch.ones(2, 3, 3)).eq(0).all()


@pytest.mark.parametrize(("size", "x", "y", "expected"), [
    ((100, 400), 0, 0, (0, 0)), ((100, 400), 399, 99, (31, 31)), ((100, 400), 400, 100, (31, 31)),
    ((100, 400), 0, 99, (31, 0)), ((100, 400), 399, 0, (0, 31)), ((100, 400), 200, 50, (16, 16)),
    ((100, 400), 12.4, 3.1, (0, 0)), ((100, 400), 12.6, 3.2, (1, 1)),
    ((400, 100), 99, 0, (0, 31)), ((400, 100), 0, 399, (31, 0)), ((400, 100), 99.9, 399.9, (31, 31)),
    ((400, 100), 3.2, 12.4, (0, 1)),
    ((100, 400), -3, 50, (16, 0)), ((100, 400), 200, 140, (31, 16)),  # a border beside the photo
])
def test_patch_under_a_pixel(size, x, y, expected):
    assert patch_at(x, y, size, (32, 32)) == expected


def test_layers_to_choose_from():
    for name in BACKBONES:
        with torch.device("meta"):  # names alone, no weights
            stages = BACKBONES[name].stages(name)
        assert list(BACKBONES[name].blocks) == [
            stage for stage in stages if stage.startswith(("layer", "block"))]
