"""The column of W behind a click, and the right patch for a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ulsad.attention import attention_of_patch, concepts, patch_at
from ulsad.maps import attention_weights

FEATURES = torch.randn(6, 8, 10, generator=torch.Generator().manual_seed(2))


def test_column_equals_the_full_matrix_and_sums_to_one():
    full = attention_weights(FEATURES.flatten(1)[None], FEATURES.flatten(1)[None])[0]
    for row, column in [(0, 0), (7, 9), (3, 4)]:
        weights = attention_of_patch(FEATURES, row, column)
        np.testing.assert_allclose(weights.ravel(), full[:, row * 10 + column], atol=1e-6)
        assert weights.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("x", "y", "expected"), [
    (0, 0, (0, 0)), (399, 99, (31, 31)), (400, 100, (31, 31)), (200, 50, (16, 16)), (12.4, 3.1, (0, 0)),
    (12.6, 3.2, (1, 1))])
def test_patch_under_a_pixel_of_a_wide_photo(x, y, expected):
    assert patch_at(x, y, (100, 400), (32, 32)) == expected


def test_concepts_are_the_planted_groups():
    """Three directions planted in stripes: each stripe is one concept and attends to itself."""
    features = 0.05 * torch.randn(6, 8, 9)
    for stripe in range(3):
        features[2 * stripe : 2 * stripe + 2, :, 3 * stripe : 3 * stripe + 3] += 4
    found = concepts(features, 3)
    assert sorted(concept.column // 3 for concept in found) == [0, 1, 2]
    for concept in found:
        stripe = concept.column // 3
        assert concept.members[:, 3 * stripe : 3 * stripe + 3].all() and concept.members.sum() == 24
        assert concept.attention[:, 3 * stripe : 3 * stripe + 3].sum() > 0.99
