"""Photos are logged beside their model day by day, and a day whose good parts have changed is noticed."""

from __future__ import annotations

import json
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ulsad.photos.images import find_images
from ulsad.runs import directory, drift, events, scored
from ulsad.runs.drift import Expected, has_risen
from ulsad.runs.marks import Mark
from ulsad.runs.scored import Log, Scored
from ulsad.ui import batches, places
from ulsad.ui.batches import OpenBatch, Request
from ulsad.ui.inspect import days, views

FIRST, SECOND = Scored("2026-11-27", "aa", 0.5, 0.25), Scored("2026-11-28", "bb", 0.75, 0.5)


@pytest.fixture
def log(tmp_path) -> Log:
    return Log(tmp_path / "scored.jsonl")


def test_a_photo_is_logged_once_a_day(log):
    assert log.read() == []
    assert log.add([FIRST, FIRST._replace(score=9)]) == [FIRST._replace(score=9)]
    assert log.add([FIRST, SECOND]) == [FIRST._replace(score=9), SECOND]
    again = FIRST._replace(day=SECOND.day)
    log.add([again])
    assert log.read() == [FIRST._replace(score=9), SECOND, again]
    assert [json.loads(line)["digest"] for line in log.file.read_text().splitlines()] == ["aa", "bb", "aa"]


def test_damaged_lines_are_left_out_and_cost_no_other(log):
    log.add([FIRST])
    whole = log.file.read_bytes()
    damaged = [b"\0" * 50, b"[1, 2]", b'"day"', b"\xff\xfe", b"7", b"", b'{"day": "2026-11-28"}', b"[" * 9999,
               whole.strip().replace(b"0.25", b"NaN"), whole.strip().replace(b"0.25", b'"x"'),
               whole.strip().replace(b"2026-11-27", b"yesterday"), whole.strip().replace(b'"aa"', b"{}")]
    log.file.write_bytes(b"\n".join([*damaged, whole[:-20]]))  # the last one is cut short
    assert log.read() == []
    assert log.add([FIRST, SECOND]) == [FIRST, SECOND] == log.read()


def test_not_finite_scores_are_not_logged(log):
    assert log.add([FIRST._replace(score=math.nan), SECOND]) == [SECOND] == log.read()


def test_what_can_not_be_written_stops_nobody(tmp_path):
    for file in (tmp_path, tmp_path / "gone" / "scored.jsonl", "/dev/full"):
        assert Log(tmp_path / file).add([FIRST]) == [FIRST]
    assert not (tmp_path / "gone").exists()


def test_threads_log_at_once(log):
    photos = [FIRST._replace(digest=f"{i:016x}") for i in range(400)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: log.add(photos[i:i + 20]), range(0, 400, 10)))
    assert sorted(log.read()) == photos and len(log.file.read_bytes().splitlines()) == 400


@pytest.mark.slow
def test_a_long_log_is_read_from_its_end_and_fast(log):
    lines = [json.dumps(Scored("2026-11-27", f"{i:016x}", 0.123456, 0.123456)._asdict())
             for i in range(200_000)]
    log.file.write_text("\n".join(lines) + "\n")
    start = time.perf_counter()
    photos = log.read()
    assert time.perf_counter() - start < 10  # half a second on a machine that has nothing else to do
    assert 170_000 < len(photos) < 200_000 and photos[-1].digest == f"{199_999:016x}"
    before = log.file.stat().st_size
    assert log.add([FIRST, photos[-1]])[-1] == FIRST
    assert log.file.stat().st_size - before < 2 * len(lines[0])


def test_the_log_lies_beside_its_model_and_follows_its_name(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / events.EVENTS).touch()
    assert scored.beside(tmp_path / "run" / "model.safetensors").file == tmp_path / "run" / "scored.jsonl"
    shutil.rmtree(run)
    model = tmp_path / "part 1.5.safetensors"
    model.write_bytes(b"model")
    scored.beside(model).add([FIRST])
    renamed = directory.rename(model, "part 2.0")
    assert scored.beside(renamed).file == tmp_path / "part 2.0.scored.jsonl"
    assert scored.beside(renamed).read() == [FIRST]
    directory.delete(renamed)
    assert not list(tmp_path.iterdir())


# --- days


def expected(scores: np.ndarray) -> Expected:
    return Expected(scores, scores / 10, review=float(scores.max()))


def photos(day: str, scores: np.ndarray, strangeness: np.ndarray) -> list[Scored]:
    return [Scored(day, f"{day} {i}", *map(float, values))
            for i, values in enumerate(zip(scores, strangeness, strict=True))]


def test_a_day_has_its_quartiles_without_defects_and_other_parts(rng):
    good = rng.lognormal(-2, 0.3, 40)
    values = np.linspace(0.1, 0.5, 41)
    those = photos("2026-11-28", values, values / 2)
    others = [Scored("2026-11-28", "a defect", 5, 0.5), Scored("2026-11-28", "another part", 5, 1.2)]
    few = photos("2026-11-27", values[:19] + 9, values[:19] / 2)
    first, last = drift.days([*those, *others, *few], expected(good), {"a defect"})
    assert (last.day, last.count, last.left_out) == ("2026-11-28", 41, 2)
    assert last.scores == pytest.approx((0.2, 0.3, 0.4))
    assert last.strangeness == pytest.approx((0.1, 0.15, 0.2))
    assert (last.is_enough, last.is_higher) == (True, True)
    assert (first.day, first.count, first.is_enough, first.has_drifted) == ("2026-11-27", 19, False, False)
    assert drift.days(others, expected(good), {"a defect"}) == [] == drift.days([], expected(good))


def test_the_last_days_are_shown():
    every = [Scored(f"2026-{month:02}-{day:02}", "aa", 0.5, 0.5)
             for month in (1, 2, 12) for day in range(1, 21)]
    shown = drift.days(every[::-1], expected(np.ones(5)))
    assert [day.day for day in shown] == [photo.day for photo in every[-30:]]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def literally(values: list[float], good: list[float]) -> bool:
    """The test as in textbooks: pairs counted one by one, ties as a half; normal approximation with the
    corrections for ties and for continuity."""
    rest = sorted(values)[:len(values) - -(-len(values) // 5)]
    n, m = len(rest), len(good)
    wins = sum((a > b) + (a == b) / 2 for a in rest for b in good)
    together = rest + good
    ties = sum(together.count(value) ** 3 - together.count(value) for value in set(together))
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    z = (wins - n * m / 2 - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2)) / 2 < 0.001


def test_the_test_is_the_textbooks(rng):
    told = []
    for i in range(400):
        values, good = (rng.normal(shift, 1, count) for shift, count in
                        ((rng.uniform(0, 2), rng.integers(20, 90)), (0, rng.integers(3, 60))))
        if i % 2:
            values, good = values.round(1), good.round(1)  # ties
        told.append(has_risen(values, good))
        assert told[-1] == literally(values.tolist(), good.tolist())
    assert 0.2 < np.mean(told) < 0.8


def a_day(rng, good: int, defects: int, shift: float = 0.0) -> np.ndarray:
    """Scores of good parts, whose logarithms lie `shift` standard deviations higher than usual, and of
    defects, most of them above, some among the good parts."""
    return np.concatenate([rng.lognormal(-2 + 0.3 * shift, 0.3, good), rng.lognormal(-1, 1, defects)])


def share_warned(rng, shift: float, days: int, most_defects: float, held_out: int = 36) -> float:
    warned = []
    for _ in range(days):
        count = rng.integers(drift.FEWEST, 201)
        defects = int(rng.uniform(0, most_defects) * count)
        warned.append(has_risen(a_day(rng, count - defects, defects, shift), a_day(rng, held_out, 0)))
    return float(np.mean(warned))


@pytest.mark.slow
def test_days_without_drift_give_no_warning(rng):
    assert share_warned(rng, 0, 1000, 0.2) <= 0.002
    worst = [has_risen(np.concatenate([a_day(rng, 80, 0), np.full(20, 9.0)]), a_day(rng, 36, 0))
             for _ in range(1000)]  # as many defects as are allowed, all of them above the good parts
    assert np.mean(worst) <= 0.01


def test_days_with_drift_do(rng):
    assert share_warned(rng, 2, 300, 0.2) >= 0.9
    assert share_warned(rng, 1.5, 300, 0, held_out=100) >= 0.9


# --- in the app


def opened(model, folder, paths, before=None, is_logged=True) -> OpenBatch:
    if before is None:
        model.save(folder / "m.safetensors")
    request = Request(tuple((path, path.name) for path in paths), is_logged=is_logged)
    key = batches.begun("m.safetensors", folder, request, before)
    list(batches.score(key))
    return batches.recalled(key)


def test_photos_are_logged_under_the_models_own_settings(detector, demo_set, tmp_path):
    paths = find_images(demo_set / "test")
    test_set = opened(detector, tmp_path, paths, is_logged=False)
    assert test_set.log.read() == [] == test_set.days
    assert json.loads(days.shown(key_of(test_set)))["charts"][0]["days"] == []
    known = find_images(demo_set / "train")[:3]
    batch = opened(detector, tmp_path, [*known, *paths])
    logged = {photo.digest: photo for photo in batch.log.read()}
    assert len(logged) == len(paths)
    own = {prediction.digest: prediction for prediction in map(detector.predict, paths)}
    assert set(own) == set(logged)
    for digest, photo in logged.items():
        assert photo.day == date.today().isoformat()
        assert photo.score == pytest.approx(own[digest].score, abs=1e-6)
        assert photo.strangeness == pytest.approx(own[digest].strangeness, abs=1e-5)
    assert [day.count + day.left_out for day in batch.days] == [len(paths)]


def test_ignored_areas_and_probes_are_not_logged(detector, demo_set, tmp_path):
    photo = find_images(demo_set / "test")[0]
    own = Path(shutil.copy(photo, places.new(places.private())))  # as if dropped
    batch = opened(detector, tmp_path, [own])
    before = batch.log.read()
    ignored = np.zeros((256, 256), bool)
    ignored[:200] = True
    batch.ignore(ignored)
    batch.add("spoiled", Image.new("RGB", (256, 256), "white"))
    batch.log.file.unlink()
    again = opened(detector, tmp_path, [own], key_of(batch))
    assert len(again.batch) == 2 and again.detector.calibration.ignored.any()
    assert again.batch.predictions[0].score != pytest.approx(before[0].score, abs=1e-6)
    assert again.log.read() == before


def key_of(batch: OpenBatch) -> str:
    return next(key for key, other in batches._open.items() if other is batch)


def test_only_a_newest_day_that_has_drifted_is_warned_of(detector, demo_set, tmp_path, rng):
    expected = Expected.of(detector)
    logged = Log(tmp_path / "m.scored.jsonl")
    usual = photos("2026-11-27", np.full(50, expected.scores.min()), np.full(50, 0.1))
    logged.add(usual)
    batch = opened(detector, tmp_path, find_images(demo_set / "test")[:1], is_logged=False)
    assert batch.days[-1].is_enough and days.warning(batch) == ""
    words = "No sign that good parts have changed. No photos scored on other days yet."
    assert words in days.value(batch)["words"]
    batch.expected = replace(batch.expected, scores=np.linspace(0.1, 0.2, 21))  # two are too few to warn
    risen = photos("2026-11-28", np.linspace(0.3, 0.5, 41), np.full(41, 0.1))
    batch.look_at_days(risen)
    assert days.warning(batch).startswith(
        "Photos of 28 November score higher than the good photos did: median 0.40 against 0.15. Light,")
    value = days.value(batch)
    assert value["labels"] == ["27 Nov", "28 Nov"] and value["counts"] == [50, 41]
    assert value["charts"][0]["days"][1] == pytest.approx((0.35, 0.4, 0.45, True))
    assert value["charts"][0]["band"] == pytest.approx([0.105, 0.125, 0.15, 0.175, 0.195])
    assert days.warning(batch) in value["words"]
    [note] = [note for note in views._notes(batch, 0) if "November" in note]
    assert note == days.warning(batch)
    batch.marked = {photo.digest: Mark(photo.digest, "", False, "", 1, "", "", "") for photo in risen}
    batch.look_at_days()
    assert days.warning(batch) == "" and len(batch.days) == 1


def test_a_day_whose_photos_look_different_is_warned_of(detector, demo_set, tmp_path):
    batch = opened(detector, tmp_path, find_images(demo_set / "test")[:1], is_logged=False)
    far = 0.5 + batch.expected.strangeness.max() / 2  # halfway to the limit
    batch.look_at_days(photos("2026-11-28", np.full(40, -1.0), np.full(40, far)))
    assert "look less like the good photos than these look like each other" in days.warning(batch)
    assert "score higher" not in days.warning(batch)


def test_references_are_strange_to_each_other(detector):
    own = detector.references
    for i, strangeness in enumerate(own.own_strangeness):
        others = replace(own, descriptors=np.delete(own.descriptors, i, axis=0))
        alone = others.strangeness(own.descriptors[i:i + 1])[0] * others.limit / own.limit
        assert strangeness == pytest.approx(alone, rel=1e-5)
    assert len(replace(own, descriptors=own.descriptors[:1]).own_strangeness) == 0
