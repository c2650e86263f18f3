"""A slot of the app: what is dropped, how it is kept, and what becomes of folders and zips."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from ulsad import InputError
from ulsad.photos.images import find_images
from ulsad.photos.intake import take_in
from ulsad.ui import places, slot
from ulsad.ui.evaluate import tab as evaluate_tab
from ulsad.ui.slot import Slot


def dropped(folder: Path, before: Slot | None = None) -> Slot:
    """A whole folder, as the browser sends it: each file with its place, the folder's own name first."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return (before or Slot()).add((path, path.relative_to(folder.parent).as_posix()) for path in files)


def test_a_folder_of_a_data_set_fills_the_slots_as_its_zip_does(demo_set, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "tray"), "zip", demo_set.parent))
    as_folder, as_zip = (
        take_in(one.sources, (), (), tmp_path / name) for name, one in
        (("a", dropped(demo_set)), ("b", Slot().add([(archive, "tray.zip")]))))
    for intake in (as_folder, as_zip):
        assert intake.layout == "MVTec LOCO" and len(intake.good) == 12 and len(intake.held_out) == 2
    assert [(photo.path.name, photo.kind, len(photo.masks)) for photo in as_folder.test] == [
        (photo.path.name, photo.kind, len(photo.masks)) for photo in as_zip.test]


def test_a_second_drop_adds_and_the_same_again_does_not(demo_set):
    good = demo_set / "train/good"
    once = dropped(good)
    assert dropped(good, once) == once
    names = [name for _, name in once.photos()]
    assert names == [f"good/{path.name}" for path in find_images(good)]
    both = dropped(demo_set / "test", once)
    assert len(both.photos()) == len(names) + len(find_images(demo_set / "test"))


def test_two_photos_of_one_name_are_told_apart(demo_set):
    first, second = find_images(demo_set / "train/good")[:2]
    both = Slot().add([(first, "a.png"), (second, "a.png"), (first, "a.png")])
    assert both.names == ("a.png", "a-2.png")
    assert [path.read_bytes() for path, _ in both.photos()] == [second.read_bytes(), first.read_bytes()]


def test_photos_are_kept_when_the_upload_is_gone(demo_set, tmp_path):
    """Gradio empties its cache daily; a page may be open for longer."""
    upload = Path(shutil.copy(find_images(demo_set)[0], tmp_path / "upload.png"))
    kept = Slot().add([(upload, "x/1.png")])
    upload.unlink()
    (path, name), = kept.photos()
    assert name == "x/1.png" and path.is_relative_to(places.private())


def test_single_photos_and_zips_can_be_taken_out(demo_set, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "good"), "zip", demo_set / "train/good"))
    full = dropped(demo_set / "test/good").add([(archive, "good.zip")])
    assert len(full.photos()) == 3 + 12 and len(full.sources) == 2
    fewer = full.without([full.names[0], "good.zip", "../../x", "no such photo"])
    assert fewer.names == full.names[1:-1] and len(fewer.photos()) == 2
    assert not list(fewer.folder.glob(".good*"))
    fewer.discard()
    assert not fewer.folder.exists()


def test_a_zip_without_photos_is_left_out(demo_set, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.txt").write_text("no photo")
    archive = Path(shutil.make_archive(str(tmp_path / "text"), "zip", tmp_path / "text"))
    photo = find_images(demo_set / "test")[0]
    assert [name for _, name in Slot().add([(photo, "a.png"), (archive, "text.zip")]).photos()] == ["a.png"]
    with pytest.raises(InputError, match=r"^text\.zip holds no photos"):
        Slot().add([(archive, "text.zip")]).photos()


@pytest.mark.parametrize("name, welcome", [
    ("a/b.JPG", True), ("parts.ZIP", True), ("visa/split_csv/1cls.csv", True), ("a.csv", False),
    ("notes.txt", False), ("a/.b.jpg", False), ("__MACOSX/a.jpg", False), (".parts.zip", False)])
def test_what_a_slot_takes(name, welcome):
    assert slot.is_welcome(name) == welcome


def test_what_a_slot_says(demo_set):
    full = dropped(demo_set / "test/good").add([], ["a.txt", "b.txt"])
    value = json.loads(slot._value(full))
    assert value["said"] == "3 photos in 1 folder" and value["total"] == 3
    photo = find_images(demo_set)[0]
    assert json.loads(slot._value(Slot().add([(photo, "10.png"), (photo, "2.png")])))["names"] == [
        "2.png", "10.png"]
    assert value["left_out"] == "2 files were left out (not photos): a.txt, b.txt"
    assert slot.plain(f"{full.folder}/good/1.png: truncated. {full.folder}/2.png too") == (
        "good/1.png: truncated. 2.png too")


def test_too_many_files_are_refused_before_any_is_kept(monkeypatch, demo_set):
    monkeypatch.setattr(slot, "MAX_FILES", 2)
    before = set(places.private().iterdir())
    with pytest.raises(InputError, match="can hold 2 files"):
        dropped(demo_set / "test/good")
    assert set(places.private().iterdir()) == before


def test_evaluate_takes_kinds_from_folders_and_a_whole_set(demo_set):
    good, bad = dropped(demo_set / "test/good"), dropped(demo_set / "test/logical_anomalies")
    kinds = Counter(photo.kind for photo in evaluate_tab._given(None, good, bad, Slot(), ""))
    assert kinds == {"good": 3, "logical_anomalies": 4}
    whole = evaluate_tab._given(None, Slot(), Slot(), dropped(demo_set), "")
    assert Counter(photo.kind for photo in whole) == kinds | {"structural_anomalies": 3}
    assert sum(bool(photo.masks) for photo in whole) == 7
