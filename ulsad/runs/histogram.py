"""A histogram of scores as an SVG fragment for light or dark pages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ulsad.runs.outcome import Outcome

BINS = 32
_LEFT, _RIGHT, _TOP, _BAND = 155, 735, 34, 74  # px
_TICKS = (0, *(digit * 10**power for power in range(-1, 6) for digit in (1, 2, 5)))


def score_histogram(outcome: Outcome) -> str:
    """Histograms of held-out good photos, good test photos and defects, with both thresholds.

    An SVG fragment in the colour of the surrounding text: one band per sort of photo; hovering over a bar
    shows its count. The axis is linear near 0, then logarithmic, as scores span decades.
    """
    sorts = [(name, style, np.array([one.combined for one in scores])) for name, style, scores in (
        ("held-out good photos", "fill-opacity='.4'", outcome.held_out),
        ("good test photos", "fill='none' stroke='currentColor'", outcome.good),
        ("defects", "", outcome.defects)) if scores]
    review, fail = outcome.criterion.review, outcome.criterion.fail
    every = np.concatenate([[0, 0.2, review, fail], *(scores for *_, scores in sorts)])
    axis = _Axis(float(_at(every.min())), float(_at(1.15 * every.max())))
    bottom = _TOP + _BAND * len(sorts)
    bands = "".join(_band(*sort, axis, _TOP + _BAND * i) for i, sort in enumerate(sorts, start=1))
    return (f"<svg viewBox='0 0 {_RIGHT + 10} {bottom + 38}' role='img' aria-label='histogram of scores' "
            "fill='currentColor' font-size='12' style='width: 100%; max-width: 46rem; height: auto'>"
            f"{bands}{_scale(axis, bottom)}"
            + _line(f"fail above {fail:.3f}", axis.px(fail), 2, bottom, "stroke='#d1483f'")
            + _line(f"review above {review:.3f}", axis.px(review), 17, bottom,
                    "stroke='#b07a00' stroke-dasharray='5 3'") + "</svg>")


class _Axis(NamedTuple):
    low: float  # both ends on the scale of `_at`
    high: float

    def px(self, score: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * float((_at(score) - self.low) / (self.high - self.low))


def _at(score: float | np.ndarray) -> np.ndarray:
    return np.arcsinh(np.asarray(score) / 0.1)


def _band(name: str, style: str, scores: np.ndarray, axis: _Axis, bottom: float) -> str:
    """The bars of one sort of photo, each band with its own count scale."""
    counts, edges = np.histogram(_at(scores), BINS, axis)
    step, height = (_RIGHT - _LEFT) / BINS, (_BAND - 12) / counts.max()
    bars = "".join(
        f"<rect x='{_LEFT + i * step + 1:.1f}' y='{bottom - height * count:.1f}' width='{step - 2:.1f}' "
        f"height='{height * count:.1f}' {style}><title>{count} of {len(scores)} {name}: scores from "
        f"{0.1 * np.sinh(edges[i]):.3f} to {0.1 * np.sinh(edges[i + 1]):.3f}</title></rect>"
        for i, count in enumerate(counts) if count)
    return (f"{_text(0, bottom - 24, f'{len(scores)} {name}')}"
            f"{_text(0, bottom - 8, f'tallest bar: {counts.max()}')}"
            f"{bars}<path d='M{_LEFT},{bottom}H{_RIGHT}' stroke='currentColor' stroke-opacity='.5'/>")


def _scale(axis: _Axis, bottom: float) -> str:
    drawn = [_text(0, bottom + 16, "score")]
    last = 0.0
    for tick in _TICKS:
        if axis.low <= _at(tick) <= axis.high and axis.px(tick) > last + 28:
            last = axis.px(tick)
            drawn.append(_text(last, bottom + 16, f"{tick:g}", "middle"))
    return "".join(drawn)


def _line(label: str, x: float, top: float, bottom: float, style: str) -> str:
    """A threshold, labelled to its left, above the top of a lower threshold's line."""
    return (f"<path d='M{x:.1f},{top}V{bottom}' stroke-width='2' {style}/>"
            + _text(x - 5, top + 10, label, "end"))


def _text(x: float, y: float, content: str, anchor: str = "start") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{content}</text>"
