"""Metrics of how well scores and maps separate defects from good parts. Numpy, scikit-learn and scipy only.

Scores are floats, higher means more anomalous; labels are bool, True for a defect. All values are exact:
every distinct score is a threshold, and nothing is sampled or binned except for the intervals of pixel
metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import scipy

from ulsad.detector.criterion import Interval, clopper_pearson

FALSE_POSITIVE_LIMIT = 0.3  # upper integration limit of AUPRO (Bergmann et al. 2019)
FEW_FALSE_POSITIVES = (1e-5, 1e-4)  # integration limits of AUPIMO (Bertoldo et al. 2024)
_REPLICATES = 2000


class OperatingPoint(NamedTuple):
    """Photos with a score above the threshold are rejected."""

    threshold: float
    true_rejects: int  # defects, rejected
    false_rejects: int  # good parts, rejected
    misses: int  # defects, passed
    true_passes: int  # good parts, passed
    false_reject_interval: Interval  # 95 %, Clopper-Pearson, of the share of good parts rejected
    detection_interval: Interval  # the same for the share of defects rejected


class PixelMetrics(NamedTuple):
    auroc: float
    aupro: float
    aupimo: float  # mean over the photos with a mask
    auroc_interval: Interval  # 95 %, bootstrap over photos
    aupro_interval: Interval
    aupimo_interval: Interval
    aupro_of: dict[str, float]  # AUPRO of the asked subsets of photos; NaN for one without masks


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a defect scores above a good part, ties count half: in [0, 1]; NaN without both
    classes."""
    from sklearn.metrics import roc_auc_score  # imported here, as it takes half a second

    return float(roc_auc_score(labels, scores)) if 0 < labels.sum() < len(labels) else float("nan")


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean precision over recall steps; chance level is the share of defects. NaN without both classes."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if 0 < labels.sum() < len(labels) else float("nan")


def best_f1(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The largest F1 over all thresholds, and its threshold; scores at or above it are rejected.

    It is chosen with the test labels, so a threshold set beforehand can't be expected to reach it.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1[:-1].argmax())
    return float(f1[best]), float(thresholds[best])


def operating_point(scores: np.ndarray, labels: np.ndarray, threshold: float) -> OperatingPoint:
    """The confusion matrix at a threshold chosen without these photos."""
    rejected = scores > threshold
    true, false = int((rejected & labels).sum()), int((rejected & ~labels).sum())
    defects, good = int(labels.sum()), int((~labels).sum())
    return OperatingPoint(threshold, true, false, defects - true, good - false,
                          clopper_pearson(false, good), clopper_pearson(true, defects))


def bootstrap(scores: np.ndarray, labels: np.ndarray, seed: int = 0) -> tuple[Interval, Interval]:
    """95 % bootstrap intervals of AUROC and average precision over 2,000 draws of the photos.

    Good and defective photos are drawn separately, so their numbers stay the same. The interval describes
    this detector on other photos, not the variation between training seeds.
    """
    good, bad = scores[~labels], scores[labels]
    rng = np.random.default_rng(seed)
    good_counts, bad_counts = (_draws(rng, len(part)) for part in (good, bad))
    wins = (bad[:, None] > good) + 0.5 * (bad[:, None] == good)
    areas = ((bad_counts @ wins) * good_counts).sum(axis=1) / (len(good) * len(bad))
    counts = np.zeros((_REPLICATES, len(scores)))
    counts[:, ~labels], counts[:, labels] = good_counts, bad_counts
    return _middle(areas), _middle(_weighted_average_precision(scores, labels, counts))


def _draws(rng: np.random.Generator, count: int) -> np.ndarray:
    """(replicates, count): how often each photo is drawn."""
    return rng.multinomial(count, np.full(count, 1 / count), size=_REPLICATES).astype(float)


def _middle(values: np.ndarray) -> Interval:
    return Interval(*map(float, np.quantile(values, (0.025, 0.975))))


def _weighted_average_precision(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average precision for every row of `counts` (r, n), which says how often each photo counts."""
    order = np.argsort(-scores, kind="stable")
    ends = _ends_of_ties(scores[order])
    rejected = counts[:, order].cumsum(axis=1)[:, ends]
    true = (counts * labels)[:, order].cumsum(axis=1)[:, ends]
    steps = np.diff(true, axis=1, prepend=0)
    return (steps * true / np.maximum(rejected, 1)).sum(axis=1) / true[:, -1]


def _ends_of_ties(descending: np.ndarray) -> np.ndarray:
    """Indices of the last of equal scores, the only possible positions of a threshold."""
    return np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)


def pixel_metrics(
    maps: np.ndarray, masks: np.ndarray, seed: int = 0,
    subsets: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> PixelMetrics:
    """Pixel AUROC, AUPRO and AUPIMO of maps (n, h, w) against bool masks (n, h, w), and their intervals.

    `subsets` are bool (n,). AUPIMO is NaN if every photo has a mask. Raises `ValueError` if the masks mark no
    pixel or all pixels.
    """
    overlap, order = region_weights(masks), np.argsort(maps, axis=None)[::-1]
    curve = _pixel_curve(maps, masks, overlap, order)
    per_photo = np.full(1, np.nan) if masks.any(axis=(1, 2)).all() else aupimo(maps, masks)
    photo = order // maps[0].size
    of_subsets = {name: _aupro(_pixel_curve(maps, masks, overlap, order[kept[photo]]))
                  if masks[kept].any() else np.nan for name, kept in subsets.items()}
    return PixelMetrics(float(np.trapezoid(curve.true, curve.false)), _aupro(curve), float(per_photo.mean()),
                        *_pixel_intervals(maps, masks, overlap, seed), _mean_interval(per_photo, seed),
                        of_subsets)


def aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """AUPRO of maps (n, h, w) against bool masks (n, h, w).

    It is the area under the per-region overlap (Bergmann et al. 2019). For every threshold, the overlap is
    the share of a defect region above it, averaged over all 8-connected regions. It is plotted against the
    false positive rate, the share of all other pixels above the threshold, and integrated up to a rate of
    0.3, divided by 0.3, so that 1 is perfect. Raises `ValueError` if the masks mark no pixel or all pixels.
    """
    return _aupro(_pixel_curve(maps, masks, region_weights(masks), np.argsort(maps, axis=None)[::-1]))


class _PixelCurve(NamedTuple):
    """Shares above every threshold, from (0, 0, 0) to (1, 1, 1)."""

    false: np.ndarray  # of the pixels outside regions
    true: np.ndarray  # of the pixels in regions
    regions: np.ndarray  # of a region, in the mean over all regions


def _aupro(curve: _PixelCurve) -> float:
    return _area_up_to(curve.false, curve.regions, FALSE_POSITIVE_LIMIT)


def _pixel_curve(
    maps: np.ndarray, masks: np.ndarray, overlap: np.ndarray, order: np.ndarray
) -> _PixelCurve:
    """Over the pixels at the flat indices `order`, from the highest to the lowest."""
    if not masks.any() or masks.all():
        raise ValueError("pixel metrics need pixels of both kinds")
    ends = _ends_of_ties(maps.ravel()[order])
    true = masks.ravel()[order].cumsum()[ends]
    counts = ends + 1 - true, true, overlap.ravel()[order].cumsum()[ends]
    return _PixelCurve(*(np.concatenate([[0], count / count[-1]]) for count in counts))


def aupimo(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Area under the per-image overlap (Bertoldo et al., arXiv 2401.01984): float64 (d,) for the d photos
    with a mask, each in [0, 1].

    A photo's overlap is the share of its mask above a threshold. It is averaged over thresholds at which a
    share F of the pixels of photos *without* a mask lies above, with log F uniform from 10⁻⁵ to 10⁻⁴. So its
    false positives come from good photos alone, and so few of them that a person could look at them all.
    Raises `ValueError` without photos of both kinds.
    """
    has_mask = masks.any(axis=(1, 2))
    if not has_mask.any() or has_mask.all():
        raise ValueError("AUPIMO needs photos with and without a mask")
    good = maps[~has_mask].ravel()
    lowest, highest = FEW_FALSE_POSITIVES
    count = np.arange(int(highest * good.size) + 1)  # of false positives: those up to the limit
    thresholds = np.sort(np.partition(good, -len(count))[-len(count):])[::-1]
    edges = np.append(count, len(count)) / good.size
    weights = np.diff(np.log(np.clip(edges, lowest, highest))) / np.log(highest / lowest)
    return np.array([np.mean(map_[mask][:, None] > thresholds, axis=0) @ weights
                     for map_, mask in zip(maps[has_mask], masks[has_mask], strict=True)])


def region_weights(masks: np.ndarray) -> np.ndarray:
    """float64, like `masks` (n, h, w): 1 / size of the pixel's 8-connected region, or 0 outside regions.

    The sum of the weights above a threshold is the sum of all regions' overlaps.
    """
    weights = np.zeros(masks.shape)
    for mask, weight in zip(masks, weights, strict=True):
        regions, _ = scipy.ndimage.label(mask, structure=np.ones((3, 3)))
        sizes = np.bincount(regions.ravel())
        weight[mask] = 1 / sizes[regions[mask]]
    return weights


def _area_up_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Area below the line through (x, y) from x = 0 to `limit`, divided by `limit`; x ascends from 0 to 1."""
    inside = np.clip(x, 0, limit)
    width, rise = np.diff(x), np.diff(y)
    share = np.divide(np.diff(inside), width, out=np.zeros_like(width), where=width > 0)
    right = y[:-1] + share * rise  # value at the segment's end, or at the limit if it cuts the segment
    return float((np.diff(inside) * (y[:-1] + right) / 2).sum() / limit)


def _pixel_intervals(
    maps: np.ndarray, masks: np.ndarray, overlap: np.ndarray, seed: int
) -> tuple[Interval, Interval]:
    """Bootstrap over photos, with the curves at 2,000 thresholds, half of them in the top 5 %."""
    rng = np.random.default_rng(seed)
    sample = rng.choice(maps.ravel(), min(maps.size, 400_000))
    levels = np.concatenate([np.linspace(0, 0.95, 1000), np.linspace(0.95, 1, 1001)[1:]])
    edges = np.unique(np.quantile(sample, levels))
    false, true, regions = (np.empty((len(maps), len(edges) + 1)) for _ in range(3))
    for i, (scores, mask, weights) in enumerate(zip(maps, masks, overlap, strict=True)):
        bins = len(edges) - np.searchsorted(edges, scores.ravel())  # the highest scores come first
        size = len(edges) + 1
        false[i] = np.bincount(bins, ~mask.ravel(), size)
        true[i] = np.bincount(bins, mask.ravel(), size)
        regions[i] = np.bincount(bins, weights.ravel(), size)
    areas, overlaps = [], []
    for counts in _draws(rng, len(maps))[:_REPLICATES // 4]:
        if not counts @ true.sum(axis=1):
            continue  # a draw without defects
        rate, hits, covered = (_curve(counts @ part) for part in (false, true, regions))
        areas.append(np.trapezoid(hits, rate))
        overlaps.append(_area_up_to(rate, covered, FALSE_POSITIVE_LIMIT))
    return _middle(np.array(areas)), _middle(np.array(overlaps))


def _mean_interval(values: np.ndarray, seed: int) -> Interval:
    """Bootstrap of a mean over photos."""
    return _middle(_draws(np.random.default_rng(seed), len(values)) @ values / len(values))


def _curve(counts: np.ndarray) -> np.ndarray:
    total = counts.cumsum()
    return np.concatenate([[0], total / total[-1]])
