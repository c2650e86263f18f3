"""Quantiles, Eq. 9 and Eq. 10 against numpy and loops."""

from __future__ import annotations

import numpy as np
import pytest

from ulsad.compute.frontier import frontier
from ulsad.method.calibration import Calibration, Combination, QuantileFunction, Transform


@pytest.fixture(scope="module")
def raw() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    local = generator.lognormal(0, 0.7, (4, 64, 64)).astype(np.float32)
    return local, (0.3 * local + generator.gamma(2, 1, (4, 64, 64))).astype(np.float32)


@pytest.mark.parametrize("draw", [
    lambda g: g.lognormal(0, 1, 200_000), lambda g: g.random(100_000), lambda g: g.gamma(1, 1, 3_000_000)])
def test_quantile_function_is_within_a_thousandth_of_numpy(draw):
    samples = draw(np.random.default_rng(0))
    function = QuantileFunction.of(samples)
    levels = np.append(np.linspace(0.5, 0.9995, 400), np.random.default_rng(1).uniform(0.5, 0.9995, 400))
    np.testing.assert_allclose([function(level) for level in levels], np.quantile(samples, levels), rtol=1e-3)


def test_eq_9_maps_q_alpha_to_0_and_q_beta_to_a_tenth(raw):
    local, global_ = raw
    normalise = Calibration.of(local, global_).normalisation(0.9, 0.995)
    maps = normalise(local[0], global_[0])
    for branch, samples, result in ((0, local, maps.local), (1, global_, maps.global_)):
        q_alpha, q_beta = np.quantile(samples, 0.9), np.quantile(samples, 0.995)
        expected = [[0.1 * (float(value) - q_alpha) / (q_beta - q_alpha) for value in row]
                    for row in raw[branch][0]]
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4)


def test_combined_map_is_the_mean_and_eq_10_its_maximum(raw):
    maps = Calibration.of(*raw).normalisation(0.9, 0.995)(raw[0][1], raw[1][1])
    expected = max((maps.local[y, x] + maps.global_[y, x]) / 2 for y in range(64) for x in range(64))
    assert maps.score == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("kind, weight, expected", [
    ("mean", 1.0, lambda a, b: (a + b) / 2), ("mean", 0.5, lambda a, b: (2 * a + b) / 3),
    ("maximum", 1.0, max), ("maximum", 0.7, lambda a, b: max(a, 0.7 * b)),
    ("maximum", 0.0, lambda a, b: max(a, 0)), ("sum", 0.25, lambda a, b: a + max(0.25 * b, 0)),
    ("sum", 0.0, lambda a, b: a)])
def test_combinations_pixel_by_pixel(raw, kind, weight, expected):
    maps = Calibration.of(*raw, Combination(kind, weight)).normalisation(0.9, 0.995)(raw[0][1], raw[1][1])
    pairs = zip(maps.local.ravel(), maps.global_.ravel(), strict=True)
    np.testing.assert_allclose(maps.combined.ravel(), [expected(a, b) for a, b in pairs], rtol=1e-6)


@pytest.mark.parametrize("combine", [Combination(), Combination("maximum", 0.7), Combination("mean", 0.2),
                                     Combination("sum", 0.25)])
@pytest.mark.parametrize("levels", [(0.5, 0.6), (0.9, 0.995), (0.2, 0.9999)])
def test_held_out_scores_from_frontiers_are_exact(raw, levels, combine):
    local, global_ = raw
    calibration = Calibration.of(local, global_, combine)
    normalise = calibration.normalisation(*levels)
    expected = [(m.score, m.local_score, m.global_score) for m in map(normalise, local, global_)]
    np.testing.assert_allclose(calibration.held_out_scores(*levels), expected, rtol=1e-5)
    assert max(map(len, calibration.frontiers)) < 100


def test_a_sum_leaves_the_local_map_alone_where_the_global_branch_finds_nothing(raw):
    maps = Calibration.of(*raw, Combination("sum", 5.0)).normalisation(0.9, 0.995)(raw[0][1], raw[1][1])
    usual = maps.global_ <= 0
    np.testing.assert_array_equal(maps.combined[usual], maps.local[usual])
    assert (maps.combined[~usual] > maps.local[~usual]).all()


def test_local_branch_alone_scores_with_its_own_map(raw):
    calibration = Calibration.of(raw[0], None)
    maps = calibration.normalisation(0.9, 0.995)(raw[0][2], None)
    assert maps.global_ is None and maps.score == maps.local_score
    assert calibration.held_out_scores(0.9, 0.995)[2, 0] == pytest.approx(maps.score, rel=1e-6)


def test_constant_maps_give_finite_numbers():
    flat = np.ones((2, 8, 8), np.float32)
    calibration = Calibration.of(flat, flat)
    assert np.isfinite(calibration.held_out_scores(0.9, 0.995)).all()
    assert Transform(1.0, 1.0)(flat).max() == 0


def test_frontier_of_collinear_points():
    line = np.arange(50, dtype=np.float32)
    assert {tuple(point) for point in frontier(line, 2 * line)} == {(49.0, 98.0)}  # largest in both
    assert {tuple(point) for point in frontier(line, 49 - line)} == {(0.0, 49.0), (49.0, 0.0)}
