"""Days: whether the good parts of each day still look as they did when the model was made."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import gradio as gr
import numpy as np

from ulsad.runs.drift import FEWEST, Day, Expected, Quartiles, quartiles
from ulsad.ui import batches
from ulsad.ui.batches import OpenBatch
from ulsad.ui.component import Update

BAND = [0.05, 0.25, 0.5, 0.75, 0.95]  # quantiles of good photos behind the days
_EMPTY = ("<p>No photos scored with this model yet. Photos that you drop on the left are counted here, day "
          "by day. Those of the demo and those that the model was made with are not.</p>")


def shown(key: str | None) -> Update:
    """The value of days.js for an open batch; nothing while the first one is still being scored."""
    return json.dumps(value(batches.recalled(key))) if key else gr.skip()


def value(opened: OpenBatch) -> dict[str, Any]:
    expected, days = opened.expected, opened.days
    return {"labels": [_short(day) for day in days],
            "counts": [day.count for day in days],
            "charts": [
                _chart("score", [(*day.scores, day.is_higher) for day in days], expected.scores,
                       expected.review),
                _chart("distance", [(*day.strangeness, day.is_stranger) for day in days],
                       expected.strangeness, None)],
            "words": _words(days, expected)}


def warning(opened: OpenBatch) -> str:
    """What to say before a verdict if the newest day has drifted, else ""."""
    return _changed(opened.days[-1], opened.expected) if opened.days else ""


def _changed(day: Day, expected: Expected) -> str:
    if not day.has_drifted:
        return ""
    found = []
    if day.is_higher:
        found.append(f"score higher than the good photos did: median {_pair(day.scores, expected.scores)}")
    if day.is_stranger:
        found.append("look less like the good photos than these look like each other: median distance "
                     f"{_pair(day.strangeness, expected.strangeness)}")
    return (f"Photos of {_long(day)} {'. They also '.join(found)}. Light, camera or parts may have changed, "
            "unless more than a fifth of them show defects.")


def _pair(found: Quartiles, good: np.ndarray) -> str:
    return f"{found.median:.2f} against {np.median(good):.2f}"


def _chart(name: str, days: list[tuple[float, float, float, bool]], good: np.ndarray,
           review: float | None) -> dict[str, Any]:
    band = np.quantile(good, BAND).tolist() if len(good) else None
    return {"name": name, "days": days, "band": band, "review": review}


def _words(days: list[Day], expected: Expected) -> str:
    """The newest day in numbers, and what they mean."""
    if not days:
        return _EMPTY
    day, others = days[-1], "" if len(days) > 1 else "No photos scored on other days yet."
    rows = [("photos", f"{day.count:,}", f"{len(expected.scores):,} held out"),
            ("score", _middle(day.scores), _middle_of(expected.scores)),
            ("distance", _middle(day.strangeness), _middle_of(expected.strangeness))]
    cells = "".join(f"<tr><th>{name}</th><td>{found}</td><td>{usual}</td></tr>"
                    for name, found, usual in rows)
    return (f"<p>{' '.join(filter(None, [_verdict(day, expected), _left_out(day), others]))}</p>"
            f"<table class='numbers'><tr><th></th><th>{_long(day)}</th><th>good photos</th></tr>{cells}"
            "</table><p><small>Medians, and the middle half of the photos, under the model's own settings; "
            "grey has 90 % of the good photos. ▲: good parts have changed. A fifth of a day's photos may "
            "show defects without that. The distance is that from the most similar of "
            f"{len(expected.strangeness)} good photos in the model.</small></p>")


def _left_out(day: Day) -> str:
    return (f"{day.left_out:,} more are left out: marked as defects, or like none of the good photos."
            if day.left_out else "")


def _verdict(day: Day, expected: Expected) -> str:
    if not day.is_enough:
        return f"Too few photos to tell whether good parts have changed: it takes {FEWEST}."
    return _changed(day, expected) or "No sign that good parts have changed."


def _middle(found: Quartiles) -> str:
    return f"{found.median:.2f} <small>{found.low:.2f} to {found.high:.2f}</small>"


def _middle_of(good: np.ndarray) -> str:
    return _middle(quartiles(good)) if len(good) else "–"


def _long(day: Day) -> str:
    of = date.fromisoformat(day.day)
    return f"{of.day} {of:%B}"


def _short(day: Day) -> str:
    of = date.fromisoformat(day.day)
    return f"{of.day} {of:%b}"
