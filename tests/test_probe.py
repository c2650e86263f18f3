import numpy as np
import pytest
from PIL import Image, ImageDraw

from ulsad.errors import InputError
from ulsad.photos import probe

FLOOR, PART = (90, 100, 110), (200, 40, 40)
BOX = (0.2, 0.3, 0.4, 0.6)  # a part at (24, 21) to (32, 39) of 100 × 60 lies inside


@pytest.fixture
def photo() -> Image.Image:
    image = Image.new("RGB", (100, 60), FLOOR)
    ImageDraw.Draw(image).rectangle([24, 21, 32, 33], fill=PART)
    return image


def red(image: Image.Image, x: int, y: int) -> bool:
    return image.getpixel((x, y))[0] > 150


def test_erase_fills_with_what_surrounds(photo):
    erased = np.asarray(probe.erase(photo, BOX))
    assert (erased == FLOOR).all()
    assert red(photo, 28, 27)  # the photo itself stays


def test_erase_blends_between_unequal_edges():
    ramp = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (60, 1, 3)))
    again = np.asarray(probe.erase(ramp, BOX)).astype(int)
    assert np.abs(again - np.asarray(ramp)).max() <= 1


def test_erase_works_at_the_border(photo):
    assert (np.asarray(probe.erase(photo, (0, 0, 0.4, 1))) == FLOOR).all()


def test_duplicate_and_move(photo):
    twice = probe.duplicate(photo, BOX, (0.8, 0.5))
    assert red(twice, 28, 27) and red(twice, 78, 30)
    moved = probe.move(photo, BOX, (0.8, 0.5))
    assert not red(moved, 28, 27) and red(moved, 78, 30)


def test_swap_changes_places(photo):
    ImageDraw.Draw(photo).rectangle([72, 24, 86, 34], fill=(20, 200, 20))
    swapped = probe.swap(photo, BOX, (0.8, 0.5))
    assert red(swapped, 78, 30) and swapped.getpixel((28, 27))[1] > 150


def test_a_destination_outside_is_brought_inside(photo):
    assert red(probe.duplicate(photo, BOX, (1, 1)), 89, 53)


def test_scratch_follows_the_mouse_and_nothing_else(photo):
    changed = np.any(np.asarray(probe.scratch(photo, [(0.5, 0.1), (0.9, 0.9)])) != np.asarray(photo), axis=2)
    assert changed[30, 70] and 0 < changed.mean() < 0.1
    assert not changed[:, :45].any()


def test_strokes_cover_what_was_painted():
    lines = [{"points": [[0.2, 0.5], [0.8, 0.5]], "width": 0.1}, {"points": [[0.5, 0.1]], "width": 0.06}]
    mask = probe.strokes((500, 1000), 100, lines)  # a photo twice as wide as high, on a square
    assert mask.shape == (100, 100) and mask[50, 20:80].all() and not mask[:, :14].any()
    assert mask[:, 50][30:].sum() == pytest.approx(20, abs=1)  # a tenth of the width is a fifth of the height
    assert mask[10, 50] and not mask[20, 50]
    assert np.array_equal(mask, probe.strokes((50, 100), 100, lines))
    own = probe.painted((500, 1000), lines)
    assert own.shape == (500, 1000) and own.mean() == pytest.approx(mask.mean(), rel=0.06)


@pytest.mark.parametrize("box", [(0.4, 0, 0.6, 1), (0, 0.4, 1, 0.6)])
def test_erase_of_a_bar_from_border_to_border(box):
    bar = Image.new("RGB", (100, 60), FLOOR)
    left, top, right, bottom = (round(share * side) for share, side in zip(box, (100, 60, 100, 60)))
    bar.paste((0, 0, 0), (left, top, right, bottom))
    assert (np.asarray(probe.erase(bar, box)) == FLOOR).all()


def test_too_small_or_too_large_regions_are_refused(photo):
    with pytest.raises(InputError, match="too small"):
        probe.erase(photo, (0.5, 0.5, 0.51, 0.9))
    with pytest.raises(InputError, match="whole photo"):
        probe.erase(photo, (0, 0, 1, 1))
    with pytest.raises(InputError, match="Draw a line"):
        probe.scratch(photo, [(0.5, 0.5)])
