"""Big jobs that go on after an interruption, and verdicts that can be computed again."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS

from ulsad.__main__ import main
from ulsad.detector import spreadsheet
from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.line import Judge, audit
from ulsad.line.job import PARTS, Job, add
from ulsad.line.verdict import COLUMNS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(DEMO_MODEL)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Twenty-four, two of them unreadable."""
    folder = tmp_path / "photos"
    for i in range(24):
        place = folder / f"line {i % 2}" / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEMO_PHOTOS[i % 8], place)
    (folder / "line 0" / "4.jpg").write_bytes(b"no")
    (folder / "line 1" / "7.jpg").write_bytes(DEMO_PHOTOS[0].read_bytes()[:3000])
    return folder


def predict(photos, out, *options, model=DEMO_MODEL) -> int:
    return main(["predict", str(model), str(photos), "--out", str(out), "--no-maps", *map(str, options)])


def rows(table: Path) -> list[dict[str, str]]:
    with open(table, newline="", encoding="utf-8-sig") as opened:
        return list(csv.DictReader(opened))


def timeless(out: Path) -> list[dict[str, str]]:
    found = rows(out / "scores.csv")
    return [{name: value for name, value in row.items() if name != "time"} for row in found]


def assert_same(found: list[dict[str, str]], wanted: list[dict[str, str]]) -> None:
    """Scores to 1e-6; batches of other photos round differently."""
    for row, other in zip(found, wanted, strict=True):
        for name, value in row.items():
            if "score" in name:
                assert float(value) == pytest.approx(float(other[name]), rel=1e-6, abs=3e-6)
            else:
                assert value == other[name], name


@pytest.mark.slow
def test_a_killed_job_goes_on(photos, tmp_path):
    assert predict(photos, tmp_path / "whole") == 0
    out = tmp_path / "out"
    for _ in range(2):
        job = subprocess.Popen([sys.executable, "-m", "ulsad", "predict", DEMO_MODEL, photos, "--out", out],
                               cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        before = sum(part.stat().st_size for part in out.glob(f"{PARTS}*"))
        while sum(part.stat().st_size for part in out.glob(f"{PARTS}*")) < before + 600:
            time.sleep(0.005)
            assert job.poll() is None
        job.kill()
        job.wait()
    assert not (out / "scores.csv").exists()
    parts = list(out.glob(f"{PARTS}*"))
    with open(parts[0], "ab") as part:
        part.write(b'"line 0/22.jpg",0.1')  # cut short
    done = subprocess.run([sys.executable, "-m", "ulsad", "predict", DEMO_MODEL, photos, "--out", out],
                          cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0 and "Going on: " in done.stderr, done.stderr
    assert "22 photos scored" in done.stdout and "2 could not be read" in done.stderr
    assert_same(timeless(out), timeless(tmp_path / "whole"))
    assert (out / "skipped.csv").read_bytes() == (tmp_path / "whole/skipped.csv").read_bytes()
    assert len(list((out / "maps").rglob("*.png"))) == 22
    assert {path.name for path in out.iterdir()} == {
        "scores.csv", "skipped.csv", "job.json", "judged-by.jsonl", "maps"}
    assert main(["verify", str(out), "--all"]) == 0


def test_parts_of_any_number_of_processes_are_merged(judge, tmp_path):
    verdict = judge.verdict(DEMO_PHOTOS[0])
    job = Job(tmp_path, judge.basis.id, [str(i) for i in range(10)])
    for process, share in enumerate(((0, 3, 6), (1, 2, 6, 7), (), (4, 5, 8))):
        with job.open_part(process) as part:
            for i in share:
                add(part, verdict._replace(path=str(i), notes=("Look.",) if i == 4 else ()))
    with job.open_part(9) as part:
        add(part, verdict._replace(path="gone since then"))
    assert job.judged() == set("012345678")
    summary = job.merge()
    assert (summary.scored, summary.skipped, summary.noted, summary.example) == (9, 0, 1, "4")
    assert [row["path"] for row in rows(tmp_path / "scores.csv")] == list("012345678")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_another_criterion_begins_anew(photos, judge, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    for basis in (judge.basis.id, "0123456789ab"):
        with Job(out, basis, ["line 0/0.jpg"]).open_part(0) as part:
            add(part, judge.verdict(DEMO_PHOTOS[0])._replace(path="line 0/0.jpg", score=77.0))
    assert predict(photos, out) == 0
    error = capsys.readouterr().err
    assert "Beginning anew: an interrupted run with another model or criterion is dropped." in error
    assert "Going on: 1 of 24 photos were scored before." in error
    assert float(rows(out / "scores.csv")[0]["score"]) == 77
    with Job(out, judge.basis.id, ["line 0/0.jpg"]).open_part(0) as part:
        add(part, judge.verdict(DEMO_PHOTOS[0])._replace(path="line 0/0.jpg", score=77.0))
    assert predict(photos, out, "--anew") == 0
    assert float(rows(out / "scores.csv")[0]["score"]) < 1


@pytest.fixture
def judged(photos, tmp_path) -> Path:
    assert predict(photos, tmp_path / "out") == 0
    return tmp_path / "out"


def change(table: Path, line: int, **cells: object) -> None:
    found = spreadsheet.read(table)
    for name, value in cells.items():
        found[line][COLUMNS.index(name)] = value
    with spreadsheet.Writer(table) as writer:
        writer.rows(found)


def verify(capsys, *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["verify", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_true_verdicts_agree(judged, capsys):
    assert verify(capsys, judged, "--all")[:2] == (0, "22 of 22 verdicts computed again: 22 × agrees.\n")
    status, said, _ = verify(capsys, judged / "scores.csv", "--sample", 5, "--seed", 3)
    assert (status, said) == (0, "5 of 22 verdicts computed again, drawn with --seed 3: 5 × agrees.\n")


def test_what_was_tampered_with_is_found(judged, photos, capsys):
    table = judged / "scores.csv"
    change(table, 1, score=0.2, verdict="pass")
    change(table, 2, verdict="pass")
    change(table, 3, sha256="0" * 64)
    change(table, 4, basis="0123456789ab")
    names = [row["path"] for row in rows(table)]
    (photos / names[4]).unlink()
    (photos / names[5]).write_bytes(DEMO_PHOTOS[1].read_bytes() + b"more")
    status, said, _ = verify(capsys, judged, "--all")
    assert status == 1
    for name, outcome in zip(names, ("the score differs; recorded pass 0.200000, now ", "the verdict differs",
                                     "the photo has changed", "its basis is not listed",
                                     "the photo is missing", "the photo has changed")):
        line = next(line for line in said.splitlines() if line.startswith(f"{name} ("))
        assert outcome in line
    assert "16 × agrees" in said


def test_moved_photos_and_models_are_found_again(judged, photos, tmp_path, capsys):
    photos.rename(tmp_path / "elsewhere")
    assert verify(capsys, judged)[0] == 1
    assert verify(capsys, judged, "--photos", tmp_path / "elsewhere")[0] == 0
    place = judged / "job.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "model": str(tmp_path / "gone")}))
    status, said, error = verify(capsys, judged, "--photos", tmp_path / "elsewhere")
    assert status == 1 and "22 × the model is missing" in said and "Give its file with --model" in error
    assert verify(capsys, judged, "--photos", tmp_path / "elsewhere", "--model", DEMO_MODEL)[0] == 0


def test_a_criterion_that_was_saved_since_is_no_other_verdict(photos, tmp_path, capsys):
    """But it changes the file, which is said; the recorded criterion is used."""
    model, detector = tmp_path / "part.safetensors", Ulsad.load(DEMO_MODEL)
    strict = Criterion.suggested(detector.calibration, 0.5, 0.99)
    detector.with_criterion("line", strict).save(model)
    assert predict(photos, tmp_path / "out", "--criterion", "line", model=model) == 0
    lax = Criterion.suggested(detector.calibration, 0.1, 0.2)
    detector.with_criterion("line", lax).save(model)
    status, said, error = verify(capsys, tmp_path / "out", "--all")
    assert (status, said) == (0, "22 of 22 verdicts computed again: 22 × agrees.\n")
    assert "is not the file that judged" in error and "saved since" in error


def test_verdicts_of_a_watched_folder(tmp_path, capsys):
    """With a name that came twice, and a file that is no photo."""
    for photo in (DEMO_PHOTOS[1], DEMO_PHOTOS[2]):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / "in" / "img.jpg")
        (tmp_path / "in" / f"{photo.stem}.png").write_bytes(b"no")
        assert main(["watch", str(DEMO_MODEL), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--once",
                     "--interval", "0.05", "--patience", "0.1"]) == 0
    assert verify(capsys, tmp_path / "out")[:2] == (0, "4 of 4 verdicts computed again: 4 × agrees.\n")
    table = next((tmp_path / "out").glob("*/verdicts.csv"))
    assert verify(capsys, table)[0] == 0
    shutil.copy(DEMO_PHOTOS[3], tmp_path / "out/fail/img-2.jpg")
    assert verify(capsys, tmp_path / "out")[0] == 1
    moved = Path(shutil.move(tmp_path / "out", tmp_path / "archive"))
    assert "1 × the photo has changed" in verify(capsys, moved)[1]


def test_verdicts_of_a_second_day_with_the_names_of_the_first(tmp_path, capsys):
    """The photos' place is taken then, the JSON files' is not."""
    for photo, day in ((DEMO_PHOTOS[1], "2026-01-01"), (DEMO_PHOTOS[2], "2026-01-02")):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / "in" / "img [1].jpg")
        assert main(["watch", str(DEMO_MODEL), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--once",
                     "--interval", "0.05"]) == 0
        today = next(file.parent for file in (tmp_path / "out").glob("*/verdicts.csv")
                     if not file.parent.name.startswith("2026-01-"))
        today.rename(tmp_path / "out" / day)
    assert {file.name for file in (tmp_path / "out/fail").iterdir()} == {"img [1].jpg", "img [1]-2.jpg"}
    assert verify(capsys, tmp_path / "out")[:2] == (0, "2 of 2 verdicts computed again: 2 × agrees.\n")


def test_a_model_that_was_replaced_is_named(judged, tmp_path, capsys):
    detector = Ulsad.load(DEMO_MODEL)
    corner = np.zeros((256, 256), bool)
    corner[:, :200] = True
    detector.ignoring(corner).save(tmp_path / "other.safetensors")
    status, said, error = verify(capsys, judged, "--model", tmp_path / "other.safetensors")
    assert status == 1 and "× the model is another one and gives another verdict" in said
    assert "is not the file that judged" in error


def test_verdicts_of_photos_that_were_left_where_they_are(tmp_path, capsys, monkeypatch):
    """Also from another working directory than the watcher's."""
    (tmp_path / "in").mkdir()
    shutil.copy(DEMO_PHOTOS[1], tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert main(["watch", str(DEMO_MODEL), "in", "--out", "out", "--once", "--leave",
                 "--interval", "0.05"]) == 0
    monkeypatch.chdir("/")
    assert verify(capsys, tmp_path / "out")[0] == 0


def test_a_part_that_a_power_cut_has_spoilt_is_used_up_to_there(judge, tmp_path):
    verdict = judge.verdict(DEMO_PHOTOS[0])
    job = Job(tmp_path, judge.basis.id, ["a", "b", "c"])
    with job.open_part(0) as part:
        add(part, verdict._replace(path="a"))
        part.write(b"\0\0\0,\0\n")
        add(part, verdict._replace(path="b"))
    assert job.judged() == {"a"}


def test_photos_of_a_zip(photos, tmp_path, capsys):
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    assert predict(archive, tmp_path / "out") == 0
    assert verify(capsys, tmp_path / "out", "--all")[0] == 0


@pytest.mark.parametrize("content, message", (
    (None, "holds no verdicts"), ("path,score\n", "is not a table of verdicts"), ("", "is not a table of")))
def test_what_is_no_table(content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / "scores.csv").write_text(content)
    status, _, error = verify(capsys, tmp_path)
    assert status == 2 and message in error


def test_bases_are_listed_once_and_survive_a_torn_line(judge, tmp_path):
    audit.note_basis(tmp_path, judge.basis)
    audit.note_basis(tmp_path, judge.basis)
    with open(tmp_path / audit.BASES, "a") as file:
        file.write('{"id": "')
    other = Judge.load(DEMO_MODEL, alpha=0.5).basis
    audit.note_basis(tmp_path, other)
    assert audit.bases(tmp_path) == {judge.basis.id: judge.basis, other.id: other}
    assert len((tmp_path / audit.BASES).read_text().splitlines()) == 3


def test_a_sample_draws_each_verdict_equally_often(judge, tmp_path):
    from ulsad.line.verify import sample

    verdict = judge.verdict(DEMO_PHOTOS[0])
    with spreadsheet.Writer(tmp_path / "scores.csv") as table:
        table.rows([COLUMNS, *(verdict._replace(path=f"{i}").row() for i in range(20))])
    drawn = np.zeros(20)
    for seed in range(400):
        found, total = sample([tmp_path / "scores.csv"], 5, seed)
        names = [int(recorded.verdict.path) for recorded in found]
        assert total == 20 and names == sorted(set(names)) and len(names) == 5
        drawn[names] += 1
    assert drawn.sum() == 2000 and abs(drawn - 100).max() < 4 * np.sqrt(75)
