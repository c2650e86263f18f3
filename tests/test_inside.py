"""The losses of one photo are those of the training, and the error map is what the global loss sums up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL, DEMO_PHOTOS

from ulsad import Ulsad
from ulsad.attention.inside import look_inside
from ulsad.method.training import losses_of
from ulsad.photos.images import read_image, to_square


@pytest.fixture(scope="module")
def demo() -> Ulsad:
    return Ulsad.load(DEMO_MODEL)


def test_terms_are_the_losses_of_the_training(demo):
    square = to_square(read_image(DEMO_PHOTOS[1]), demo.config.image_size)
    inside = look_inside(demo.branches, square)
    features, outputs = demo.branches.forward(square)
    z = features.flatten(2)
    target = z @ torch.softmax(z.mT @ z / z.shape[1] ** 0.5, dim=1)
    expected = losses_of(outputs, features, target, torch.arange(z.shape[2]), demo.config)
    assert [term.name for term in inside.terms] == ["L_pl", "L_pg", "L_lg"]
    totals = [term.total for term in inside.terms]
    np.testing.assert_allclose(totals, [float(loss) for loss in expected], rtol=1e-4)
    assert inside.attention_error.mean() == pytest.approx(inside.terms[1].total, rel=1e-4)
    torch.testing.assert_close(inside.features, features[0])


def test_the_global_loss_sees_what_is_missing(demo):
    good, missing = (look_inside(demo.branches, demo.square(path).pixels) for path in DEMO_PHOTOS[:2])
    assert missing.attention_error.max() > 4 * good.attention_error.max()
    row, column = np.unravel_index(missing.attention_error.argmax(), (32, 32))
    assert 10 <= column <= 20 and row < 16  # the compartment of the washers, one of which is gone


def test_a_model_without_global_branch(local_detector):
    inside = look_inside(local_detector.branches, local_detector.square(DEMO_PHOTOS[0]).pixels)
    assert inside.global_features is None and inside.attention_error is None
    assert [term.name for term in inside.terms] == ["L_pl"]
