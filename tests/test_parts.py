"""Parts and their versions: names, which is in use, what a zip of one takes along, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS

from ulsad import InputError, Ulsad
from ulsad.photos.datasets import LabelledPhoto
from ulsad.photos.intake import Intake, keep
from ulsad.runs import directory, parcel, parts, turned
from ulsad.runs.directory import MARKS, MODEL, ORDER, PART, PHOTOS
from ulsad.runs.events import EVENTS
from ulsad.runs.marks import Mark, Marks
from ulsad.runs.turned import Comparison, Turned, Verdict
from ulsad.ui import library

MARK = Mark("a" * 64, "a.png", True, "", 0.4, "tray", "", "")


def trained(version: Path) -> Path:
    """As after a training, with the demo's model and photos."""
    shutil.copy(DEMO_MODEL, version / MODEL)
    (version / EVENTS).write_text('{"event": "finished", "time": 1}\n')
    keep(Intake(tuple(DEMO_PHOTOS[:3]), (), (LabelledPhoto(DEMO_PHOTOS[4], "a kind"),)), version / PHOTOS)
    (version / ORDER).write_text(json.dumps({"photos": [str(version / PHOTOS)], "preset": "quick"}))
    return version


@pytest.fixture
def part(tmp_path):
    """A part with two versions and a mark."""
    home = tmp_path / "models"
    for why in ("", "with 1 marked"):
        parts.use(trained(parts.new_version(home, "tray", why)))
    Marks(home / "tray" / MARKS).add(MARK, DEMO_PHOTOS[5])
    return home / "tray"


def test_versions_are_numbered_and_the_last_chosen_is_in_use(part):
    assert [folder.name for folder in sorted(parts.versions(part))] == [
        "version 1", "version 2, with 1 marked"]
    assert parts.in_use(part).name == "version 2, with 1 marked" and parts.before(part).name == "version 1"
    parts.use(parts.before(part))
    assert parts.in_use(part).name == "version 1" and parts.before(part).name == "version 2, with 1 marked"
    parts.use(parts.in_use(part))  # twice does not forget the other one
    assert parts.before(part).name == "version 2, with 1 marked"
    assert parts.new_version(part.parent, " tray ").name == "version 3"


def test_a_version_in_use_keeps_its_place_when_renamed_and_loses_it_when_deleted(part):
    renamed = parts.rename_version(parts.in_use(part), "night shift")
    assert parts.in_use(part) == renamed
    parts.delete_version(renamed)
    assert parts.in_use(part).name == "version 1" and parts.before(part) is None
    parts.delete_version(parts.in_use(part))
    assert list(part.parent.iterdir()) == []


def test_a_part_is_renamed_with_all_it_has(part):
    renamed = parts.rename(part, "trays")
    assert Marks(renamed / MARKS).read() and parts.in_use(renamed).name == "version 2, with 1 marked"
    for name, message in (("weights", "already exists"), ("a/b", "can't be a name")):
        with pytest.raises(InputError, match=message):
            parts.rename(renamed, name)


def test_numbers_of_deleted_versions_are_not_used_again(part):
    third = trained(parts.new_version(part.parent, "tray"))
    parts.delete_version(parts.in_use(part))
    assert parts.in_use(part).name == "version 1"  # the one before, not the newest
    parts.delete_version(third)
    assert parts.new_version(part.parent, "tray").name == "version 4"


def test_a_part_that_is_gone_takes_no_marks(part):
    marks = Marks(part / MARKS)
    parts.rename(part, "trays")
    with pytest.raises(InputError, match="renamed or deleted"):
        marks.add(MARK, DEMO_PHOTOS[5])
    assert not part.exists()


@pytest.mark.parametrize("name", ["x.safetensors", "demo tray", "only version", "marks", "weights", ".x",
                                  "é" * 51])
def test_names_that_a_part_can_not_have(tmp_path, name):
    with pytest.raises(InputError):
        parts.new_version(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_old_photos_are_packed_and_odd_names_are_named(part, tmp_path):
    photos = part / "version 1" / PHOTOS / "good"
    os.utime(next(photos.iterdir()), (0, 0))  # before any date that a zip knows
    parcel.pack(part, tmp_path / "tray.zip")
    shutil.copy(DEMO_PHOTOS[6], os.fsencode(photos) + b"/\xff.jpg")
    with pytest.raises(InputError, match="Rename it first"):
        parcel.pack(part, tmp_path / "tray.zip")


def test_a_version_that_did_not_come_about_leaves_no_part(tmp_path):
    parts.give_up(parts.new_version(tmp_path, "new"))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_list_of_what_is_in_use_leaves_the_newest(part):
    for text in ("", "[1]", "{", '{"in_use": 7}'):
        (part / PART).write_text(text)
        assert parts.in_use(part) in parts.versions(part) and parts.before(part) is None


def test_a_run_by_itself_becomes_a_part_also_after_a_kill(tmp_path):
    run = tmp_path / "old"
    run.mkdir()
    marks = Marks(trained(run) / MARKS)
    marks.add(MARK, DEMO_PHOTOS[5])
    hidden = tmp_path / f"{parts._BECOMING}old"  # where a killed process leaves it
    hidden.mkdir()
    run.rename(hidden / "version 1")
    parts.tidy(tmp_path)
    assert [directory.name_of(one) for one in directory.all_runs(tmp_path)] == ["old/version 1"]
    assert Marks(tmp_path / "old" / MARKS).read() and parts.in_use(tmp_path / "old").name == "version 1"
    assert parts.adopt(tmp_path / "old/version 1") == tmp_path / "old/version 1"


def test_names_of_models_and_their_labels(part):
    (part.parent / "lone.safetensors").write_bytes(DEMO_MODEL.read_bytes())
    models = library.models(part.parent)
    assert set(models) == {"tray/version 1", "tray/version 2, with 1 marked", "lone.safetensors", ":demo"}
    assert dict(library.all_parts(models)) == {
        "tray": "tray", "lone": "lone.safetensors", "demo tray": ":demo"}
    assert {label for label, _ in library.versions("tray", models, part.parent)} == {
        "version 1", "version 2, with 1 marked · in use"}
    assert library.in_use("tray", models, part.parent) == "tray/version 2, with 1 marked"
    with pytest.raises(InputError, match="no model yet"):
        library.in_use("none", models, part.parent)


def test_a_part_goes_to_another_machine_and_gives_the_same_scores(part, tmp_path):
    archive = parcel.pack(part, tmp_path / "tray.zip")
    there = tmp_path / "there"
    there.mkdir()
    came = parcel.unpack(archive, there)
    assert came == there / "tray" and parts.in_use(came).name == "version 2, with 1 marked"
    assert Marks(came / MARKS).read() == Marks(part / MARKS).read()
    for version in ("version 1", "version 2, with 1 marked"):
        scores = [[one.score for one in Ulsad.load(place / version / MODEL).predict_many(DEMO_PHOTOS)]
                  for place in (part, came)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)
        kept = json.loads((came / version / ORDER).read_text())
        assert kept["photos"] == [PHOTOS]  # and resumes with its own
    assert parcel.unpack(archive, there).name == "tray (2)"
    assert {place.name for place in there.iterdir()} == {"tray", "tray (2)"}


def test_a_run_by_itself_is_packed_as_a_part(tmp_path):
    run = tmp_path / "alone"
    run.mkdir()
    archive = parcel.pack(trained(run), tmp_path / "alone.zip")
    came = parcel.unpack(archive, tmp_path)
    assert came.name == "alone (2)" and parts.in_use(came).name == "version 1"
    assert run.is_dir()  # where it was


def altered(archive: Path, out: Path, **files: bytes | None) -> Path:
    """A copy of a zip with files replaced, added, or (None) left out; __ stands for / in their names."""
    changes = {f"tray/{name.replace('__', '/')}": content for name, content in files.items()}
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(out, "w") as target:
        for member in source.infolist():
            if member.filename not in changes:
                target.writestr(member, source.read(member))
        for name, content in changes.items():
            if content is not None:
                target.writestr(name, content)
    return out


@pytest.mark.parametrize(("files", "message"), [
    ({"part.json": None}, "holds no part"),
    ({"version 1__model.safetensors": b"no model"}, "model.safetensors"),
    ({"version 1__config.json": b"{"}, "settings"),
    ({"version 1__outcome.json": b"[]"}, "damaged"),
    ({"marks__marks.json": b"{"}, "can't be read"),
    ({"marks__photos__" + "a" * 64 + DEMO_PHOTOS[5].suffix: None}, "is gone"),
    ({"version 1__../../x.png": b""}, "outside"),
    ({"version 1__order.json": b'{"photos": [], "settings": ["steps=1", "--out", "/tmp/x"]}'}, "no run"),
    ({"version 1__order.json": b"[]"}, "no run"),
    ({"version 1__turned.json": b'{"before": "a", "photos": 1, "left_out": "<img>", "turned": []}'},
     "can't be read"),
    ({"version 1__config.json": b"\xff"}, "can't"),
    ({"marks__marks.json": 9999 * b"["}, "can't be read"),
    ({"marks__marks.json": json.dumps([asdict(MARK) | {"digest": "../../../../root/a"}]).encode()},
     "did not write"),
    ({"marks__marks.json": json.dumps([asdict(MARK) | {"mask": "../../x.png"}]).encode()}, "did not write"),
    ({"marks__marks.json": json.dumps([asdict(MARK) | {"name": 7}]).encode()}, "did not write"),
    ({"version 1__model.safetensors": None, "version 2, with 1 marked__model.safetensors": None},
     "without a model"),
])
def test_what_no_part_holds_is_refused_and_leaves_nothing(part, tmp_path, files, message):
    archive = altered(parcel.pack(part, tmp_path / "tray.zip"), tmp_path / "bad.zip", **files)
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(InputError, match=message):
        parcel.unpack(archive, there)
    assert list(there.iterdir()) == []


def test_strange_files_stay_out_and_an_order_names_nothing_outside(part, tmp_path):
    evil = json.dumps({"photos": ["/etc"], "held_out": ["/root"], "weights": "/etc/passwd"}).encode()
    events = (b'{"event": 7}\n[1]\n{"event": "training", "step": {"a": 1}}\n{"event": "machine", "time": 1}\n'
              b'{"event": "starting", "time": 1, "ticket": null}\n{"event": "stopped", "time": 2}\n')
    archive = altered(parcel.pack(part, tmp_path / "tray.zip"), tmp_path / "odd.zip", **{
        "version 1__order.json": evil, "version 1__events.jsonl": events, "version 1__run.sh": b"rm",
        "version 1__photos__note.txt": b"", "notes__secret.txt": b"", ".hidden": b"",
        "marks__events.jsonl": b"[1]", "part.json": 9999 * b"["})
    there = tmp_path / "there"
    there.mkdir()
    came = parcel.unpack(archive, there)
    assert {run.name for run in parts.versions(came)} == {"version 1", "version 2, with 1 marked"}
    assert not [*came.rglob("*.sh"), *came.rglob("note.txt"), *came.rglob("secret.txt"), *came.glob(".*")]
    order = json.loads((came / "version 1" / ORDER).read_text())
    assert (order["photos"], order["held_out"], order["weights"]) == ([PHOTOS], [], None)
    assert directory.read(came / "version 1").status == "stopped"


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="is no zip"):
        parcel.unpack(tmp_path / "x.zip", tmp_path)


def test_better_is_towards_the_truth():
    def one(kind: str, before: str, after: str) -> bool:
        return Turned("a", kind, Verdict(before, 0.1), Verdict(after, 0.2)).is_better

    assert one("good", "fail", "review") and one("scratch", "pass", "review")
    assert not one("good", "pass", "review") and not one("scratch", "fail", "pass")


def test_two_versions_on_the_same_photos(tmp_path):
    """The same networks with higher quantiles: scores fall, and so do verdicts of defects."""
    detector = Ulsad.load(DEMO_MODEL)
    other = detector.recalibrated(DEMO_PHOTOS)
    intake = Intake(tuple(path for path in DEMO_PHOTOS if "good" in path.name), (), tuple(
        LabelledPhoto(path, "defect") for path in DEMO_PHOTOS if "good" not in path.name))
    found = turned.compare("version 1", detector, other, intake)
    assert found.photos + found.left_out == len(DEMO_PHOTOS)
    assert found.turned and found.worse == sum(one.kind == "defect" for one in found.turned)
    found.write(tmp_path / "turned.json")
    assert Comparison.read(tmp_path / "turned.json") == found
    assert f"{found.worse} for the worse" in turned.sentence(found)
    same = turned.compare("version 1", detector, detector, intake)
    assert same.turned == () and "the same verdicts" in turned.sentence(same)
    for damaged in ("", "[]", '{"turned": [["a"]]}'):
        (tmp_path / "turned.json").write_text(damaged)
        with pytest.raises(InputError, match="can't be read"):
            Comparison.read(tmp_path / "turned.json")
