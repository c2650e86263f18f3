"""Photos are logged beside their model day by day, and a day whose good parts have changed is noticed."""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ulsad.runs import directory, drift, scored
from ulsad.runs.drift import Expected, has_risen
from ulsad.runs.scored import Log, Scored

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
    assert scored.beside(tmp_path / "run" / "model.safetensors").file == tmp_path / "run" / "scored.jsonl"
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
