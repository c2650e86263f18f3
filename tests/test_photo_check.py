"""The check before a training: what is counted, which photos are twins, what is said and what is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from conftest import shared
from photo_bytes import tiff
from PIL import Image, ImageOps

from ulsad import Config, InputError
from ulsad.demo.dataset import render
from ulsad.detector.photo_sets import with_white_level
from ulsad.photos.images import find_images
from ulsad.photos.intake import DEFECTS, HELD_OUT
from ulsad.photos.intake import GOOD_PARTS as GOOD
from ulsad.photos.twins import NEAR, NEAR_CAP, compared
from ulsad.runs.photo_check import Duplicates, check, checking


@pytest.fixture(scope="module")
def trays(tmp_path_factory):
    """Ten different trays at half size, the same in a mirror, and upside down: thirty different photos."""
    folder = tmp_path_factory.mktemp("trays")
    photos = [render(np.random.default_rng(i)).image.resize((320, 240)) for i in range(10)]
    photos += [ImageOps.mirror(photo) for photo in photos] + [ImageOps.flip(photo) for photo in photos]
    for i, photo in enumerate(photos):
        photo.save(folder / f"{i}.png", compress_level=1)
    return find_images(folder)


def saved(image, file, **how):
    image.save(file, **how)
    return file


def copied(photo, file, **how):
    with Image.open(photo) as image:
        return saved(image, file, **how)


def text(file):
    file.write_text("not a picture")
    return file


def test_good_and_different_photos_have_no_problems(trays):
    result = check({GOOD: trays[:25], DEFECTS: trays[25:]})
    assert result.problems() == [] and result.duplicates == () and result.refused == []
    assert [(slot.name, slot.photos, slot.sizes, slot.modes) for slot in result.slots] == [
        (GOOD, 25, {(320, 240): 25}, {"RGB": 25}), (DEFECTS, 5, {(320, 240): 5}, {"RGB": 5})]
    assert 0 < result.seconds_per_photo < 1


def test_the_same_pixels_in_another_format_are_an_exact_duplicate(trays, tmp_path):
    copy = copied(trays[3], tmp_path / "renamed.bmp")
    result = check({GOOD: [*trays[:8], copy]})
    assert result.duplicates == (Duplicates(trays[3], GOOD, copy, GOOD, exact=True),)
    assert result.problems()[1].startswith(
        "1 photo is the same picture as another in good parts (renamed.bmp and 3.png).")


def test_equal_bytes_of_another_size_are_not_the_same_picture(tmp_path):
    wide, high = (saved(Image.new("RGB", size, "teal"), tmp_path / f"{size[0]}.png")
                  for size in ((64, 128), (128, 64)))
    assert check({GOOD: [wide, high]}).duplicates == ()


@pytest.mark.parametrize("change", ["compressed", "half"])
def test_compressed_and_resized_copies_are_near(trays, tmp_path, change):
    with Image.open(trays[3]) as photo:
        copy = (saved(photo, tmp_path / "copy.jpg", quality=60) if change == "compressed" else
                saved(photo.resize((160, 120)), tmp_path / "copy.png"))
    result = check({GOOD: trays[:6], HELD_OUT: [*trays[6:9], copy]})
    assert result.duplicates == (Duplicates(trays[3], GOOD, copy, HELD_OUT, exact=False),)
    assert any("almost the same picture in good parts and in held-out good parts (copy." in problem
               and "threshold would be too low" in problem for problem in result.problems())


def test_dark_photos_are_not_near_only_because_they_are_dark(trays, tmp_path):
    """12-bit values in a 16-bit file: a sixteenth of the contrast, and of the differences."""
    dark = [saved(Image.fromarray(np.asarray(Image.open(tray).convert("L")).astype(np.uint16) * 16),
                  tmp_path / tray.name, compress_level=1) for tray in trays]
    result = check({GOOD: dark})
    assert result.duplicates == () and result.slots[0].modes == {"I;16": 30}


@pytest.mark.parametrize("name", ["fourscrews", "aliens", "magnetic_tile"])
def test_no_real_good_photo_is_taken_for_another(name):
    assert check({GOOD: find_images(shared(f"data/{name}/train/good"))}).duplicates == ()


def test_near_twins_agree_with_all_distances_one_by_one(tmp_path):
    """Six hundred noisy copies of forty pictures, more than one chunk."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(40, 200, (40, 32, 32))
    arrays = [pictures[rng.integers(40)] + np.rint(rng.uniform(0.6, 2.5) * rng.random((32, 32)))
              for _ in range(600)]
    files = [saved(Image.fromarray(array.astype(np.uint8)), tmp_path / f"{i}.png")
             for i, array in enumerate(arrays)]
    noisy = dict(zip(files, np.float64(arrays)))

    def distance(one, other):
        return np.sqrt(np.square(noisy[one] - noisy[other]).mean())

    nearest = {file: min(distance(file, earlier) for earlier in files[:i])
               for i, file in enumerate(files) if i}
    expected = {file: nearby for file, nearby in nearest.items() if nearby < NEAR}
    found = {pair.second: distance(pair.first, pair.second) for pair in check({GOOD: files}).duplicates}
    assert 100 < len(expected) < 500  # of 600: the limit itself is put to the test
    assert found == pytest.approx(expected, abs=2e-3)  # single precision may choose between equals


def test_a_photo_is_reported_once_and_exact_wins(trays, tmp_path):
    near = copied(trays[0], tmp_path / "a.jpg", quality=60)
    exact = copied(trays[0], tmp_path / "b.bmp")
    again = copied(near, tmp_path / "c.png")
    result = check({GOOD: [near, *trays[:3], exact, again]})
    assert result.duplicates == (
        Duplicates(near, GOOD, trays[0], GOOD, exact=False),
        Duplicates(trays[0], GOOD, exact, GOOD, exact=True),
        Duplicates(near, GOOD, again, GOOD, exact=True))


def test_the_smaller_slots_are_always_searched_for_near_copies():
    slots = [GOOD] * (NEAR_CAP + 7) + [HELD_OUT] * 20 + [DEFECTS] * 30
    assert compared(slots) == [*range(NEAR_CAP - 50), *range(NEAR_CAP + 7, NEAR_CAP + 57)]


def test_more_photos_than_are_compared_are_said(tmp_path):
    tiny = saved(Image.new("L", (4, 4)), tmp_path / "tiny.png")
    result = check({GOOD: [tiny] * (NEAR_CAP + 1)})
    assert sum(pair.exact for pair in result.duplicates) == NEAR_CAP
    assert "Only 5,000 of 5,001 photos were searched for near copies" in result.problems()[-1]


def test_modes_are_those_of_the_files(tmp_path):
    grey = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (96, 1))
    files = [saved(Image.fromarray(grey.astype(np.uint16) * 257), tmp_path / "deep.png"),
             saved(Image.fromarray(grey).convert("P"), tmp_path / "palette.png"),
             saved(Image.fromarray(grey), tmp_path / "grey.png")]
    result = check({GOOD: files})
    assert result.slots[0].modes == {"I;16": 1, "P": 1, "L": 1}
    assert [pair.first for pair in result.duplicates] == files[:1] * 2  # all are loaded as the same grey
    assert "Photos are mixed, 1 grey of more than 8 bits and 1 colour and 1 grey" in result.problems()[-1]


def deep(trays, folder, bits, colour=False, **how):
    """The trays in files of 16 bits, with the values of a camera that has fewer."""
    folder.mkdir(exist_ok=True)
    files = []
    for tray in trays:
        eight = np.asarray(Image.open(tray) if colour else Image.open(tray).convert("L")).astype(float)
        eight = np.where(eight == eight.max(), 255, eight)
        values = np.rint(eight / 255 * (2**bits - 1)).astype(np.uint16)
        file = folder / f"{tray.stem}.tif"
        file.write_bytes(tiff(values, 2 if colour else 1, **how))
        files.append(file)
    return files


def test_white_of_deep_photos_is_found_and_said(trays, tmp_path):
    result = check({GOOD: deep(trays[:20], tmp_path / "good", 12),
                    HELD_OUT: deep(trays[20:25], tmp_path / "held", 12)})
    assert result.white.level == 4095 and result.white.photos == 25
    [said] = [problem for problem in result.problems() if "white" in problem]
    assert said == ("25 photos have more than 8 bits: white is 4095 (12 bits), the smallest depth that none "
                    "of them exceeds. Set white_level if your camera says otherwise.")
    grey = np.asarray(result.contact_sheet.convert("L"))
    eight = [saved(Image.open(tray).convert("L"), tmp_path / f"8-{tray.name}") for tray in trays[:25]]
    plain = np.asarray(check({GOOD: eight[:20], HELD_OUT: eight[20:]}).contact_sheet.convert("L"))
    photos = np.s_[34:34 + 90, 12:12 + 120]
    assert np.abs(grey[photos].astype(int) - plain[photos]).max() <= 255 - 200  # one grey was made white
    assert grey[photos].mean() == pytest.approx(plain[photos].mean(), abs=3)


def test_white_of_deep_colour_photos(trays, tmp_path):
    """Their upper bytes are almost black."""
    result = check({GOOD: deep(trays, tmp_path / "deep", 12, colour=True)})
    assert result.white.level == 4095 and result.slots[0].modes == {"RGB;16": 30}
    assert np.asarray(result.contact_sheet)[34:124, 12:132].mean() > 60


def test_white_that_files_say_or_users(trays, tmp_path):
    tagged = deep(trays, tmp_path / "tagged", 10, tags={281: (3, [4095])})
    result = check({GOOD: tagged})
    assert str(result.white).startswith(
        "30 photos have more than 8 bits: white is 4095 (12 bits), as all their files say.")
    given = check({GOOD: tagged}, white_level=511)
    assert str(given.white) == "30 photos have more than 8 bits: white is 511 (9 bits), as set."
    assert len(given.slots[0].notes) == 30
    [said] = [problem for problem in given.problems() if "brighter than white (511)" in problem]
    assert "0.tif: " in said and said.endswith("And 27 more.")


def test_mixed_depths_are_said(trays, tmp_path):
    result = check({GOOD: [*trays[:20], *deep(trays[20:25], tmp_path / "deep", 12)]})
    assert any(problem.startswith("5 photos have more than 8 bits: white is 4095")
               for problem in result.problems())
    assert "Photos are mixed, 20 colour and 5 grey of more than 8 bits" in result.problems()[-1]


def test_values_in_which_nothing_tells_white(trays, tmp_path):
    """A training would refuse it; and every such photo says what to do."""
    file = tmp_path / "scan.tif"
    file.write_bytes(tiff(np.full((80, 80), 100_000, np.uint32)))
    result = check({GOOD: [*trays[:20], file]})
    [refused] = result.refused
    assert refused.startswith("Among the photos with more than 8 bits there are values up to 100000")
    assert result.white is None and check({GOOD: [*trays[:20], file]}, white_level=2**17 - 1).refused == []
    with pytest.raises(InputError, match="Among the photos with more than 8 bits"):
        with_white_level(Config(), [*trays[:20], file])
    assert any("scan.tif: there are values up to 100000" in problem and "Set white_level" in problem
               for problem in result.problems())


def test_a_phone_photo_is_reported_upright(tmp_path):
    photo = Image.effect_noise((300, 200), 50)
    exif = photo.getexif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    lying = saved(photo, tmp_path / "phone.jpg", exif=exif)
    standing = saved(photo.transpose(Image.Transpose.ROTATE_270), tmp_path / "upright.jpg")
    result = check({GOOD: [lying, standing]})
    assert result.slots[0].sizes == {(200, 300): 2}
    assert [pair.second for pair in result.duplicates] == [standing]


def test_sizes_are_counted_and_odd_ones_named(trays, tmp_path):
    strip = saved(Image.new("RGB", (400, 60), "olive"), tmp_path / "strip.png")
    half = [saved(Image.open(tray).resize((160, 120)), tmp_path / tray.name) for tray in trays[20:23]]
    problems = "\n".join(check({GOOD: [*half, *trays[:20], strip]}).problems())
    assert "Photos have 3 different sizes: 20 of 320 x 240, 3 of 160 x 120, 1 of 400 x 60." in problems
    assert "1 photo is less than 64 px wide or high (400 x 60, for example)" in problems
    assert "1 photo is more than 4 times as long as wide (400 x 60, for example)" in problems


def test_unreadable_files_are_counted_with_reasons(trays, tmp_path):
    broken = [text(tmp_path / f"notes {i}.jpg") for i in range(5)]
    result = check({GOOD: [*trays[:20], *broken]})
    slot = result.slots[0]
    assert (slot.photos, slot.readable) == (25, 20)
    assert [item.path for item in slot.skipped] == broken
    [problem] = result.problems()
    assert problem.startswith("5 of 25 good parts can't be read and will be left out: notes 0.jpg: not a PNG")
    assert "notes 2.jpg" in problem and "notes 3.jpg" not in problem and problem.endswith("And 2 more.")
    assert str(tmp_path) not in problem


@pytest.mark.parametrize("one, other", [(GOOD, DEFECTS), (HELD_OUT, DEFECTS), (GOOD, HELD_OUT)])
def test_the_same_picture_in_two_slots_is_refused(trays, tmp_path, one, other):
    slots = {GOOD: trays[:20], HELD_OUT: trays[20:25], DEFECTS: trays[25:]}
    twin = copied(slots[one][0], tmp_path / "twin.tif")
    result = check({**slots, other: [twin, *slots[other]]})
    [refused] = result.refused
    assert refused.startswith(f"1 photo is the same picture in {one} and in {other} (twin.tif and")
    assert result.problems()[0] == refused


def test_photos_of_one_name_are_told_apart_by_their_folders(trays, tmp_path):
    twin = copied(trays[0], tmp_path / trays[0].name)
    assert f"({tmp_path.name}/0.png and {trays[0].parent.name}/0.png)" in check(
        {GOOD: trays[:20], DEFECTS: [twin]}).refused[0]


def test_an_almost_equal_defect_is_said_but_not_refused(trays, tmp_path):
    near = copied(trays[0], tmp_path / "near.jpg", quality=60)
    result = check({GOOD: trays[:20], DEFECTS: [near]})
    assert result.refused == []
    assert "almost the same picture in good parts and in known defects" in result.problems()[0]


def test_too_few_photos_are_refused_and_copies_do_not_count(trays, tmp_path):
    copy = copied(trays[0], tmp_path / "copy.bmp")
    assert check({GOOD: trays[:8]}).refused == []
    [refused] = check({GOOD: [*trays[:7], copy, text(tmp_path / "bad.png")]}).refused
    assert "7 readable, not counting copies" in refused
    [refused] = check({GOOD: trays[:8], HELD_OUT: [trays[8], text(tmp_path / "worse.png")]}).refused
    assert refused.startswith("Too few held-out good parts: 1 readable")
    assert check({GOOD: trays[:8], HELD_OUT: []}).refused == []
    assert len(check({}).refused) == 1


def test_few_photos_are_said(trays):
    problems = check({GOOD: trays[:11], HELD_OUT: trays[11:29]}).problems()
    assert [problem.split(":")[0] for problem in problems] == [
        "11 good parts are few", "18 held-out good parts are few"]


def test_progress_is_heard_photo_by_photo_and_the_result_comes_last(trays):
    slots = {GOOD: trays[:2], DEFECTS: trays[2:6]}
    *heard, result = checking(slots)
    assert heard == [(done, 6) for done in range(1, 7)]
    assert [slot.photos for slot in result.slots] == [2, 4]


def test_the_contact_sheet_has_twelve_photos_of_a_slot_at_most(trays, tmp_path):
    """Two rows of six for 25 good parts, one for three defects; the twelfth cell has the 25th photo."""
    odd = copied(trays[0], tmp_path / f"{'very ' * 20}long\nname\udcff.png")
    sheet = check({GOOD: trays[:25], DEFECTS: [trays[25], text(tmp_path / "bad.png"), odd]}).contact_sheet
    pixels = np.asarray(sheet.convert("L"))
    assert sheet.size == (804, 2 * 34 + 3 * (90 + 18 + 12) + 12)
    photo = Image.open(trays[24]).resize((120, 90), Image.Resampling.BILINEAR).convert("L")
    last = pixels[34 + 120:34 + 120 + 90, 12 + 5 * 132:12 + 5 * 132 + 120]
    assert np.abs(last - np.asarray(photo, float)).mean() < 1
    assert (pixels[:, -12:] == 255).all() and (pixels[-12:] == 255).all()  # no name runs over the margin


def test_checking_changes_no_file(trays):
    before = [hashlib.sha256(path.read_bytes()).digest() for path in trays[:9]]
    check({GOOD: trays[:9]})
    assert before == [hashlib.sha256(path.read_bytes()).digest() for path in trays[:9]]
