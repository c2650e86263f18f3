"""The maps of a lesson by name, and histograms of held-out pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ulsad.attention.lesson import Lesson
from ulsad.method.calibration import LEVELS, Calibration, Normalisation, QuantileFunction, Transform

BINS = 48  # of the histograms of held-out pixels
STAGES = {"whitened": "whitened", "relative": "relative", "bank": "nearest good patch", "used": "in use"}


def maps_of(lesson: Lesson) -> list[tuple[str, str, np.ndarray]]:
    """Name, title and values (h*, w*) of every map before Eq. 9."""
    found = []
    for branch, number, stages in (("local", 7, lesson.local), ("global", 8, lesson.global_)):
        for stage in stages:
            title = f"M<sup>{branch[0]}</sup> (Eq. {number})"
            if stage.is_beyond:
                title = f"{STAGES[stage.name]} <em>beyond</em>"
            found.append((f"{branch} {stage.name}", title, stage.distances))
    if lesson.attention_error is not None:
        found.append(("error", "Â against A (Eq. 5)", lesson.attention_error))
    return found


def normalised(lesson: Lesson) -> list[tuple[str, str, np.ndarray]]:
    """Name, title and values (s, s) of the maps after Eq. 9."""
    maps = lesson.maps
    found = [("local normalised", "t(M<sup>l</sup>)", maps.local)]
    if maps.global_ is not None:
        found.append(("global normalised", "t(M<sup>g</sup>)", maps.global_))
    return [*found, ("combined", "Combined", maps.combined)]


def histograms(calibration: Calibration, normalisation: Normalisation) -> list[dict[str, Any]]:
    """Of held-out good pixels, with both quantiles, for each branch."""
    found = [_histogram("held-out local", "local", calibration.local, normalisation.local)]
    if calibration.global_ is not None and normalisation.global_ is not None:
        found.append(_histogram("held-out global", "global", calibration.global_, normalisation.global_))
    return found


def level_at(lesson: Lesson, branch: str, raw: float) -> float:
    """The share of held-out good pixels of a branch, "local" or "global", below a raw value."""
    quantiles = lesson.calibration.local if branch == "local" else lesson.calibration.global_
    assert quantiles is not None
    return float(np.interp(raw, quantiles.values, LEVELS))


def _histogram(name: str, branch: str, quantiles: QuantileFunction, transform: Transform) -> dict[str, Any]:
    low, high = float(quantiles.values[0]), float(quantiles.values[-1])
    edges = np.linspace(low, high, BINS + 1)
    below = np.interp(edges, quantiles.values, LEVELS)
    counts = np.log1p(1e4 * np.diff(below).clip(0))  # as in Inspect: most pixels lie in the first bars
    return {"name": name, "branch": branch, "heights": (counts / max(counts.max(), 1e-12)).round(3).tolist(),
            "low": low, "high": high, "q_alpha": transform.q_alpha, "q_beta": transform.q_beta}
