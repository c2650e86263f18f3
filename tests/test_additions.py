"""A model without what its maps have beyond the paper's: the same networks, measured anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL, DEMO_PHOTOS, TINY

from ulsad import Ulsad
from ulsad.attention.additions import PAPERS, additions, without
from ulsad.attention.lesson import teach
from ulsad.method.config import PRESETS
from ulsad.method.equations import resample
from ulsad.photos.images import read_image, to_square

BRIEF = replace(TINY, steps=3, autoencoder_width=8)


@pytest.fixture(scope="module")
def demo() -> Ulsad:
    return Ulsad.load(DEMO_MODEL)


@pytest.fixture(scope="module")
def bare(demo) -> Ulsad:
    return without(demo, PAPERS)


def test_what_is_an_addition(demo):
    assert additions(demo.config) == tuple(PAPERS)
    assert additions(PRESETS["paper"]) == ()
    assert without(demo, []) is demo
    assert additions(without(demo, ["combination"]).config) == ("whitened", "relative", "bank")


def test_without_any_the_maps_are_those_of_the_equations(demo, bare):
    photo = read_image(DEMO_PHOTOS[1])
    with_all, plain = teach(demo, photo), teach(bare, photo)
    assert [stage.name for stage in plain.local + plain.global_] == ["equation", "equation"]
    for before, after in ((with_all.local[0], plain.local[0]), (with_all.global_[0], plain.global_[0])):
        np.testing.assert_allclose(after.distances, before.distances, rtol=1e-6)
    for branch, stage in enumerate((plain.local[0], plain.global_[0])):
        np.testing.assert_allclose(plain.prediction.distances[branch], stage.distances, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(plain.maps.combined, (plain.maps.local + plain.maps.global_) / 2, atol=1e-6)


def test_quantiles_are_of_the_kept_good_photos(bare):
    squares = torch.stack([to_square(bare.references.photo(i), 256)
                           for i in range(len(bare.references.names))])
    maps = resample(bare.branches.analyse(squares).distances, bare.branches.resampling)
    for branch, quantiles in enumerate((bare.calibration.local, bare.calibration.global_)):
        for level in (0.9, 0.995):
            assert quantiles(level) == pytest.approx(np.quantile(maps[:, branch], level), rel=1e-3)


def test_without_the_sum_nothing_is_measured(demo):
    mean = without(demo, ["combination"])
    np.testing.assert_array_equal(mean.held_out, demo.held_out)
    np.testing.assert_array_equal(mean.predict(DEMO_PHOTOS[1]).distances,
                                  demo.predict(DEMO_PHOTOS[1]).distances)


@pytest.mark.parametrize("name", ["whitened", "relative", "bank"])
def test_it_is_nearly_the_model_that_never_had_it(good_photos, name):
    """Networks are trained alike; what is usual comes from the JPEGs in the model, not from the photos."""
    config = replace(BRIEF, nearest_patches=400, local_metric="whitened", relative_maps=True)
    left, never = (without(Ulsad.fit(good_photos, config), [name]),
                   Ulsad.fit(good_photos, replace(config, **PAPERS[name])))
    assert left.config == never.config
    for photo in DEMO_PHOTOS[:3]:
        mine, theirs = left.predict(photo).distances, never.predict(photo).distances
        assert np.corrcoef(mine[0].ravel(), theirs[0].ravel())[0, 1] > 0.98
        np.testing.assert_allclose(mine.max(axis=(1, 2)), theirs.max(axis=(1, 2)), rtol=0.15)


def test_cross_fitted_good_photos_are_judged_by_networks_that_do_not_know_them(good_photos):
    crossed = Ulsad.fit(good_photos, replace(BRIEF, folds=3, nearest_patches=400))
    left = without(crossed, ["relative"])
    number = crossed.record["train"].index(left.references.names[0])
    square = to_square(left.references.photo(0), 256)[None]
    own = left.branches.without(number).analyse(square).distances
    np.testing.assert_allclose(left.held_out[:1], own, rtol=1e-5)
    assert not np.allclose(left.held_out[:1], left.branches.analyse(square).distances, rtol=1e-3)
