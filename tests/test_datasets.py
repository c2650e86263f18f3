"""Each loader on a miniature tree of that exact layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ulsad import InputError
from ulsad.photos.datasets import find_categories, labels_of, plain, read_mask, recognise


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "grey").save(path)
    return path


def mask(path: Path, mode: str = "L", value: int = 255, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size)
    image.putpixel((size[0] - 1, 0), value)
    image.save(path)
    return path


def test_mvtec_ad(tmp_path):
    train = [photo(tmp_path / f"bottle/train/good/{i:03}.png") for i in range(2)]
    photo(tmp_path / "bottle/test/good/000.png")
    photo(tmp_path / "bottle/test/broken_large/000.png")
    truth = mask(tmp_path / "bottle/ground_truth/broken_large/000_mask.png")
    for root in (tmp_path, tmp_path / "bottle"):
        category, = find_categories(root)
        assert (category.layout, category.name) == ("MVTec AD", "bottle")
        assert category.train == tuple(train) and category.held_out == ()
        bad, good = category.test
        assert (good.kind, good.is_good, good.masks) == ("good", True, ())
        assert (bad.kind, bad.is_good, bad.masks, bad.group) == ("broken_large", False, (truth,), None)


def test_mpdd_is_told_from_mvtec_ad_by_its_categories(tmp_path):
    for path in ("train/good/0.png", "test/good/0.png", "test/hole/1.png"):
        photo(tmp_path / "bracket_black" / path)
    truth = mask(tmp_path / "bracket_black/ground_truth/hole/1_mask.png")
    category, = find_categories(tmp_path)
    assert category.layout == "MPDD" and category.test[1].masks == (truth,)


def test_mvtec_loco(tmp_path):
    root = tmp_path / "juice_bottle"
    photo(root / "train/good/000.png")
    held_out = photo(root / "validation/good/000.png")
    for kind in ("good", "logical_anomalies", "structural_anomalies"):
        photo(root / f"test/{kind}/000.png")
    several = tuple(mask(root / f"ground_truth/logical_anomalies/000/00{i}.png") for i in range(2))
    mask(root / "ground_truth/structural_anomalies/000/000.png")
    category, = find_categories(tmp_path)
    assert category.layout == "MVTec LOCO" and category.held_out == (held_out,)
    groups = {test.kind: test.group for test in category.test}
    assert groups == {"good": None, "logical_anomalies": "logical", "structural_anomalies": "structural"}
    logical = next(test for test in category.test if test.group == "logical")
    assert logical.masks == several


def test_btad(tmp_path):
    photo(tmp_path / "01/train/ok/0000.bmp")
    photo(tmp_path / "01/test/ok/0000.bmp")
    photo(tmp_path / "01/test/ko/0001.bmp")
    truth = mask(tmp_path / "01/ground_truth/ko/0001.png")
    category, = find_categories(tmp_path)
    assert category.layout == "BTAD"
    assert [(test.kind, test.masks) for test in category.test] == [("good", ()), ("ko", (truth,))]


def test_visa(tmp_path):
    names = {"normal": "candle/Data/Images/Normal", "anomaly": "candle/Data/Images/Anomaly"}
    for i in range(2):
        photo(tmp_path / names["normal"] / f"000{i}.JPG")
    photo(tmp_path / names["anomaly"] / "000.JPG")
    truth = mask(tmp_path / "candle/Data/Masks/Anomaly/000.png", value=3)
    photo(tmp_path / "pcb1/Data/Images/Normal/0.JPG")
    rows = ["object,split,label,image,mask", f"candle,train,normal,{names['normal']}/0000.JPG,",
            f"candle,test,normal,{names['normal']}/0001.JPG,",
            f"candle,test,anomaly,{names['anomaly']}/000.JPG,candle/Data/Masks/Anomaly/000.png"]
    table = tmp_path / "split_csv/1cls.csv"
    table.parent.mkdir()
    table.write_text("\n".join(rows))
    category, = find_categories(tmp_path)
    assert (category.layout, category.name) == ("VisA", "candle")
    assert category.train == (tmp_path / names["normal"] / "0000.JPG",)
    assert [(test.kind, test.masks) for test in category.test] == [("good", ()), ("anomaly", (truth,))]
    assert read_mask(category.test[1].masks, 8).sum() == 1  # its labels are small numbers
    table.write_text("image,label\na,b")
    with pytest.raises(InputError, match="lacks a column"):
        find_categories(tmp_path)


def test_own_photos(tmp_path):
    for path in ("good/a.jpg", "test-good/b.jpg", "held-out/c.jpg", "defects/scratch/d.jpg", "defects/e.jpg"):
        photo(tmp_path / path)
    truth = mask(tmp_path / "masks/scratch/d.png")
    category, = find_categories(tmp_path, {"scratch": "structural"})
    assert category.layout == "plain" and [path.name for path in category.held_out] == ["c.jpg"]
    found = {test.path.name: (test.kind, test.group, test.masks) for test in category.test}
    assert found == {"b.jpg": ("good", None, ()), "d.jpg": ("scratch", "structural", (truth,)),
                     "e.jpg": ("defect", None, ())}


def test_without_test_good_no_photo_sets_quantiles_and_is_tested_on(tmp_path):
    for path in ("good/a.jpg", *(f"held-out/{i}.jpg" for i in range(5)), "defects/e.jpg"):
        photo(tmp_path / path)
    category, = find_categories(tmp_path)
    tested = {test.path for test in category.test}
    assert len(category.held_out) == 3 and not tested & set(category.held_out) and len(tested) == 3


def test_what_recognise_and_plain_find_held_out_stays_whole(tmp_path):
    for path in ("good/a.jpg", *(f"held-out/{i}.jpg" for i in range(5)), "defects/logical_anomalies/e.jpg"):
        photo(tmp_path / path)
    category = plain(tmp_path)
    assert recognise(tmp_path) == category and len(category.held_out) == 5
    assert [(test.kind, test.group) for test in category.test] == [("logical_anomalies", "logical")]
    assert plain(tmp_path / "good").train == ()


def test_a_category_is_recognised_without_test_photos_and_further_in(tmp_path):
    train = photo(tmp_path / "zip/parts/bottle/train/good/0.png")
    photo(tmp_path / "zip/__MACOSX/bottle/train/good/0.png")
    for folder in ("zip", "zip/parts", "zip/parts/bottle"):
        assert recognise(tmp_path / folder).train == (train,)
    assert recognise(train.parent) is None and recognise(tmp_path / "zip/parts/bottle/train") is None
    photo(tmp_path / "zip/preview.png")  # then it is a folder of photos
    assert recognise(tmp_path / "zip") is None


def test_hidden_folders_are_no_kinds(tmp_path):
    for path in ("train/good/0.png", "test/good/0.png", "test/hole/0.png", "test/.ipynb_checkpoints/0.png"):
        photo(tmp_path / path)
    assert [test.kind for test in find_categories(tmp_path)[0].test] == ["good", "hole"]


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png", "candle/../../secret.png"])
@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_table_names_nothing_outside_its_folder(tmp_path, name, column):
    row = {"image": "candle/0.png", "mask": "candle/1.png"} | {column: name}
    table = tmp_path / "set/split_csv/1cls.csv"
    table.parent.mkdir(parents=True)
    table.write_text(f"object,split,label,image,mask\ncandle,test,anomaly,{row['image']},{row['mask']}")
    for function in (find_categories, recognise):
        with pytest.raises(InputError, match="leads outside"):
            function(tmp_path / "set")


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/1cls.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a table"):
        recognise(tmp_path)


def test_several_categories_are_one_data_set(tmp_path):
    for name in ("cable", "bottle"):
        for path in ("train/good/0.png", "test/good/0.png", f"test/bent_{name}/0.png"):
            photo(tmp_path / name / path)
    assert [category.name for category in find_categories(tmp_path)] == ["bottle", "cable"]
    groups = [{test.group for test in category.test}
              for category in find_categories(tmp_path, {"bent_cable": "logical"})]
    assert groups == [{None}, {None, "logical"}]


@pytest.mark.parametrize("paths, match", [
    ([], "none of the known layouts"), (["train/good/0.png", "test/good/0.png"], "0 defective"),
    (["train/good/0.png", "test/hole/0.png"], "0 good")])
def test_what_is_no_labelled_set_is_refused(tmp_path, paths, match):
    for path in paths:
        photo(tmp_path / "part" / path)
    with pytest.raises(InputError, match=match):
        find_categories(tmp_path / "part" if paths else tmp_path)


def test_an_unknown_kind_is_refused_with_those_there_are(tmp_path):
    for path in ("train/good/0.png", "test/good/0.png", "test/hole/0.png"):
        photo(tmp_path / path)
    with pytest.raises(InputError, match=r"no kind scratch.*good, hole"):
        find_categories(tmp_path, {"scratch": "structural"})


@pytest.mark.parametrize("mode, value", [("1", 1), ("L", 1), ("P", 2), ("I;16", 300), ("RGB", (9, 9, 9))])
def test_masks_of_every_mode(tmp_path, mode, value):
    expected = np.zeros((4, 4), bool)
    expected[0, 3] = True
    np.testing.assert_array_equal(read_mask([mask(tmp_path / "m.png", mode, value, (4, 4))], 4), expected)


def test_several_masks_are_united_and_squeezed_to_the_square(tmp_path):
    wide = mask(tmp_path / "a.png", size=(16, 8))
    other = Image.new("L", (16, 8))
    other.paste(255, (0, 4, 16, 8))
    other.save(tmp_path / "b.png")
    union = read_mask([wide, tmp_path / "b.png"], 8)
    assert union[4:].all() and not union[1:4].any()
    assert read_mask([], 8).shape == (8, 8) and not read_mask([], 8).any()


def test_a_damaged_mask_is_named(tmp_path):
    (tmp_path / "m.png").write_text("no")
    with pytest.raises(InputError, match=r"m\.png"):
        read_mask([tmp_path / "m.png"], 8)


def test_a_photo_is_labelled_by_the_data_set_around_it(tmp_path):
    bottle = tmp_path / "bottle"
    train, good = photo(bottle / "train/good/000.png"), photo(bottle / "test/good/000.png")
    broken, bare = photo(bottle / "test/broken/000.png"), photo(bottle / "test/broken/001.png")
    truth = mask(bottle / "ground_truth/broken/000_mask.png")
    alone = photo(tmp_path / "elsewhere/000.png")
    found = labels_of([broken, alone, train, good, bare])
    assert [label and (label.kind, label.masks) for label in found] == [
        ("broken", (truth,)), None, ("good", ()), ("good", ()), ("broken", ())]
    assert labels_of([broken], within=bottle) == found[:1]
    assert labels_of([broken], within=bottle / "test") == [None]  # the masks lie outside
    shutil.rmtree(bottle / "train")
    assert labels_of([broken, good]) == [found[0], found[3]]


def test_a_photo_deep_in_visa_is_labelled_by_the_table(tmp_path):
    bad = photo(tmp_path / "candle/Data/Images/Anomaly/000.JPG")
    truth = mask(tmp_path / "candle/Data/Masks/Anomaly/000.png")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/1cls.csv").write_text(
        "object,split,label,image,mask\ncandle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,"
        "candle/Data/Masks/Anomaly/000.png\n")
    label, = labels_of([bad])
    assert label.masks == (truth,) and not label.is_good
