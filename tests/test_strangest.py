"""Good photos that look strange: which, their pictures, and the training without them."""

from __future__ import annotations

import math
import time

import pytest
from conftest import TINY
from PIL import Image

from ulsad import InputError
from ulsad.detector.criterion import Criterion
from ulsad.method.calibration import Combination
from ulsad.photos.images import digest, find_images, read_square
from ulsad.photos.intake import Intake, keep, kept
from ulsad.runs import directory, events
from ulsad.runs.again import train_with, train_without
from ulsad.runs.marks import Mark, Marks
from ulsad.runs.outcome import Outcome, Scores
from ulsad.runs.strangest import draw, pictures, strangest

SETTINGS = [f"{name}={getattr(TINY, name)}"
            for name in ("frn_width", "autoencoder_width", "augmented_photos")]


def outcome_of(scores) -> Outcome:
    criterion = Criterion(0.9, 0.995, Combination(), 1, 2, 3, math.nan)
    return Outcome(criterion, tuple(Scores(score, score, math.nan) for score in scores))


def test_the_highest_scores_come_first_and_all_that_are_far_above_the_others():
    usual = [0.1, 0.12, 0.11, 0.13, 0.1, 0.09, 0.12, 0.11]
    record = {"held_out": [f"{i}.png" for i in range(40)]}
    found = strangest(outcome_of([*usual, 0.9]), record)
    assert [one.name for one in found] == ["8.png", "3.png", "1.png"]
    assert [one.is_far_above for one in found] == [True, False, False]
    assert found[0].score == 0.9
    found = strangest(outcome_of([0.8, 0.9, 0.7, 0.85, *3 * usual]), record)
    assert [one.name for one in found] == ["1.png", "3.png", "0.png", "2.png"]
    assert all(one.is_far_above for one in found)


def test_each_has_a_picture_of_the_photo_and_its_map(detector, good_photos, tmp_path):
    names = detector.record["held_out"]
    found = strangest(outcome_of([0.2, 0.3]), {"held_out": names})
    (tmp_path / directory.STRANGEST).mkdir()
    (tmp_path / directory.STRANGEST / "7.png").touch()  # of an interrupted training
    draw(tmp_path / directory.STRANGEST, detector, find_images(good_photos), found)
    files = pictures(tmp_path)
    assert [file.name for file in files] == ["1.png", "2.png"]
    width, height = Image.open(files[0]).size
    assert width > 2 * 320 and height > 240  # two pictures under their titles


@pytest.fixture
def run(tmp_path, good_photos):
    """A run's folder as the app begins one, without its training."""
    folder = tmp_path / "parts" / "version 1"
    photos = find_images(good_photos)
    keep(Intake(tuple(photos[:10]), tuple(photos[10:]), ()), folder / directory.PHOTOS)
    (folder / directory.ORDER).write_text(
        '{"photos": ["' + str(folder / directory.PHOTOS) + '"], "preset": "thorough", "settings": '
        + str([*SETTINGS, "steps=2", "batch_size=4"]).replace("'", '"') + "}")
    (folder / events.EVENTS).write_text('{"event": "finished"}\n')
    (folder.parent / directory.PART).write_text("{}")
    return folder


@pytest.mark.slow
def test_the_training_starts_again_without_them(run, monkeypatch):
    before = kept(run / directory.PHOTOS)
    names = [before.good[3].name, before.held_out[0].name]
    with pytest.raises(InputError, match="at least 2 are"):  # a single held-out photo is too few
        wait(train_without(run, names))
    folder = train_without(run, names[:1])
    assert folder.name == "version 3, without 1" and folder.parent == run.parent
    wait(folder)
    assert [path.name for path in kept(folder / directory.PHOTOS).good] == [
        path.name for path in before.good if path.name != names[0]]
    assert (folder / directory.MODEL).is_file()
    assert '"batch_size": 4' in (folder / directory.CONFIG).read_text()
    assert len(kept(run / directory.PHOTOS).good) == 10  # the first run keeps its photos


@pytest.mark.slow
def test_the_training_starts_again_with_marked_photos(run, good_photos, tmp_path):
    before = kept(run / directory.PHOTOS)
    for name, turns in (("new", 2), ("scratched", 1)):
        with Image.open(find_images(good_photos)[0]) as photo:
            photo.rotate(90 * turns).save(tmp_path / f"{name}.png")
    marks = Marks(run / directory.MARKS)
    with pytest.raises(InputError, match="Nothing is marked"):
        train_with(run, marks)
    for file, name, is_good, kind in (
            (tmp_path / "new.png", "line 3/new: 1.png", True, ""),
            (tmp_path / "scratched.png", "scratched.png", False, "a/b"),
            (before.good[0], "not good after all.png", False, "")):
        fingerprint = digest(read_square(file, 256).pixels)
        marks.add(Mark(fingerprint, name, is_good, kind, 0.5, "parts", "", ""), file)
    folder = train_with(run, marks)
    assert folder.name == "version 2, with 3 marked"
    wait(folder)
    intake = kept(folder / directory.PHOTOS)
    assert {path.name for path in intake.good} == {
        *(path.name for path in before.good[1:]), "new_ 1.png"}
    assert [(photo.kind, photo.path.name) for photo in intake.test] == [
        ("a_b", "scratched.png"), ("defect", "not good after all.png")]
    assert (folder / directory.OUTCOME).is_file()


def wait(folder) -> None:
    """Until the run has ended. Raises `InputError` with its message if it failed."""
    while directory.read(folder).is_live:
        time.sleep(0.2)
    if (state := directory.read(folder)).status != "finished":
        raise InputError(state.message)


def test_what_can_not_be_left_out(run, tmp_path):
    with pytest.raises(InputError, match="Choose the photos"):
        train_without(run, [])
    with pytest.raises(InputError, match=r"Remove a\.png, b\.png from your folder"):
        train_without(tmp_path / "elsewhere", ["a.png", "b.png"])


def test_further_trainings_are_versions_with_numbers(run, monkeypatch):
    monkeypatch.setattr(directory, "start", lambda folder, arguments: None)
    names = [kept(run / directory.PHOTOS).good[0].name]
    assert directory.name_of(train_without(run, names)) == "parts/version 2, without 1"
    assert directory.name_of(train_without(run, names)) == "parts/version 3, without 1"


def test_a_run_by_itself_becomes_the_first_version(run, monkeypatch):
    monkeypatch.setattr(directory, "start", lambda folder, arguments: None)
    alone = run.rename(run.parents[1] / "alone")
    names = [kept(alone / directory.PHOTOS).good[0].name]
    again = train_without(alone, names)
    assert directory.name_of(again) == "alone/version 2, without 1"
    assert kept(alone / "version 1" / directory.PHOTOS).good[0].name == names[0]
    assert names[0] not in {path.name for path in kept(again / directory.PHOTOS).good}
