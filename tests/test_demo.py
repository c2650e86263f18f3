"""The synthetic part tray: seeded, laid out as MVTec LOCO, and its masks tell the truth."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ulsad import InputError
from ulsad.demo.dataset import DEFECTS, GOOD, LOGICAL, STRUCTURAL, render, write_demo, write_sample
from ulsad.demo.tray import KINDS
from ulsad.photos.images import find_images


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def kinds_in(labels: np.ndarray) -> np.ndarray:
    """Pixels of each kind of part."""
    return np.bincount(labels.ravel(), minlength=len(KINDS) + 1)[1:]


def test_a_seed_gives_a_photo():
    first, again, other = render(rng(1)), render(rng(1)), render(rng(2))
    np.testing.assert_array_equal(np.asarray(first.image), np.asarray(again.image))
    assert np.abs(np.asarray(first.image, int) - np.asarray(other.image, int)).mean() > 3


def test_labels_of_a_good_tray_show_every_kind_and_its_mask_is_empty():
    photo = render(rng())
    assert photo.image.size == (640, 480) and not photo.mask.any()
    assert (kinds_in(photo.labels) > 1000).all()


@pytest.mark.slow
def test_logical_defects_change_the_parts_inside_their_mask():
    good = np.mean([kinds_in(render(rng(seed)).labels) for seed in range(4)], axis=0)
    change = {defect: kinds_in(render(rng(3), defect).labels) / good - 1 for defect in DEFECTS}
    assert change["missing"].min() < -0.2 and change["missing"].max() < 0.1
    assert change["surplus"].max() > 0.15 and change["surplus"].min() > -0.1
    assert not (render(rng(3), "missing").labels > 0)[render(rng(3), "missing").mask].any()
    assert (render(rng(3), "surplus").labels > 0)[render(rng(3), "surplus").mask].all()


@pytest.mark.parametrize("defect", [defect for defect, kind in DEFECTS.items() if kind == STRUCTURAL])
def test_structural_defects_keep_the_parts_and_have_a_small_mask(defect):
    photo = render(rng(4), defect)
    np.testing.assert_allclose(kinds_in(photo.labels) / kinds_in(render(rng(4)).labels), 1, atol=0.05)
    assert 0.0003 < photo.mask.mean() < 0.02


def test_a_set_is_laid_out_as_mvtec_loco(demo_set):
    assert {path.name for path in (demo_set / "test").iterdir()} == {GOOD, LOGICAL, STRUCTURAL}
    for kind in (LOGICAL, STRUCTURAL):
        photos = find_images(demo_set / "test" / kind)
        assert len(photos) == sum(value == kind for value in DEFECTS.values())
        for photo in photos:
            mask = np.asarray(Image.open(demo_set / "ground_truth" / kind / photo.stem / "000.png"))
            assert mask.shape == (480, 640) and set(np.unique(mask)) == {0, 255}


def test_a_sample_has_one_photo_of_each_kind(tmp_path):
    write_sample(tmp_path / "sample")
    names = [path.stem.split()[1] for path in find_images(tmp_path / "sample")]
    assert names == [GOOD, *DEFECTS]


def test_two_sets_never_mix(demo_set):
    with pytest.raises(InputError, match="not an empty folder"):
        write_demo(demo_set)
