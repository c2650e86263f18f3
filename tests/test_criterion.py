import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from ulsad.detector.criterion import (
    BOTH,
    FAIL,
    GLOBAL,
    LOCAL,
    NEITHER,
    PASS,
    REVIEW,
    Criterion,
    clopper_pearson,
    dividing,
    packed,
    photos_for,
    rejected,
    strange,
    threshold_at,
    unpacked,
)
from ulsad.method.calibration import Calibration, Combination


@pytest.fixture
def calibration() -> Calibration:
    rng = np.random.default_rng(0)
    return Calibration.of(*rng.gamma(2, size=(2, 40, 16, 16)).astype(np.float32))


@pytest.fixture
def criterion() -> Criterion:
    return Criterion(0.9, 0.995, Combination("maximum", 0.7), review=0.3, fail=0.5, local=0.3, global_=0.4)


def test_verdicts_and_fired_branches_follow_the_lines(criterion):
    scores = np.array([[0.3, 0.3, 0.4], [0.31, 0.31, 0.0], [0.5, 0.2, 0.5], [0.51, 0.6, 0.6],
                       [0.9, 0.9, math.nan]])
    assert criterion.verdicts(scores).tolist() == [PASS, REVIEW, REVIEW, FAIL, FAIL]
    assert criterion.fired(scores).tolist() == [NEITHER, LOCAL, GLOBAL, BOTH, LOCAL]


def test_a_suggestion_comes_from_held_out_scores_alone(calibration):
    suggested = Criterion.suggested(calibration, 0.9, 0.995, false_reject=0.1)
    held_out = calibration.held_out_scores(0.9, 0.995)
    assert (held_out[:, 0] > suggested.review).sum() <= 4  # a tenth of 40
    assert suggested.review == threshold_at(held_out[:, 0], 0.1)
    assert suggested.fail >= held_out[:, 0].max() - 1e-12  # a fiftieth is less than one in 41
    assert (suggested.local, suggested.global_) == (threshold_at(held_out[:, 1], 0.1),
                                                    threshold_at(held_out[:, 2], 0.1))


def test_it_survives_json(criterion):
    marked = dataclasses.replace(criterion, ignored=packed(np.eye(7, dtype=bool)))
    for one in (criterion, marked, Criterion(0.5, 0.9, Combination(), 1, 2, 3, math.nan)):
        again = Criterion.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))
        assert str(again) == str(one)  # NaN is not equal to itself


def test_masks_as_text():
    mask = np.random.default_rng(0).random((256, 256)) > 0.5
    np.testing.assert_array_equal(unpacked(packed(mask)), mask)
    assert packed(None) == packed(np.zeros((8, 8), bool)) == "" and unpacked("") is None
    assert len(packed(np.eye(256, dtype=bool))) < 500
    with pytest.raises(ValueError):
        unpacked("256:rubbish!")


@pytest.mark.parametrize("lines", [{"alpha": 0.995}, {"alpha": 0.9, "review": 0.6}])
def test_lines_keep_their_order(criterion, lines):
    with pytest.raises(ValueError, match=r"α must be below β|must not be above"):
        Criterion(**{**vars(criterion), **lines})


def test_none_of_thirty_rejected_is_up_to_11_6_percent():
    count, interval = rejected(np.zeros(30), 0.5)
    assert count == 0 and interval.low == 0
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / 30)) == pytest.approx(0.116, abs=5e-4)


@pytest.mark.parametrize(("successes", "trials", "most"), [(0, 3, 0.1), (1, 36, 0.1), (2, 18, 0.2)])
def test_as_many_photos_as_a_promise_needs(successes, trials, most):
    needed = photos_for(successes, trials, most)
    upper = [clopper_pearson(round(successes / trials * count), count).high
             for count in (needed - 1, needed)]
    assert upper[0] > most >= upper[1]
    assert photos_for(successes, trials, 1.0) == trials
    assert photos_for(trials, trials, most) is None


def test_with_few_photos_the_threshold_is_a_prediction_limit():
    scores = np.array([0.1, 0.2, 0.15])
    limit = 0.15 + stats.t.ppf(0.95, 2) * 0.05 * math.sqrt(4 / 3)
    assert threshold_at(scores, 0.05) == pytest.approx(limit)
    outlier = np.append(np.full(30, 0.1), 5.0)  # where the limit would lie below the highest
    assert threshold_at(outlier, 0.01) == 5.0
    assert threshold_at(np.arange(1.0, 40.0), 0.05) == 38.0  # enough photos: one of 39 lies above


def test_a_further_score_exceeds_it_no_more_often_than_asked_for():
    """The r-th highest of 30 is exceeded once in 31 / r."""
    scores = np.random.default_rng(3).permutation(np.arange(1.0, 31.0))
    assert [threshold_at(scores, share) for share in (1 / 31, 0.05, 2 / 31, 0.1)] == [30, 30, 29, 28]


def test_a_dividing_threshold_makes_the_fewest_mistakes_and_moves_no_further_than_needed():
    good, defects = np.array([0.1, 0.2, 0.5]), np.array([0.3, 0.6, 0.9])
    assert dividing(good, defects, near=0.0) == pytest.approx(0.21)  # one mistake, as between 0.5 and 0.6
    assert dividing(good, defects, near=0.7) == pytest.approx(0.59)
    assert dividing(good, defects, near=0.52) == 0.52  # already one of the best
    for seed in range(20):
        good, defects = np.random.default_rng(seed).normal(size=(2, 7))
        mistakes = [(good > at).sum() + (defects <= at).sum() for at in
                    (dividing(good, defects, 0.0), *np.linspace(-4, 4, 4001))]
        assert mistakes[0] == min(mistakes)


def test_without_defects_a_dividing_threshold_has_no_good_photo_above_it():
    assert dividing(np.array([0.1, 0.2, 0.5]), np.array([]), near=0.6) == 0.6
    assert dividing(np.array([0.1, 0.2, 0.5]), np.array([]), near=0.3) == pytest.approx(0.54)
    assert dividing(np.array([]), np.array([0.1, 0.2, 0.5]), near=0.3) == pytest.approx(0.06)


def test_strange_scores_are_those_far_above_all_others():
    scores = np.random.default_rng(5).normal(size=30)
    assert not len(strange(scores)) and not len(strange(scores[:6]))
    scores[[7, 20]] = 9.0, 11.0  # one alone would be hidden by the other
    assert strange(scores).tolist() == [20, 7]
    others = np.delete(scores, [7, 20])
    limit = others.mean() + stats.t.ppf(1 - 0.05 / 30, 27) * others.std(ddof=1) * math.sqrt(1 + 1 / 28)
    for score, found in ((limit - 0.01, 1), (limit + 0.01, 2)):
        scores[7] = score
        assert len(strange(scores)) == found


def test_strange_photos_use_up_their_part_of_the_share_and_the_others_set_the_threshold():
    others = stats.norm.ppf((np.arange(38) + 0.5) / 38)
    scores = np.append(others, 12.0)  # one of 40 is 2.5 %
    t = stats.t.ppf(1 - 0.075, 37)
    limit = others.mean() + t * others.std(ddof=1) * math.sqrt(1 + 1 / 38)
    assert threshold_at(scores, 0.1) == pytest.approx(limit)
    assert others.max() <= threshold_at(scores, 0.03) < 12  # it is all that may be above
    assert others.max() <= threshold_at(scores, 0.02) < 12  # a bit more than may be above
    assert threshold_at(scores, 0.01) == 12  # not even one may


@pytest.mark.parametrize(("draw", "most"), [("normal", 0.06), ("gumbel", 0.075), ("exponential", 0.11)])
@pytest.mark.parametrize("count", [15, 30])
def test_calling_photos_strange_hardly_rejects_more_than_asked_for(draw, most, count):
    draws = getattr(np.random.default_rng(1), draw)(size=(1000, count + 1))
    above = np.mean([scores[-1] > threshold_at(scores[:-1], 0.05) for scores in draws])
    assert 0.02 < above < most


@pytest.mark.parametrize(("count", "share"), [(3, 0.05), (6, 0.05), (6, 0.01), (15, 0.05)])
def test_about_as_many_good_parts_as_promised_are_above_it(count, share):
    rng = np.random.default_rng(count)
    draws = rng.normal(size=(4000, count + 1))
    above = np.mean([draw[-1] > threshold_at(draw[:-1], share) for draw in draws])
    assert above <= share + 3 * math.sqrt(share / 4000)
    assert above >= 0.5 * share


@pytest.mark.parametrize("successes, trials", ((0, 5), (3, 3), (2, 40), (1, 120), (0, 0)))
def test_the_exact_interval_of_a_share_is_scipys(successes, trials):
    wanted = stats.binomtest(successes, trials).proportion_ci(0.95, method="exact") if trials else (0, 1)
    assert clopper_pearson(successes, trials) == pytest.approx(tuple(wanted), abs=1e-12)
