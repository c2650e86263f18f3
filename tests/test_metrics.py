"""Every metric against scikit-learn, a case worked out by hand, or a literal transcription of its text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import beta
from sklearn.metrics import average_precision_score, roc_auc_score

from ulsad.detector.criterion import clopper_pearson, threshold_at
from ulsad.evaluation import metrics


@pytest.fixture
def photos() -> tuple[np.ndarray, np.ndarray]:
    """60 scores with ties, and labels."""
    rng = np.random.default_rng(4)
    labels = rng.random(60) < 0.4
    return np.round(rng.normal(size=60) + labels, 1), labels


@pytest.fixture(scope="module")
def maps() -> tuple[np.ndarray, np.ndarray]:
    """Six maps with ties, masks of several regions, some of them touching at corners only."""
    rng = np.random.default_rng(5)
    masks = ndimage.binary_dilation(rng.random((6, 40, 40)) < 0.01, structure=np.ones((1, 2, 3)))
    masks[0, 0, 0] = masks[0, 1, 1] = True
    masks[5] = False
    noise = ndimage.gaussian_filter(rng.normal(size=masks.shape), (0, 2, 2))
    return np.round(4 * noise + masks * rng.random(masks.shape), 2).astype(np.float32), masks


def test_image_metrics_are_scikit_learns(photos):
    scores, labels = photos
    assert metrics.auroc(*photos) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert metrics.average_precision(*photos) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-9)


def test_image_metrics_by_hand():
    scores, labels = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert metrics.auroc(scores, labels) == 3 / 4
    assert metrics.average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.best_f1(scores, labels) == (pytest.approx(0.8), pytest.approx(0.7))  # P 2/3, R 1
    assert np.isnan(metrics.auroc(scores, np.ones(4, bool)))


def test_pixel_auroc_is_scikit_learns(maps):
    scores, masks = maps
    assert metrics.pixel_metrics(*maps).auroc == pytest.approx(
        roc_auc_score(masks.ravel(), scores.ravel()), abs=1e-9)


def literal_aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """Bergmann et al. 2019, Sec. 4.3, threshold by threshold and region by region."""
    regions = []
    for i, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, structure=[[1, 1, 1], [1, 1, 1], [1, 1, 1]])
        regions += [(i, labelled == k) for k in range(1, count + 1)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        predicted = maps >= threshold
        false_rate = (predicted & ~masks).sum() / (~masks).sum()
        points.append((false_rate, np.mean([predicted[i][region].mean() for i, region in regions])))
    x, y = np.array(points).T
    grid = np.union1d(x[x <= 0.3], [0.3])
    # Several thresholds may share a rate; the curve then rises upright, which takes no area.
    area = sum((b - a) * (y[x <= a].max() + right(x, y, b)) / 2 for a, b in pairwise(grid))
    return area / 0.3


@pytest.fixture(scope="module")
def large_maps() -> tuple[np.ndarray, np.ndarray]:
    """Five maps, 0 and 3 of good photos, with enough pixels for a rate of 10⁻⁵, and with ties."""
    rng = np.random.default_rng(6)
    masks = np.zeros((5, 300, 300), bool)
    masks[1, 5:40, 7:30] = masks[2, 100:130, 100:180] = masks[4, 250:, 250:] = True
    maps = rng.normal(size=masks.shape) + masks * rng.uniform(0, 7, masks.shape)
    return np.round(maps, 2).astype(np.float32), masks


def test_aupimo_is_the_mean_recall_at_few_false_positives(large_maps):
    """Literally: for many rates on a logarithmic axis, the lowest threshold that keeps to the rate."""
    maps, masks = large_maps
    good = maps[[0, 3]].ravel()
    levels = np.unique(good)
    rates = np.array([(good > level).mean() for level in levels])
    recalls = []
    for rate in np.geomspace(1e-5, 1e-4, 4001)[:-1] * np.exp(np.log(10) / 8000):
        threshold = levels[rates <= rate][0]
        recalls.append([(maps[i][masks[i]] > threshold).mean() for i in (1, 2, 4)])
    assert metrics.aupimo(maps, masks) == pytest.approx(np.mean(recalls, axis=0), abs=1e-3)


def test_aupimo_of_a_perfect_map_and_of_none(large_maps):
    _, masks = large_maps
    assert metrics.aupimo(masks.astype(float), masks) == pytest.approx(np.ones(3))
    assert metrics.aupimo(1.0 - masks, masks).tolist() == [0, 0, 0]
    for chosen in ([0, 3], [1, 2]):
        with pytest.raises(ValueError, match="with and without"):
            metrics.aupimo(masks[chosen].astype(float), masks[chosen])


def right(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """The curve's value when it arrives at `at` from the left."""
    later = x >= at
    x1, y1 = x[later][0], y[later][0]
    x0, y0 = x[~later][-1], y[~later][-1]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def test_aupro_is_its_literal_transcription(maps):
    assert metrics.pixel_metrics(*maps).aupro == pytest.approx(literal_aupro(*maps), abs=1e-9)


def test_aupro_by_hand():
    """Two regions, of one and of three pixels; the small one is found first, then ten false pixels of 36."""
    masks = np.zeros((1, 5, 8), bool)
    masks[0, 0, 0] = True
    masks[0, 4, 5:] = True
    maps = np.zeros((1, 5, 8), np.float32)
    maps[0, 0, 0], maps[0, 4, 5:] = 3, 1
    maps[0, 2, :] = 2  # 8 of 36 false pixels before the large region
    # up to a rate of 8/36 half of the overlap, then all of it
    expected = (8 / 36 * 0.5 + (0.3 - 8 / 36) * 1.0) / 0.3
    assert metrics.pixel_metrics(maps, masks).aupro == pytest.approx(expected)


def test_perfect_maps_reach_one(maps):
    masks = maps[1]
    result = metrics.pixel_metrics(masks.astype(np.float32), masks)
    assert result.auroc == result.aupro == 1


def test_regions_that_touch_at_a_corner_are_one():
    mask = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 0]]], bool)
    np.testing.assert_allclose(metrics.region_weights(mask), mask / 2)


def test_clopper_pearson_is_the_beta_quantile():
    assert clopper_pearson(0, 30) == (0, pytest.approx(1 - 0.025 ** (1 / 30)))
    low, high = clopper_pearson(3, 20)
    assert (low, high) == (pytest.approx(beta.ppf(0.025, 3, 18)), pytest.approx(beta.ppf(0.975, 4, 17)))


def test_operating_point_counts():
    scores, labels = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([False, False, True, False, True])
    point = metrics.operating_point(scores, labels, threshold=3.0)
    assert point[1:5] == (1, 1, 1, 2)  # a score equal to the threshold passes
    assert point.false_reject_interval == clopper_pearson(1, 3)


def test_threshold_keeps_the_promised_share_of_held_out_photos():
    held_out = np.arange(40.0)
    for share in (0.0, 0.05, 0.1, 0.5):
        threshold = threshold_at(held_out, share)
        assert (held_out > threshold).mean() <= share
        assert (held_out > threshold - 1).mean() > share - 1e-9


def test_bootstrap_draws_give_the_metrics_of_the_drawn_photos(photos):
    scores, labels = photos
    counts = metrics._draws(np.random.default_rng(0), len(scores))[:20]
    values = metrics._weighted_average_precision(scores, labels, counts)
    for row, value in zip(counts.astype(int), values):
        drawn = np.repeat(np.arange(len(scores)), row)
        assert value == pytest.approx(average_precision_score(labels[drawn], scores[drawn]), abs=1e-9)


@pytest.mark.slow
def test_bootstrap_intervals_hold_the_value_and_agree_with_plain_resampling(photos):
    scores, labels = photos
    interval, of_precision = metrics.bootstrap(scores, labels)
    assert of_precision.low < metrics.average_precision(scores, labels) < of_precision.high
    rng = np.random.default_rng(9)
    good, bad = np.flatnonzero(~labels), np.flatnonzero(labels)
    drawn = [np.concatenate([rng.choice(good, len(good)), rng.choice(bad, len(bad))]) for _ in range(2000)]
    plain = np.quantile([roc_auc_score(labels[i], scores[i]) for i in drawn], (0.025, 0.975))
    np.testing.assert_allclose(interval, plain, atol=0.02)


def test_pixel_intervals_hold_the_values(maps):
    result = metrics.pixel_metrics(*maps)
    assert result.auroc_interval.low < result.auroc < result.auroc_interval.high
    assert result.aupro_interval.low < result.aupro < result.aupro_interval.high


def test_pixel_metrics_need_both_kinds_of_pixels(maps):
    with pytest.raises(ValueError):
        metrics.pixel_metrics(maps[0], np.zeros_like(maps[1]))
