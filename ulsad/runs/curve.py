"""Would more photos help? What half and twice as many good photos would change, from the scores of those held
out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ulsad.detector.criterion import FALSE_REJECT, Interval, rejected, threshold_at
from ulsad.detector.detector import Ulsad
from ulsad.evaluation import metrics

DRAWS = 200
FACTORS = (0.5, 1.0, 2.0)
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 420, 14, 150  # px


class Point(NamedTuple):
    """What so many held-out good photos allow. The networks are those of all photos each time."""

    photos: int
    promised: float  # with 95 % confidence, at most this share of good parts is above 'review'
    detected: float  # share of self-made defects above 'review'; NaN without any
    auroc: Interval  # of self-made defects against good photos: 95 % of draws lie within; NaN without any
    is_extrapolated: bool  # as if more photos had the scores of these


def learning_curve(
    held_out: np.ndarray, self_made: np.ndarray, false_reject: float = FALSE_REJECT, seed: int = 0
) -> list[Point]:
    """For half, all and twice as many photos as the n ≥ 4 held-out scores: means over `DRAWS` draws from
    these, for half of them without repetition, for twice as many with it."""
    rng, points = np.random.default_rng(seed), []
    for factor in FACTORS:
        count = round(factor * len(held_out))
        drawn = [held_out] if factor == 1 else [
            rng.choice(held_out, count, replace=factor > 1) for _ in range(DRAWS)]
        thresholds = [threshold_at(scores, false_reject) for scores in drawn]
        promised = np.mean([rejected(scores, threshold)[1].high
                            for scores, threshold in zip(drawn, thresholds, strict=True)])
        points.append(Point(count, float(promised), _detected(self_made, thresholds),
                            _auroc(held_out, self_made, count, rng), factor > 1))
    return points


class Measured(NamedTuple):
    """What a training on so many good photos came to."""

    photos: int
    auroc: float  # of self-made defects against the held-out good photos
    points: list[Point]


def measured(detector: Ulsad) -> Measured:
    """For a model of a training that looked at self-made defects, see `standstill`."""
    held_out = detector.calibration.held_out_scores(detector.config.alpha, detector.config.beta)[:, 0]
    self_made = np.array(detector.record["self_made"])
    labels = np.repeat([False, True], [len(held_out), len(self_made)])
    photos = set(detector.record["digests"]["train"]) | set(detector.record["digests"]["held_out"])
    return Measured(len(photos), metrics.auroc(np.concatenate([held_out, self_made]), labels),
                    learning_curve(held_out, self_made))


def curve_table(half: Measured, everything: Measured) -> str:
    """Both, and twice as many photos, extrapolated: the missing part of the AUROC shrinks by the same factor
    again, if it did at all."""
    missing = 1 - everything.auroc
    doubled = 1 - missing * min(1.0, missing / max(1 - half.auroc, 1e-9))
    rows = [(str(one.photos), f"{one.auroc:.1%}", f"{one.points[1].promised:.1%}")
            for one in (half, everything)]
    rows.append((f"{2 * everything.photos} (extrapolated)", f"{doubled:.1%}",
                 f"{everything.points[2].promised:.1%}"))
    head = ("good photos", "AUROC of self-made defects", "good parts above review: at most")
    return "\n".join(f"{a:>20}  {b:>26}  {c:>32}" for a, b, c in (head, *rows))


def _detected(self_made: np.ndarray, thresholds: list[float]) -> float:
    if not len(self_made):
        return float("nan")
    return float(np.mean([(self_made > threshold).mean() for threshold in thresholds]))


def _auroc(held_out: np.ndarray, self_made: np.ndarray, count: int, rng: np.random.Generator) -> Interval:
    """95 % of the AUROCs of so many good photos, drawn with repetition, against as many defects as there
    are, drawn likewise."""
    if not len(self_made):
        return Interval(float("nan"), float("nan"))
    areas = [(rng.choice(self_made, len(self_made))[:, None] > rng.choice(held_out, count)).mean()
             for _ in range(DRAWS)]  # equal scores don't occur
    return Interval(*map(float, np.quantile(areas, [0.025, 0.975])))


def curve_html(points: list[Point]) -> str:
    """The points as a plot and a table, an HTML fragment in the colour of the surrounding text."""
    half, now, double = points
    rows = "".join(
        f"<tr><th>{one.photos}{' (extrapolated)' if one.is_extrapolated else ''}</th>"
        f"<td>{one.promised:.1%}</td>{_cells(one)}</tr>" for one in points)
    made = "" if np.isnan(now.detected) else "<th>self-made defects above review</th><th>their AUROC</th>"
    return (f"<p>With {double.photos} instead of {now.photos} held-out good photos, the promise would be 'at "
            f"most {double.promised:.1%}' instead of {now.promised:.1%}; with {half.photos} it would be "
            f"{half.promised:.1%}.</p>{_plot(points)}"
            f"<table class='numbers'><tr><th>photos</th><th>good parts above review: at most</th>{made}</tr>"
            f"{rows}</table><p><small>From the scores of the held-out good photos"
            f"{', and of copies of them that were damaged on purpose' if made else ''}. More photos would "
            "also show the networks more variation, which does not count here: "
            "<code>python -m ulsad check PHOTOS --curve</code> trains on half of them to measure it.</small>"
            "</p>")


def _cells(one: Point) -> str:
    if np.isnan(one.detected):
        return ""
    return f"<td>{one.detected:.0%}</td><td>{one.auroc.low:.1%} to {one.auroc.high:.1%}</td>"


def _plot(points: list[Point]) -> str:
    """The promised shares over the number of photos (logarithmic), dashed where extrapolated."""
    top = max(one.promised for one in points)

    def x(photos: int) -> float:
        low, high = np.log(points[0].photos), np.log(points[-1].photos)
        return _LEFT + (_RIGHT - _LEFT) * float((np.log(photos) - low) / (high - low))

    def y(share: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * share / top

    at = [(x(one.photos), y(one.promised)) for one in points]
    lines = "".join(
        f"<path d='M{a[0]:.1f},{a[1]:.1f}L{b[0]:.1f},{b[1]:.1f}' stroke='currentColor' fill='none' "
        f"stroke-width='2' stroke-dasharray='{'5 4' if one.is_extrapolated else 'none'}'/>"
        for a, b, one in zip(at, at[1:], points[1:]))
    dots = "".join(
        f"<circle cx='{px:.1f}' cy='{py:.1f}' r='4' fill-opacity='{0.4 if one.is_extrapolated else 1}'/>"
        f"<text x='{px:.1f}' y='{py - 9:.1f}' text-anchor='middle'>{one.promised:.1%}</text>"
        f"<text x='{px:.1f}' y='{_BOTTOM + 18}' text-anchor='middle'>{one.photos} photos</text>"
        for (px, py), one in zip(at, points))
    return (f"<svg viewBox='0 -8 {_RIGHT + 50} {_BOTTOM + 34}' role='img' aria-label='at most this share of "
            "good parts is above review, by the number of photos' fill='currentColor' font-size='12' "
            "style='width: 100%; max-width: 30rem; height: auto'>"
            f"<path d='M{_LEFT - 30},{_BOTTOM}H{_RIGHT + 30}' stroke='currentColor' stroke-opacity='.5'/>"
            f"{lines}{dots}</svg>")
