"""What more photos would change: against draws done here, and for a real training."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from conftest import TINY

from ulsad import Ulsad
from ulsad.__main__ import main
from ulsad.detector.criterion import clopper_pearson, threshold_at
from ulsad.runs.curve import Measured, curve_html, curve_table, learning_curve, measured

SCORES = np.random.default_rng(2).normal(1, 0.2, 20)
SELF_MADE = np.random.default_rng(3).normal(1.5, 0.3, 64)


def test_all_photos_give_what_the_screen_shows():
    half, now, double = learning_curve(SCORES, SELF_MADE)
    threshold = threshold_at(SCORES, 0.05)
    assert [half.photos, now.photos, double.photos] == [10, 20, 40]
    assert now.promised == clopper_pearson(int((threshold < SCORES).sum()), 20).high
    assert now.detected == (threshold < SELF_MADE).mean()
    assert [half.is_extrapolated, now.is_extrapolated, double.is_extrapolated] == [False, False, True]


def test_more_photos_promise_more_and_are_surer():
    half, now, double = learning_curve(SCORES, SELF_MADE)
    assert half.promised > now.promised > double.promised
    wide, _, narrow = (point.auroc.high - point.auroc.low for point in (half, now, double))
    assert wide > 1.1 * narrow
    area = np.mean(SELF_MADE[:, None] > SCORES)
    assert all(point.auroc.low < area < point.auroc.high for point in (half, now, double))


def test_half_is_the_mean_over_draws_of_half_of_the_photos():
    draws = np.random.default_rng(9)
    shares = [clopper_pearson(int((some > threshold_at(some, 0.05)).sum()), 10).high
              for some in (draws.permutation(SCORES)[:10] for _ in range(400))]
    assert learning_curve(SCORES, SELF_MADE)[0].promised == pytest.approx(np.mean(shares), abs=0.01)


def test_without_self_made_defects_the_promise_is_left():
    points = learning_curve(SCORES, np.array([]))
    assert all(math.isnan(point.detected) and math.isnan(point.auroc.low) for point in points)
    text = curve_html(points)
    assert "self-made defects above" not in text and "40 (extrapolated)" in text and "nan" not in text


def test_twice_as_many_photos_are_extrapolated_by_the_same_factor():
    points = learning_curve(SCORES, SELF_MADE)
    table = curve_table(Measured(10, 0.8, points), Measured(20, 0.9, points))
    assert "95.0%" in table.splitlines()[-1] and "40 (extrapolated)" in table
    worse = curve_table(Measured(10, 0.95, points), Measured(20, 0.9, points))
    assert "90.0%" in worse.splitlines()[-1]  # no better, and no worse either


@pytest.mark.slow
def test_a_training_keeps_the_scores_of_its_last_self_made_defects(good_photos, monkeypatch):
    monkeypatch.setattr("ulsad.detector.standstill.FIRST_OF_SEVERAL", 1)
    monkeypatch.setattr("ulsad.detector.standstill.DEFECTS", 16)
    config = dataclasses.replace(TINY, frn_width=16, autoencoder_width=8, steps=6, batch_size=2, folds=3,
                                 stop_when_still=True)
    detector = Ulsad.fit(good_photos, config)
    found = measured(detector)
    scores = np.array(detector.record["self_made"])
    held_out = detector.calibration.held_out_scores(config.alpha, config.beta)[:, 0]
    assert found.photos == 12 and 10 < len(scores) <= 16
    assert found.auroc == pytest.approx(np.mean(
        (scores[:, None] > held_out) + 0.5 * (scores[:, None] == held_out)))


def test_what_the_curve_can_not_be_drawn_from(good_photos, capsys):
    assert main(["check", str(good_photos), "--curve"]) == 2
    assert "needs 16 good photos" in capsys.readouterr().err
