"""Other methods on the same photos: what needs anomalib runs it for real, or is skipped without it."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from ulsad.errors import InputError
from ulsad.evaluation.baselines import BASELINES, check_baselines, run_baseline
from ulsad.photos.datasets import find_categories


@pytest.fixture(scope="module")
def category(demo_set):
    return find_categories(demo_set)[0]


@pytest.mark.skipif(find_spec("anomalib") is not None, reason="anomalib is installed")
def test_without_anomalib_one_line_says_how_to_install_it(category):
    with pytest.raises(InputError, match="pip install anomalib") as raised:
        run_baseline("patchcore", category)
    assert "\n" not in str(raised.value)


def test_an_unknown_method_is_refused_whether_or_not_anomalib_is_there(category):
    with pytest.raises(InputError, match=r"'patchwork'.*patchcore"):
        check_baselines([*BASELINES, "patchwork"])
    with pytest.raises(InputError, match="patchwork"):
        run_baseline("patchwork", category)


def test_patchcore_scores_the_test_photos_in_their_order(category):
    pytest.importorskip("anomalib")
    outcome = run_baseline("patchcore", category, backbone="efficientnet_lite0")
    assert outcome.note == ""
    assert outcome.scores.shape == (len(category.test),)
    assert outcome.maps.shape == (len(category.test), 256, 256)
    assert outcome.maps.dtype == np.float32
    assert np.isfinite(outcome.scores).all() and np.isfinite(outcome.maps).all()
    assert outcome.seconds > 0 and outcome.memory_mb > 100
    turned = replace(category, test=category.test[::-1])
    backwards = run_baseline("patchcore", turned, backbone="efficientnet_lite0")
    np.testing.assert_allclose(backwards.scores[::-1], outcome.scores, rtol=1e-4)
    np.testing.assert_allclose(backwards.maps[::-1], outcome.maps, rtol=1e-3, atol=1e-4)


def test_a_training_says_how_long_it_was(category):
    pytest.importorskip("anomalib")
    few = replace(category, train=category.train[:4], test=category.test[:2])
    outcome = run_baseline("cflow", few, backbone="efficientnet_lite0", epochs=1)
    assert outcome.note == "all 1 epochs"
    assert np.isfinite(outcome.scores).all()


def test_what_keeps_a_method_from_running_is_its_note(category, tmp_path):
    pytest.importorskip("anomalib")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no")
    unreadable = replace(category, test=(replace(category.test[0], path=broken),))
    for changed, options, reason in [
        (unreadable, {}, str(broken)),
        (category, {"backbone": "resnet18", "weights": tmp_path / "none.pth"}, "none.pth"),
    ]:
        options = {"backbone": "efficientnet_lite0"} | options
        outcome = run_baseline("padim", changed, **options)
        assert outcome.scores is None and outcome.maps is None
        assert reason in outcome.note and "\n" not in outcome.note
