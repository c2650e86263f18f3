"""What Inspect shows of an open batch: values for charts and table, and the text beside them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ulsad.detector.batch import SEEN, Judged, strange_photos_warning, tally
from ulsad.detector.criterion import (
    BOTH,
    FALSE_REJECT,
    GLOBAL,
    LINES,
    LOCAL,
    NEITHER,
    PASS,
    Criterion,
    photos_for,
    promise,
    rejected,
)
from ulsad.detector.detector import Ulsad
from ulsad.method.calibration import LEVELS, Combination, QuantileFunction
from ulsad.runs.marks import Mark
from ulsad.ui import batches, places
from ulsad.ui.batches import OpenBatch
from ulsad.ui.inspect import days, viewer

ROWS = 200  # of the table; redrawing thousands at every move of a slider is slow
POINTS = 2000  # of the scatter plot
ENOUGH = 2 * FALSE_REJECT  # share of good parts above 'review' that may be promised without a hint
ALL = "all"  # a filter's choice
DRAWN = 8  # values that `Controls.draw` returns


class Controls(NamedTuple):
    """All inputs that determine the display, in the order of the events' inputs."""

    key: str  # of the open batch
    photo: int  # its index
    alpha: float
    beta: float
    weight: float
    kind: str
    lines: dict[str, float]  # the thresholds, by the names of `criterion.LINES`
    contrast: bool
    of_verdict: str
    of_branch: str

    def draw(self) -> tuple[str, ...]:
        """JSON values for viewer, scores, scatter, pixels and table; HTML of summary, promise and marks.

        Runs no network.
        """
        opened = batches.recalled(self.key)
        if self.photo >= len(opened.batch):  # an index into the previous batch
            return self._replace(photo=0).draw()
        chosen = criterion(*self[2:7])
        judged = opened.batch.judged(chosen)
        held_out = opened.detector.calibration.held_out_scores(chosen.alpha, chosen.beta, chosen.combine)
        values = (viewer.value(opened, self.photo, chosen, self.contrast),
                  _scores_value(judged, held_out, chosen),
                  _scatter_value(judged, chosen, self.photo),
                  _pixels_value(opened, chosen),
                  _table_value(opened, judged, self.photo, self.of_verdict, self.of_branch))
        return (*map(json.dumps, values), _summary(opened, judged, chosen, self.photo),
                _promise(held_out, chosen), _tally(opened, judged))


    def listed(self) -> list[int]:
        """Indices of the photos that the filters leave in the list, strangest first."""
        judged = batches.recalled(self.key).batch.judged(criterion(*self[2:7]))
        return _listed(judged, self.of_verdict, self.of_branch)


def criterion(alpha: float, beta: float, weight: float, kind: str, lines: dict[str, float]) -> Criterion:
    return Criterion(alpha, beta, Combination(kind, weight), review=lines["review"], fail=lines["fail"],
                     local=lines["local"], global_=lines["global_"])


def suggested_lines(
    detector: Ulsad, alpha: float, beta: float, weight: float, kind: str, target: float
) -> dict[str, float]:
    """The thresholds suggested from held-out good photos, see `Criterion.suggested`."""
    suggested = Criterion.suggested(detector.calibration, alpha, beta, Combination(kind, weight), target)
    return {name: getattr(suggested, name) for name in LINES}


def _scores_value(judged: list[Judged], held_out: np.ndarray, criterion: Criterion) -> dict[str, Any]:
    # Unrounded: the highest score of a held-out photo may be the threshold itself.
    return {"held_out": held_out[:, 0].tolist(), "batch": [of.score for of in judged],
            "review": criterion.review, "fail": criterion.fail}


def _scatter_value(judged: list[Judged], criterion: Criterion, index: int) -> dict[str, Any]:
    """The strangest photos, and last the selected one, so that it is drawn on top."""
    shown = sorted(range(len(judged)), key=lambda i: (i != index, -judged[i].score))[:POINTS][::-1]
    points = [[i, round(judged[i].local_score, 4), _number(judged[i].global_score), judged[i].verdict]
              for i in shown]
    return {"points": points, "selected": index,
            "local": criterion.local, "global": _number(criterion.global_)}


def _number(value: float) -> float | None:
    """None instead of NaN (a model without a global branch), which JSON lacks."""
    return None if math.isnan(value) else round(value, 4)


def _pixels_value(opened: OpenBatch, criterion: Criterion) -> list[dict[str, Any]]:
    calibration = opened.detector.calibration
    named = [("Local", calibration.local), ("Global", calibration.global_)]
    return [{"name": name, "q_alpha": quantiles(criterion.alpha), "q_beta": quantiles(criterion.beta)}
            | _histogram(quantiles) for name, quantiles in named if quantiles]


def _histogram(quantiles: QuantileFunction, bins: int = 70) -> dict[str, Any]:
    """Shares of held-out pixels in even steps of the distance, on a logarithmic scale from 1e-6."""
    low, high = map(float, quantiles.values[[0, -1]])
    high = max(high, low + 1e-9)
    below = np.interp(np.linspace(low, high, bins + 1), quantiles.values, LEVELS)
    heights = 1 + np.log10(np.clip(np.diff(below), 1e-6, 1)) / 6
    return {"heights": heights.round(3).tolist(), "low": low, "high": high}


def _table_value(
    opened: OpenBatch, judged: list[Judged], index: int, of_verdict: str, of_branch: str
) -> dict[str, Any]:
    kept = _listed(judged, of_verdict, of_branch)
    return {"rows": [_row(opened, judged[i], i) for i in kept[:ROWS]], "total": len(kept), "selected": index}


def _listed(judged: list[Judged], of_verdict: str, of_branch: str) -> list[int]:
    kept = [i for i, of in enumerate(judged)
            if of_verdict in (ALL, of.verdict) and of_branch in (ALL, of.fired)]
    return sorted(kept, key=lambda i: -judged[i].score)


def _row(opened: OpenBatch, judged: Judged, index: int) -> dict[str, Any]:
    global_ = "–" if math.isnan(judged.global_score) else f"{judged.global_score:.2f}"
    return {"index": index, "name": opened.batch.names[index],
            "thumbnail": places.address(opened.thumbnail(index)),
            "score": f"{judged.score:.3f}", "local": f"{judged.local_score:.2f}", "global": global_,
            "verdict": judged.verdict, "fired": judged.fired,
            "seen_in": opened.detector.seen_in(opened.batch.predictions[index]),
            "notes": opened.batch.predictions[index].notes,
            "mark": _mark(opened.marked.get(opened.batch.predictions[index].digest))}


def _mark(mark: Mark | None) -> str:
    """What a person said of the photo."""
    if mark is None:
        return ""
    if mark.is_good:
        return "marked good"
    return f"marked as a defect{mark.kind and f': {mark.kind}'}{mark.mask and ', painted'}"


def marked(opened: OpenBatch, judged: list[Judged]) -> list[tuple[Judged, Mark]]:
    """The open photos that a person has marked."""
    pairs = ((one, opened.marked.get(prediction.digest))
             for one, prediction in zip(judged, opened.batch.predictions, strict=True))
    return [(one, mark) for one, mark in pairs if mark]


def _tally(opened: OpenBatch, judged: list[Judged]) -> str:
    """How often the model is right on the open photos that are marked."""
    if not opened.marked:
        return "<p>Nothing is marked yet.</p>"
    found = marked(opened, judged)
    rows = "".join(
        f"<tr><th>{title}</th><td>{sum(one.verdict == PASS for one in ones)}</td>"
        f"<td>{sum(one.verdict != PASS for one in ones)}</td></tr>"
        for title, ones in (("good", [one for one, mark in found if mark.is_good]),
                            ("defects", [one for one, mark in found if not mark.is_good])))
    elsewhere = len(opened.marked) - len({mark.digest for _, mark in found})
    more = f"<p>{elsewhere} more marked photos are not open.</p>" if elsewhere else ""
    return (f"<table class='numbers'><tr><th>marked</th><th>pass</th><th>review or fail</th></tr>{rows}"
            f"</table>{more}")


_FIRED = {
    NEITHER: "Neither branch fired.",
    LOCAL: "The <b>local</b> branch fired: some patches look like none of the good parts. That may be a "
           "scratch, a dent or dirt, or a part that does not belong there.",
    GLOBAL: "Only the <b>global</b> branch fired: the photo as a whole differs from good parts, but no "
            "single patch does. Its map shows the place only roughly.",
    BOTH: "<b>Both</b> branches fired: some patches look like none of the good parts, and the photo as a "
          "whole differs too, as when a part is missing or misplaced, or the damage is large.",
}


def _summary(opened: OpenBatch, judged: list[Judged], criterion: Criterion, index: int) -> str:
    """The verdict on one photo, branch by branch, and how many verdicts the sliders have changed."""
    one = judged[index]
    prediction = opened.batch.predictions[index]
    seen_in = opened.detector.seen_in(prediction)
    notes = "".join(f"<div class='note'>⚠ {escape(note)}</div>" for note in _notes(opened, index))
    warning = f" <b>Note: {SEEN[seen_in]}.</b>" if seen_in else ""
    rows = [("Combined", one.score, criterion.review),
            ("Local", one.local_score, criterion.local)]
    if not math.isnan(one.global_score):
        rows.append(("Global", one.global_score, criterion.global_))
    cells = "".join(
        f"<div class='score {'fired' if score > threshold else ''}'><b>{name}</b><span>{score:.2f}</span>"
        f"<small>{_times(score, threshold)}</small></div>" for name, score, threshold in rows)
    return (f"{notes}<p class='flips'>{_flips(opened, judged, criterion)}</p>"
            f"<div class='verdict'><span class='{one.verdict}'>{one.verdict.upper()}</span> "
            f"{escape(opened.batch.names[index])}<small>{_FIRED[one.fired]}{warning}</small></div>"
            f"<div class='scores'>{cells}</div>")


def _notes(opened: OpenBatch, index: int) -> list[str]:
    """Notes to read before the verdict: on this photo, on how many others look unfamiliar, and on good parts
    that have changed."""
    prediction, others = opened.batch.predictions[index], opened.batch.predictions
    strange = 0 if prediction.is_strange else sum(other.is_strange for other in others)
    on_others = strange_photos_warning(strange, len(others)), days.warning(opened)
    return [*prediction.notes, *filter(None, on_others)]


def _times(score: float, threshold: float) -> str:
    return f"{score / threshold:.1f} × its threshold {threshold:.2f}" if threshold > 0 else \
        f"threshold {threshold:.2f}"


def _flips(opened: OpenBatch, judged: list[Judged], criterion: Criterion) -> str:
    """How many verdicts differ from those under the model's own α, β and combination, at equal thresholds."""
    config, combine = opened.detector.config, opened.detector.calibration.combine
    own = opened.batch.judged(replace(criterion, alpha=config.alpha, beta=config.beta, combine=combine))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in
                       tally([of.verdict for of in judged]).items())
    if [of.score for of in judged] == [of.score for of in own]:
        return f"{counts}."
    flipped = sum(now.verdict != then.verdict for now, then in zip(judged, own, strict=True))
    return (f"{counts}. Your changes turn {flipped} of {len(judged)} verdicts: the scores have moved, the "
            "thresholds have not. Press <i>Use the suggested thresholds</i> to update them.")


def _promise(held_out: np.ndarray, criterion: Criterion) -> str:
    """What the held-out good photos imply for future good parts, and how many would promise enough."""
    scores = held_out[:, 0]
    count, interval = rejected(scores, criterion.review)
    more = photos_for(count, len(scores), ENOUGH) if interval.high > ENOUGH else None
    hint = (f" <b>About {more} held-out good photos would promise at most {ENOUGH:.0%} above 'review'.</b>"
            if more else "")
    return f"<small>{promise(scores, criterion)}{hint}</small>"
