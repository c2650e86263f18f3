"""What users give, sorted into slots: each layout as a folder and as a zip, no defect among good parts."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from ulsad.errors import InputError
from ulsad.photos.datasets import LabelledPhoto
from ulsad.photos.intake import Intake, keep, kept, take_in

VISA_TABLE = """object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0.JPG,
candle,test,normal,candle/Data/Images/Normal/1.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png
pcb1,train,normal,pcb1/Data/Images/Normal/0.JPG,
"""

# layout: files, and what they should become: good, held-out, kind and file and number of masks
SETS = {
    "MVTec AD": (
        ["bottle/train/good/0.png", "bottle/train/good/1.png", "bottle/test/good/2.png",
         "bottle/test/broken/3.png", "bottle/ground_truth/broken/3_mask.png"],
        ["0.png", "1.png"], [], [("broken", "3.png", 1), ("good", "2.png", 0)]),
    "MPDD": (
        ["tubes/train/good/0.png", "tubes/test/good/2.png", "tubes/test/hole/3.png",
         "tubes/ground_truth/hole/3_mask.png"],
        ["0.png"], [], [("good", "2.png", 0), ("hole", "3.png", 1)]),
    "MVTec LOCO": (
        ["box/train/good/0.png", "box/validation/good/1.png", "box/test/good/2.png",
         "box/test/logical_anomalies/3.png", "box/test/structural_anomalies/3.png",
         "box/ground_truth/logical_anomalies/3/000.png", "box/ground_truth/logical_anomalies/3/001.png",
         "box/ground_truth/structural_anomalies/3/000.png"],
        ["0.png"], ["1.png"],
        [("good", "2.png", 0), ("logical_anomalies", "3.png", 2), ("structural_anomalies", "3.png", 1)]),
    "BTAD": (
        ["01/train/ok/0.bmp", "01/test/ok/1.bmp", "01/test/ko/2.bmp", "01/ground_truth/ko/2.png"],
        ["0.bmp"], [], [("good", "1.bmp", 0), ("ko", "2.bmp", 1)]),
    "VisA": (
        ["candle/Data/Images/Normal/0.JPG", "candle/Data/Images/Normal/1.JPG",
         "candle/Data/Images/Anomaly/0.JPG", "candle/Data/Masks/Anomaly/0.png"],
        ["0.JPG"], [], [("anomaly", "0.JPG", 1), ("good", "1.JPG", 0)]),
    "plain": (
        ["mine/good/0.jpg", "mine/held-out/1.jpg", "mine/held-out/2.jpg", "mine/defects/dent/3.jpg",
         "mine/defects/4.jpg", "mine/masks/dent/3.png"],
        ["0.jpg"], ["1.jpg", "2.jpg"], [("defect", "4.jpg", 0), ("dent", "3.jpg", 1)]),
}


def photo(path: Path, colour: str = "grey") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)
    return path


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        photo(root / path)
    return root


def zipped(folder: Path, place: Path) -> Path:
    """A zip of what is in a folder, the folder itself left out."""
    return Path(shutil.make_archive(str(place.with_suffix("")), "zip", folder))


def labelled_set(root: Path, layout: str) -> Path:
    tree(root, *SETS[layout][0])
    if layout == "VisA":
        (root / "split_csv").mkdir()
        (root / "split_csv/1cls.csv").write_text(VISA_TABLE)
    return root


def names(paths) -> list[str]:
    return [path.name for path in paths]


def labels(intake: Intake) -> list[tuple[str, str, int]]:
    return sorted((photo.kind, photo.path.name, len(photo.masks)) for photo in intake.test)


@pytest.mark.parametrize("given", ["folder", "category", "zip", "zip of the folder", "zip of the category"])
@pytest.mark.parametrize("layout", SETS)
def test_a_whole_data_set_fills_the_slots(tmp_path, layout, given):
    root = labelled_set(tmp_path / "outer/set", layout)
    category = root / SETS[layout][0][0].split("/")[0]
    if layout == "VisA" and given == "zip of the category":
        pytest.skip("the table lies outside of it")
    source = {"folder": root, "category": category}.get(given)
    if source is None:
        inside = {"zip": root, "zip of the folder": root.parent, "zip of the category": category}[given]
        source = zipped(inside, tmp_path / "a.zip")
    intake = take_in([source], [], [], tmp_path / "scratch")
    _, good, held_out, test = SETS[layout]
    # MPDD differs from MVTec AD in nothing but the category's name
    nameless = layout == "MPDD" and given == "zip of the category"
    assert intake.layout == ("MVTec AD" if nameless else layout)
    assert (names(intake.good), names(intake.held_out), labels(intake)) == (good, held_out, test)
    assert all(mask.is_file() for photo in intake.test for mask in photo.masks)


@pytest.mark.parametrize("layout", SETS)
def test_what_is_kept_reads_back(tmp_path, layout):
    intake = take_in([labelled_set(tmp_path / "set", layout)], [], [], tmp_path / "scratch")
    there = keep(intake, tmp_path / "run/photos")
    assert there == kept(tmp_path / "run/photos")
    assert there.layout == layout and labels(there) == labels(intake)
    assert (names(there.good), names(there.held_out)) == (names(intake.good), names(intake.held_out))
    groups = {photo.kind: photo.group for photo in intake.test}
    assert {photo.kind: photo.group for photo in there.test} == groups
    assert not (tmp_path / "run/photos.part").exists()
    everything = [*there.good, *there.held_out, *(photo.path for photo in there.test)]
    assert all(path.is_relative_to(tmp_path / "run/photos") for path in everything)


def test_loco_keeps_its_groups_and_all_masks(tmp_path):
    intake = take_in([labelled_set(tmp_path / "set", "MVTec LOCO")], [], [], tmp_path / "scratch")
    logical, = (photo for photo in keep(intake, tmp_path / "kept").test if photo.group == "logical")
    original, = (photo for photo in intake.test if photo.group == "logical")
    assert [mask.stat().st_ino for mask in logical.masks] == [mask.stat().st_ino for mask in original.masks]


def test_photos_folders_and_zips_mix_in_every_slot(tmp_path):
    loose, folder = photo(tmp_path / "a.png"), tree(tmp_path / "more", "shift 1/b.png", "shift 2/b.png")
    file = zipped(tree(tmp_path / "z", "deep/down/c.jpg"), tmp_path / "good.zip")
    defects = [photo(tmp_path / "d.png"), tree(tmp_path / "bad", "scratch/e.png", "f.png"),
               zipped(tree(tmp_path / "y", "w/dent/g.png", "logical_anomalies/h.png"), tmp_path / "bad.zip")]
    held_out = [zipped(tree(tmp_path / "x", "i.png", "j.png"), tmp_path / "held.zip")]
    intake = take_in([loose, folder, file], held_out, defects, tmp_path / "scratch")
    assert names(intake.good) == ["a.png", "b.png", "b.png", "c.jpg"]
    assert names(intake.held_out) == ["i.png", "j.png"] and intake.layout == ""
    assert labels(intake) == [("defect", "d.png", 0), ("defect", "f.png", 0), ("dent", "g.png", 0),
                              ("logical_anomalies", "h.png", 0), ("scratch", "e.png", 0)]
    assert {photo.group for photo in intake.test} == {None, "logical"}
    assert labels(keep(intake, tmp_path / "kept")) == labels(intake)


@pytest.mark.parametrize("paths", [
    ["0.png", "1.png"], ["monday/0.png", "tuesday/1.png"], ["good/0.png", "good/1.png"],
    ["a/b/c/0.png", "a/b/d/1.png"], ["0.png", "monday/train/1.png"]])
def test_photos_in_subfolders_are_no_data_set(tmp_path, paths):
    source = tree(tmp_path / "photos", *paths)
    for given in (source, zipped(source, tmp_path / "a.zip")):
        intake = take_in([given], [], [], tmp_path / f"scratch {given.suffix}")
        assert names(intake.good) == ["0.png", "1.png"]
        assert (intake.held_out, intake.test, intake.layout) == ((), (), "")


@pytest.mark.parametrize("paths", [
    ["train/good/0.png"], ["train/good/0.png", "train/scratched/1.png"]])
def test_a_set_without_test_photos_is_recognised(tmp_path, paths):
    (tmp_path / "part/test").mkdir(parents=True)
    intake = take_in([tree(tmp_path / "part", *paths)], [], [], tmp_path / "scratch")
    assert intake.layout == "MVTec AD" and names(intake.good) == ["0.png"] and intake.test == ()


@pytest.mark.parametrize("paths, match", [
    (["good/0.png", "dented/1.png"], "'dented' looks like"),  # MVTec's test folder
    (["Data/Images/Normal/0.JPG", "Data/Images/Anomaly/1.JPG"], "'Data/Images/Anomaly'"),  # VisA, no table
    (["train/0.png", "test/1.png"], "'test'"), (["0.png", "defects/1.png"], "'defects'"),
    (["0.png", "a/train/good/1.png", "a/test/dent/2.png", "a/ground_truth/dent/2.png"], "'a/ground_truth'")])
@pytest.mark.parametrize("slot", ["good", "held out"])
def test_defects_do_not_slip_in_with_good_parts(tmp_path, paths, match, slot):
    source, fine = tree(tmp_path / "photos", *paths), photo(tmp_path / "fine.png")
    good, held_out = ([source], []) if slot == "good" else ([fine], [source])
    with pytest.raises(InputError, match=match):
        take_in(good, held_out, [], tmp_path / "scratch")


def test_a_data_set_beside_other_good_parts_is_refused(tmp_path):
    root = labelled_set(tmp_path / "set", "MVTec AD")
    with pytest.raises(InputError, match="nothing else"):
        take_in([root, photo(tmp_path / "a.png")], [], [], tmp_path / "scratch")


def test_what_is_given_for_a_slot_replaces_what_the_set_has(tmp_path):
    root = labelled_set(tmp_path / "set", "MVTec LOCO")
    mine = tree(tmp_path / "mine", "bent/7.png")
    held = photo(tmp_path / "8.png")
    intake = take_in([root], [held], [mine], tmp_path / "scratch")
    assert intake.held_out == (held,) and names(intake.good) == ["0.png"]
    assert labels(intake) == [("bent", "7.png", 0), ("good", "2.png", 0)]
    assert labels(take_in([root], [held], [], tmp_path / "scratch")) == SETS["MVTec LOCO"][3]


def test_the_good_photos_of_a_test_folder_are_no_defects(tmp_path):
    root = labelled_set(tmp_path / "set", "MVTec AD")
    intake = take_in([root], [], [root / "bottle/test"], tmp_path / "scratch")
    assert labels(intake) == [("broken", "3.png", 0), ("good", "2.png", 0)]
    btad = labelled_set(tmp_path / "btad", "BTAD") / "01"
    intake = take_in([btad / "train/ok"], [], [btad / "test"], tmp_path / "scratch")
    assert labels(intake) == [("good", "1.bmp", 0), ("ko", "2.bmp", 0)]


def test_several_categories_are_named(tmp_path):
    root = tree(tmp_path / "set", "cable/train/good/0.png", "bottle/train/good/0.png")
    for source in (root, zipped(root, tmp_path / "a.zip"), zipped(tmp_path / "set", tmp_path / "b.zip")):
        with pytest.raises(InputError, match=r"2 categories \(bottle, cable\). Give one"):
            take_in([source], [], [], tmp_path / source.stem)
    visa = tree(labelled_set(tmp_path / "visa", "VisA"), "pcb1/Data/Images/Normal/0.JPG")
    with pytest.raises(InputError, match=r"\(candle, pcb1\)"):
        take_in([visa], [], [], tmp_path / "scratch")
    assert names(take_in([visa / "pcb1"], [], [], tmp_path / "scratch").good) == ["0.JPG"]


def test_an_empty_slot_says_what_to_drop(tmp_path):
    with pytest.raises(InputError, match=r"^Drop photos of good parts first: 20 to 300 images, or one zip"):
        take_in([], [photo(tmp_path / "a.png")], [], tmp_path / "scratch")


@pytest.mark.parametrize("held_out, defects, match", [
    (["good/0.png"], [], r"^Among the good parts and among the held-out good parts at once.*0\.png\. "),
    ([], ["link.png"], "^Among the good parts and among the known defects at once"),
    (["other"], ["other/2.png"], "^Among the held-out good parts and among the known defects at once")])
def test_a_photo_in_two_slots_is_refused(tmp_path, held_out, defects, match):
    tree(tmp_path, "good/0.png", "good/1.png", "other/2.png", "other/3.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "good/1.png")
    sources = [[tmp_path / name for name in names] for names in (["good"], held_out, defects)]
    with pytest.raises(InputError, match=match):
        take_in(*sources, tmp_path / "scratch")


def test_a_test_photo_is_neither_held_out_nor_a_defect_as_well(tmp_path):
    root = labelled_set(tmp_path / "set", "MVTec AD") / "bottle"
    with pytest.raises(InputError, match="held-out good parts and among the good parts to test on"):
        take_in([root], [root / "test/good"], [], tmp_path / "scratch")
    with pytest.raises(InputError, match="good parts to test on and among the known defects"):
        take_in([root], [], [root / "test/good/2.png"], tmp_path / "scratch")


def test_given_twice_it_counts_once(tmp_path):
    folder = tree(tmp_path / "good", "0.png", "1.png")
    assert names(take_in([folder, folder / "0.png"], [], [], tmp_path / "s").good) == ["0.png", "1.png"]


@pytest.mark.parametrize("slot", range(3))
def test_a_zip_that_leads_outside_is_refused(tmp_path, slot):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil.png", b"")
    sources = [[photo(tmp_path / "fine.png")], [], []]
    sources[slot] = [tmp_path / "evil.zip"]
    with pytest.raises(InputError, match="leads outside"):
        take_in(*sources, tmp_path / "a/b/scratch")
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.parametrize("name", ["../../secret.png", "{root}/secret.png"])
def test_a_table_in_a_zip_opens_no_other_files(tmp_path, name):
    photo(tmp_path / "secret.png")
    root = tree(tmp_path / "set", "candle/0.png")
    (root / "split_csv").mkdir()
    rows = VISA_TABLE.replace("candle/Data/Images/Normal/0.JPG", name.format(root=tmp_path))
    (root / "split_csv/1cls.csv").write_text(rows)
    with pytest.raises(InputError, match="leads outside"):
        take_in([zipped(root, tmp_path / "a.zip")], [], [], tmp_path / "scratch")


def test_masks_and_other_files_are_no_defects(tmp_path):
    fine = photo(tmp_path / "fine.png")
    bad = tree(tmp_path / "bad", "test/hole/0.png", "ground_truth/hole/0.png")
    with pytest.raises(InputError, match="1 masks"):
        take_in([fine], [], [bad], tmp_path / "scratch")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes\.txt is not a photo"):
        take_in([fine, tmp_path / "notes.txt"], [], [], tmp_path / "scratch")
    with pytest.raises(InputError, match="does not exist"):
        take_in([tmp_path / "nowhere"], [], [], tmp_path / "scratch")


def test_photos_of_one_name_are_told_apart_and_masks_follow(tmp_path):
    colours = ("red", "green", "blue", "white")
    good = tuple(photo(tmp_path / f"{i}/{name}", colour)
                 for i, (name, colour) in enumerate(zip(("a.png", "a.png", "A.bmp", "a-2.png"), colours)))
    test = tuple(LabelledPhoto(photo(tmp_path / f"{i}/{name}"), "dent", None, masks) for i, (name, masks) in
                 enumerate([("p.png", (photo(tmp_path / "m/p.bmp", "red"),)),
                            ("p.jpg", (photo(tmp_path / "m/1.png", "blue"), photo(tmp_path / "m/2.webp"))),
                            ("p_mask.png", (photo(tmp_path / "m/3.TIFF", "white"),)), ("q.png", ())]))
    there = keep(Intake(good, (), test), tmp_path / "kept")
    contents = dict(zip(("a.png", "a-2.png", "A-3.bmp", "a-2-2.png"), [path.read_bytes() for path in good]))
    assert {path.name: path.read_bytes() for path in there.good} == contents
    masks = {photo.path.name: [mask.read_bytes() for mask in photo.masks] for photo in there.test}
    assert masks == {name: [mask.read_bytes() for mask in photo.masks] for name, photo in
                     zip(("p.png", "p-2.jpg", "p_mask.png", "q.png"), test)}
    assert there.held_out == ()


def test_names_need_not_be_utf_8(tmp_path):
    folder = tree(tmp_path / "photos", "0.png")
    raw = os.fsencode(folder) + b"/sch\xf6n.png"
    shutil.copy(os.fsencode(folder / "0.png"), raw)
    there = keep(take_in([folder], [], [], tmp_path / "scratch"), tmp_path / "kept")
    assert [os.fsencode(path.name) for path in there.good] == [b"0.png", b"sch\xf6n.png"]
    with pytest.raises(InputError) as refused:
        take_in([folder], [Path(os.fsdecode(raw))], [], tmp_path / "scratch")
    assert str(refused.value).encode("utf-8")  # can be shown


def test_emptied_uploads_leave_the_kept_photos_whole(tmp_path):
    content = photo(tmp_path / "uploads/a.png").read_bytes()
    there = keep(take_in([tmp_path / "uploads"], [], [], tmp_path / "s"), tmp_path / "run/photos")
    assert there.good[0].stat().st_nlink == 2
    shutil.rmtree(tmp_path / "uploads")
    assert kept(tmp_path / "run/photos").good[0].read_bytes() == content


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another disk than tmp_path, where hard links can't reach."""
    folder = Path("/dev/shm") / f"ulsad-{os.getpid()}"
    if not os.access(folder.parent, os.W_OK) or folder.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_on_another_disk_a_lasting_place_is_linked_to_and_any_other_copied(tmp_path, elsewhere):
    intake = take_in([tree(elsewhere / "photos", "0.png")], [], [], tmp_path / "scratch")
    copied = keep(intake, tmp_path / "a", lasting=tmp_path)
    linked = keep(intake, tmp_path / "b", lasting=elsewhere)
    assert not copied.good[0].is_symlink() and linked.good[0].readlink() == intake.good[0]
    intake.good[0].unlink()
    assert kept(tmp_path / "a") == copied
    with pytest.raises(InputError, match=r"1 photos are no longer where they were, .*0\.png"):
        kept(tmp_path / "b")


def test_nothing_half_kept_is_left_behind(tmp_path):
    intake = Intake((photo(tmp_path / "a.png"), tmp_path / "gone.png"), (), ())
    with pytest.raises(InputError, match=r"gone\.png"):
        keep(intake, tmp_path / "run/photos")
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_in_use_is_left_as_it_is(tmp_path):
    first = keep(Intake((photo(tmp_path / "a.png"),), (), ()), tmp_path / "kept")
    with pytest.raises(InputError, match="could not be saved"):
        keep(Intake((photo(tmp_path / "b.png"),), (), ()), tmp_path / "kept")
    assert kept(tmp_path / "kept") == first
    with pytest.raises(InputError, match="no photos of good parts"):
        kept(tmp_path / "nowhere")


def test_a_kept_folder_can_be_given_again(tmp_path):
    intake = take_in([labelled_set(tmp_path / "set", "MVTec LOCO")], [], [], tmp_path / "s")
    first = keep(intake, tmp_path / "kept")
    again = take_in([tmp_path / "kept"], [], [], tmp_path / "s")
    assert (again.good, again.held_out, again.test) == (first.good, first.held_out, first.test)


@pytest.mark.slow
def test_ten_thousand_photos_of_one_name_take_seconds(tmp_path):
    """A search for free names from -2 on would look at fifty million."""
    source = photo(tmp_path / "0/image.png")
    for i in range(1, 10_000):
        (tmp_path / f"{i}").mkdir()
        os.link(source, tmp_path / f"{i}/image.png")
    began = time.process_time()
    intake = take_in([tmp_path], [], [], tmp_path / "scratch")
    assert len(keep(intake, tmp_path / "kept").good) == 10_000
    assert time.process_time() - began < 10
