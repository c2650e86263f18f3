"""What is said of a training beforehand; whether the seconds are right is measured, not tested."""

from __future__ import annotations

import dataclasses

import pytest
from conftest import TINY

from ulsad import InputError
from ulsad.compute import rows
from ulsad.detector import preparation
from ulsad.runs.estimate import duration, estimate, size


@pytest.mark.slow
def test_disk_is_what_the_mapped_rows_take(good_photos, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(rows, "MEMORY", 1)
    monkeypatch.setattr("ulsad.runs.estimate.MEMORY", 1)
    said = estimate(TINY, 12)
    with preparation.preparing(good_photos, None, TINY, None, None, scratch=tmp_path):
        taken = [file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()]
    models = 5 * 4 * 212_000  # about
    assert said.disk - models == pytest.approx(sum(taken), rel=0.15)


@pytest.mark.slow
def test_more_steps_take_longer_and_a_budget_is_the_budget():
    few, many = (estimate(dataclasses.replace(TINY, steps=steps), 12).seconds for steps in (1, 10_000))
    assert many > 5 * few
    budget = estimate(dataclasses.replace(TINY, steps=None, minutes=5.0), 12)
    assert budget.seconds == budget.longest == 300 and "up to" not in str(budget)
    adaptive = estimate(dataclasses.replace(TINY, steps=10_000, stop_when_still=True), 12)
    assert few < adaptive.seconds < adaptive.longest and adaptive.longest == pytest.approx(many, rel=0.5)
    assert "up to" in str(adaptive)


def test_weights_that_are_not_here_are_missed_beforehand(tmp_path):
    with pytest.raises(InputError, match="no weights file"):
        estimate(dataclasses.replace(TINY, backbone="resnet18"), 12, weights=tmp_path / "none.pth")


def test_words():
    assert [duration(one) for one in (42, 119.9, 130, 1300, 9000)] == [
        "42 s", "2 min 0 s", "2 min 10 s", "22 min", "2.5 h"]
    assert [size(one) for one in (1000, 70 * 2**20, 3 * 2**30)] == ["1 MB", "70 MB", "3.0 GB"]
