"""A watched folder: every photo is judged once, whatever happens to the program, the folder or the model."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from PIL import Image

from ulsad.__main__ import main
from ulsad.detector.criterion import Criterion, packed
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.line import Judge, audit
from ulsad.line.arrivals import Arrivals
from ulsad.line.current import CurrentJudge
from ulsad.line.journal import Journal
from ulsad.line.verdict import COLUMNS
from ulsad.line.watcher import Watcher
from ulsad.runs import scored

WRITER = """import sys, time
from pathlib import Path
source, folder, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
content = source.read_bytes()
for i in range(count):
    with open(folder / f"{i:04}.jpg", "wb") as file:  # other bytes in each, after the end of the picture
        file.write(content[:3000])
        file.flush()
        time.sleep(0.01)
        file.write(content[3000:] + b"%d" % i)
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="module")
def current() -> CurrentJudge:
    return CurrentJudge(DEMO_MODEL, lambda: Judge.load(DEMO_MODEL))


class Said(list):
    """What the operator is told, as one text."""

    def __str__(self) -> str:
        return "\n".join(self)


def watched(current, folder, out, *, moves=True, patience=0.2, said=None, **options) -> Said:
    """Watch until everything has its verdict."""
    said = Said() if said is None else said
    journal = Journal.open(out, folder)
    try:
        Watcher(current, folder, journal, moves, Arrivals(folder, 0.05), 0.05, patience, say=said.append,
                **options).run(once=True)
    finally:
        journal.close()
    return said


def rows(out: Path) -> list[dict[str, str]]:
    found = []
    for table in sorted(out.glob("*/verdicts.csv")):
        with open(table, newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            assert tuple(reader.fieldnames) == COLUMNS
            found += list(reader)
    return found


def traces(out: Path) -> tuple[list[str], dict[str, dict]]:
    """Names in the tables, and the contents of the JSON files by the photo that they belong to."""
    jsons = [json.loads(file.read_text()) for file in out.glob("*-*-*/**/*.json")]
    by_photo = {found["photo"]: found for found in jsons}
    assert len(by_photo) == len(jsons)
    return [row["path"] for row in rows(out)], by_photo


def start(folder, out, *options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "ulsad", "watch", DEMO_MODEL, folder, "--out", out,
                             "--interval", "0.1", *options], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])


@pytest.mark.slow
def test_each_photo_is_judged_once_through_kills(folder, out, tmp_path):
    """ULSAD_KILLS=10 ULSAD_PHOTOS=500 tries harder."""
    kills, count = int(os.environ.get("ULSAD_KILLS", 3)), int(os.environ.get("ULSAD_PHOTOS", 40))
    small = tmp_path / "small.jpg"
    Image.open(DEMO_PHOTOS[1]).resize((160, 120)).save(small, quality=95)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, small, folder, str(count)])
    chance = random.Random(count)
    for _ in range(kills):
        watcher = start(folder, out)
        judged = len(rows(out))
        while len(rows(out)) == judged and len(judged_names(out)) < count:
            time.sleep(0.01)  # it has begun to write
        time.sleep(chance.random() * 0.3)
        watcher.kill()
        watcher.wait()
        watcher.stderr.close()
    assert writer.wait(120) == 0
    last = start(folder, out)
    while len(judged_names(out)) < count:
        time.sleep(0.05)
        assert last.poll() is None
    last.send_signal(signal.SIGTERM)
    assert "photos judged" in last.communicate(timeout=30)[1] and last.returncode == 0
    names, by_photo = traces(out)
    wanted = [f"{i:04}.jpg" for i in range(count)]
    assert sorted(names) == wanted
    moved = {file.relative_to(out).as_posix(): file for verdict in ("pass", "review", "fail", "unreadable")
             for file in (out / verdict).rglob("*") if file.is_file()}
    assert sorted(file.name for file in moved.values()) == wanted
    assert set(moved) == set(by_photo) and not list(folder.iterdir())
    for place, found in by_photo.items():  # the right photo with the right verdict
        assert moved[place].read_bytes().endswith(b"%d" % int(Path(place).stem))
        assert place.split("/")[0] == found["verdict"] and found["path"] == Path(place).name
    assert not list(out.rglob(".*"))


def judged_names(out: Path) -> set[str]:
    return {row["path"] for row in rows(out) if row["basis"]}


def test_verdicts_are_the_detectors_and_say_what_they_are_based_on(current, folder, out):
    for photo in DEMO_PHOTOS[:3]:
        shutil.copy(photo, folder)
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "line 2").mkdir()
    shutil.copy(DEMO_PHOTOS[5], folder / "line 2")
    assert not watched(current, folder, out)
    for row in rows(out):
        photo = next(photo for photo in DEMO_PHOTOS if photo.name == Path(row["path"]).name)
        wanted = current.judge.verdict(photo)
        assert (row["verdict"], row["fired"], row["sha256"]) == (wanted.verdict, wanted.fired, wanted.sha256)
        np.testing.assert_allclose(float(row["score"]), wanted.score, rtol=1e-4)
        assert (out / row["verdict"] / row["path"]).read_bytes() == photo.read_bytes()
        found = json.loads((out / row["time"][:10] / f"{row['path']}.json").read_text())
        assert found["judged_by"] == current.judge.basis.to_dict()
    assert [row["path"] for row in rows(out)][-1] == "line 2/5 scratch.jpg" or len(rows(out)) == 4
    assert audit.bases(out) == {current.judge.basis.id: current.judge.basis}
    assert {file.name for file in folder.rglob("*")} == {"notes.txt", ".hidden.jpg", "line 2"}


def test_a_camera_may_use_a_name_again(current, folder, out):
    for photo in (DEMO_PHOTOS[1], DEMO_PHOTOS[2], DEMO_PHOTOS[1]):
        shutil.copy(photo, folder / "img.jpg")
        watched(current, folder, out)
    shutil.copy(DEMO_PHOTOS[3], folder / "img.jpg")
    shutil.copy(DEMO_PHOTOS[4], folder / "img-4.jpg")  # the name that the one above would get
    watched(current, folder, out)
    names, by_photo = traces(out)
    assert len(names) == 5 == len(by_photo)
    assert sorted(file.name for file in (out / "fail").iterdir()) == [
        "img-2.jpg", "img-3.jpg", "img-4-2.jpg", "img-4.jpg", "img.jpg"]
    contents = [file.read_bytes() for file in (out / "fail").iterdir()]
    assert sorted(contents) == sorted(
        photo.read_bytes() for photo in (*DEMO_PHOTOS[1:5], DEMO_PHOTOS[1]))


def test_photos_that_are_left_are_judged_again_only_if_they_change(current, folder, out):
    shutil.copy(DEMO_PHOTOS[1], folder / "a.jpg")
    shutil.copy(DEMO_PHOTOS[0], folder / "b.jpg")
    watched(current, folder, out, moves=False)
    watched(current, folder, out, moves=False)
    assert [row["verdict"] for row in rows(out)] == ["fail", "pass"]
    shutil.copy(DEMO_PHOTOS[0], folder / "a.jpg")
    watched(current, folder, out, moves=False)
    assert [(row["path"], row["verdict"]) for row in rows(out)][2:] == [("a.jpg", "pass")]
    assert sorted(file.name for file in folder.iterdir()) == ["a.jpg", "b.jpg"]
    assert {Path(found["photo"]).name for found in map(
        json.loads, (file.read_text() for file in out.rglob("*.json")))} == {"a.jpg", "b.jpg"}


def test_a_slow_writer_is_waited_for_and_a_broken_file_given_up(current, folder, out):
    content = DEMO_PHOTOS[1].read_bytes()
    (folder / "broken.jpg").write_bytes(content[:4000])

    def write() -> None:
        with open(folder / "slow.jpg", "wb") as file:
            for start in range(0, len(content), len(content) // 4 + 1):
                file.write(content[start:start + len(content) // 4 + 1])
                file.flush()
                time.sleep(0.3)  # longer than between two looks

    thread = threading.Thread(target=write)
    thread.start()
    watched(current, folder, out, patience=1.0)
    thread.join()
    watched(current, folder, out, patience=1.0)
    found = {row["path"]: row for row in rows(out)}
    assert found["slow.jpg"]["verdict"] == "fail" and len(rows(out)) == 2
    assert found["broken.jpg"]["verdict"] == "unreadable" and found["broken.jpg"]["score"] == ""
    assert found["broken.jpg"]["notes"].startswith("truncated or damaged")
    assert (out / "unreadable" / "broken.jpg").is_file()
    text = next(out.glob("*/broken.jpg.json")).read_text()
    assert "NaN" not in text and json.loads(text)["score"] is None  # NaN is no JSON


def test_a_photo_that_goes_away_is_said_and_not_judged(current, folder, out):
    """Removed by somebody between the look and the judgement."""
    shutil.copy(DEMO_PHOTOS[1], folder / "gone.jpg")
    shutil.copy(DEMO_PHOTOS[1], folder / "stays.jpg")
    journal, said = Journal.open(out, folder), Said()
    arrivals = Arrivals(folder, 0.0)
    watcher = Watcher(current, folder, journal, True, arrivals, 0.05, 0.2, say=said.append)
    ready = arrivals.look()
    (folder / "gone.jpg").unlink()
    assert watcher._judge(ready) == 0
    journal.close()
    assert "gone.jpg went away before it could be judged." in said
    assert [row["path"] for row in rows(out)] == ["stays.jpg"]


@pytest.mark.parametrize("obstacle", ("the day's folder", "the journal's list"))
def test_what_can_not_be_written_is_tried_again(current, folder, out, obstacle):
    """A file where a folder should be refuses as a full disk does."""
    shutil.copy(DEMO_PHOTOS[1], folder / "a.jpg")
    out.mkdir()
    place = out / (time.strftime("%Y-%m-%d") if obstacle == "the day's folder" else audit.BASES)
    place.write_text("in the way") if obstacle == "the day's folder" else place.mkdir()
    said = Said()

    def clear() -> None:
        while not said:
            time.sleep(0.01)
        assert (folder / "a.jpg").is_file()
        place.unlink() if place.is_file() else place.rmdir()

    thread = threading.Thread(target=clear)
    thread.start()
    watched(current, folder, out, said=said)
    thread.join()
    assert len(said) == 2 and "can't be written" in said[0] and "Nothing is lost" in said[0]
    assert said[1] == "It works again."
    assert [row["path"] for row in rows(out)] == ["a.jpg"] and not list(folder.iterdir())


def test_a_folder_may_go_away_and_come_back(current, folder, out):
    shutil.copy(DEMO_PHOTOS[1], folder / "a.jpg")
    away = folder.with_name("unplugged")
    folder.rename(away)
    said = Said()

    def plug_in() -> None:
        while not said:
            time.sleep(0.01)
        away.rename(folder)

    thread = threading.Thread(target=plug_in)
    thread.start()
    watched(current, folder, out, said=said)
    thread.join()
    assert "in can't be read" in said[0] and said[1] == "It works again."
    assert [row["path"] for row in rows(out)] == ["a.jpg"]


@pytest.mark.parametrize("ignores", [False, True])
def test_the_app_learns_of_the_day_if_asked(folder, out, tmp_path, ignores):
    """Scores under the model's own settings, whatever the criterion is."""
    model = tmp_path / "part.safetensors"
    shutil.copy(DEMO_MODEL, model)
    detector = Ulsad.load(model)
    if ignores:
        left = np.zeros((256, 256), bool)
        left[:, :100] = True
        criterion = replace(Criterion.suggested(detector.calibration, 0.5, 0.9), ignored=packed(left))
        detector.with_criterion("other", criterion).save(model)
    for photo in DEMO_PHOTOS[:3]:
        shutil.copy(photo, folder)
    (folder / "broken.jpg").write_text("no photo")
    watched(CurrentJudge(model, lambda: Judge.load(model, "other" if ignores else None), True), folder, out)
    logged = {photo.digest: photo for photo in scored.beside(model).read()}
    wanted = [detector.predict(photo) for photo in DEMO_PHOTOS[:3]]
    assert set(logged) == {prediction.digest for prediction in wanted}
    for prediction in wanted:
        one = logged[prediction.digest]
        assert (one.score, one.strangeness) == pytest.approx((prediction.score, prediction.strangeness), 1e-4)
        assert one.day == rows(out)[0]["time"][:10]


def test_nothing_is_logged_beside_the_model_unless_asked(folder, out, tmp_path):
    model = tmp_path / "part.safetensors"
    shutil.copy(DEMO_MODEL, model)
    shutil.copy(DEMO_PHOTOS[1], folder)
    watched(CurrentJudge(model, lambda: Judge.load(model)), folder, out)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["part.safetensors"]


def test_a_model_may_be_replaced(folder, out, tmp_path):
    model = tmp_path / "part.safetensors"
    shutil.copy(DEMO_MODEL, model)
    replaced = CurrentJudge(model, lambda: Judge.load(model))
    shutil.copy(DEMO_PHOTOS[0], folder / "a.jpg")
    assert not watched(replaced, folder, out)

    model.write_bytes(DEMO_MODEL.read_bytes()[:100_000])
    shutil.copy(DEMO_PHOTOS[0], folder / "b.jpg")
    said = watched(replaced, folder, out)
    assert len(said) == 1 and "was replaced, but can't be used" in said[0] and "stays in use" in said[0]

    model.unlink()
    shutil.copy(DEMO_PHOTOS[0], folder / "c.jpg")
    assert "is gone" in str(watched(replaced, folder, out))

    detector = Ulsad.load(DEMO_MODEL)
    detector.with_criterion("strict", Criterion.suggested(detector.calibration, 0.5, 0.6)).save(model)
    shutil.copy(DEMO_PHOTOS[0], folder / "d.jpg")
    assert "From now on its new version judges" in str(watched(replaced, folder, out))

    bases = [row["basis"] for row in rows(out)]
    assert bases[0] == bases[1] == bases[2] != bases[3] and set(audit.bases(out)) == set(bases)


def test_only_one_process_watches_into_a_folder(current, folder, out):
    journal = Journal.open(out, folder)
    with pytest.raises(InputError, match=r"Another process is writing to .*out"):
        Journal.open(out, folder)
    journal.close()
    Journal.open(out, folder).close()


def test_at_most_so_many_a_second(current, folder, out):
    for i in range(6):
        shutil.copy(DEMO_PHOTOS[0], folder / f"{i}.jpg")
    began = time.monotonic()
    watched(current, folder, out, most_a_second=4)
    assert time.monotonic() - began > 1.4 and len(rows(out)) == 6


@pytest.mark.parametrize("arguments, message", (
    (["missing", "--out", "out"], "There is no folder"),
    (["in", "--out", "in/verdicts"], "inside the watched folder"),
    (["in", "--out", "in"], "inside the watched folder"),
    (["in", "--out", "file"], "can't be written"),
))
def test_places_that_can_not_be(arguments, message, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(["watch", str(DEMO_MODEL), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_command_draws_maps_and_counts(folder, out, capsys):
    shutil.copy(DEMO_PHOTOS[1], folder)
    assert main(["watch", str(DEMO_MODEL), str(folder), "--out", str(out), "--once", "--maps",
                 "--interval", "0.1"]) == 0
    captured = capsys.readouterr()
    assert "fail" in captured.out and "(review above 0.262)  both     1 missing.jpg" in captured.out
    assert "1 photos judged: 1 fail." in captured.err
    with Image.open(next(out.glob("*/1 missing.jpg.png"))) as picture:
        assert picture.width > 1500
