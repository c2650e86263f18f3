"""Say of a photo that it is good or a defect, and fit the thresholds to what was said."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from ulsad.detector.criterion import Criterion, dividing
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.photos import probe
from ulsad.runs.marks import Mark
from ulsad.ui import batches, library, places
from ulsad.ui.batches import OpenBatch
from ulsad.ui.component import Update
from ulsad.ui.inspect import viewer
from ulsad.ui.inspect.views import Controls, criterion, marked

LONGEST = 60  # characters of the name of a kind

# viewer.js hands over what is painted when a mark is made, and forgets it once the mark is kept.
PAINTED = """(_, ...others) => {
  const asked = new CustomEvent("painted", {detail: {text: ""}});
  document.querySelector("#workspace").dispatchEvent(asked);
  return [asked.detail.text, ...others];
}"""
KEPT = "() => { document.querySelector('#workspace').dispatchEvent(new Event('marked')); }"


@dataclass(frozen=True)
class Marking:
    """The components."""

    good: gr.Button
    kind: gr.Textbox
    painted: gr.Textbox  # empty; `PAINTED` replaces it on the way to the server
    defect: gr.Button
    undo: gr.Button
    fit: gr.Button
    again: gr.Button


def build(tally: gr.HTML) -> Marking:
    """Lay out the tab around the tally."""
    gr.HTML("<p>Is the verdict on this photo right? Marks are kept beside the model, with their photos.</p>")
    good = gr.Button("This part is good", size="sm", elem_id="mark-good")
    kind = gr.Textbox(label="Kind of defect (optional)", placeholder="scratch", max_lines=1,
                      max_length=LONGEST, elem_id="mark-kind")
    gr.HTML(viewer.PAINT, elem_id="paint", js_on_load=viewer.ARRIVED)
    painted = gr.Textbox(label="What is painted", visible=False)
    defect = gr.Button("This part has a defect", size="sm", elem_id="mark-defect")
    undo = gr.Button("Undo the last mark", size="sm", elem_id="mark-undo")
    tally.render()
    fit = gr.Button("Fit the thresholds to the marks", size="sm", elem_id="mark-fit")
    again = gr.Button("Train again with these", size="sm", elem_id="mark-again")
    return Marking(good, kind, painted, defect, undo, fit, again)


def marked_good(request: gr.Request, *inputs: Any) -> tuple[str, ...]:
    return _mark(Controls(*inputs), True, "", "", request)


def marked_defect(
    request: gr.Request, painted: str, kind: str | None, *inputs: Any
) -> tuple[str, ...]:
    """The kind is None while the panel's tab was never opened."""
    return _mark(Controls(*inputs), False, (kind or "").strip()[:LONGEST], painted, request)


def _mark(
    controls: Controls, is_good: bool, kind: str, painted: str, request: gr.Request
) -> tuple[str, ...]:
    opened = batches.recalled(controls.key)
    prediction, name = opened.batch.predictions[controls.photo], opened.batch.names[controls.photo]
    score = float(opened.batch.judged(criterion(*controls[2:7]))[controls.photo].score)
    made = opened.detector.record["created"]
    mark = Mark(prediction.digest, name, is_good, kind, round(score, 4),
                f"{library.label(opened.model)}, {made}", request.username or "",
                time.strftime("%Y-%m-%d %H:%M:%S"))
    opened.marks.add(mark, prediction.file, _mask(painted, opened, controls.photo))
    opened.said.append(mark.digest)
    opened.look_at_marks()
    opened.look_at_days()
    return controls.draw()


def _mask(painted: str, opened: OpenBatch, index: int) -> np.ndarray | None:
    """What the browser says was painted on a photo, as bool (height, width); None if nothing was.

    Nor does a drawing on another photo count, which the browser sends if the next photo was chosen but not
    yet shown. Raises `InputError` for what is no drawing.
    """
    if not painted:
        return None
    try:
        drawing = json.loads(painted)
        if drawing["photo"] != places.address(opened.picture(index)):
            return None
        mask = probe.painted(opened.batch.predictions[index].size, drawing["strokes"])
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise InputError("The drawing can't be read. Clear it and paint again.") from error
    return mask if mask.any() else None


def undone(*inputs: Any) -> tuple[str, ...]:
    controls = Controls(*inputs)
    opened = batches.recalled(controls.key)
    # Others may have marked since; without a mark of one's own, as on the next day, the last one is meant.
    gone = opened.marks.undo(opened.said.pop() if opened.said else None)
    gr.Info(f"The last mark on '{escape(gone.name)}' is taken back.", duration=3)
    opened.look_at_marks()
    opened.look_at_days()
    return controls.draw()


def fitted(*inputs: Any) -> tuple[Update, ...]:
    """Set 'review' where it makes the fewest mistakes on the held-out good photos and the open marked ones.

    A held-out photo that is marked counts once, as what it is marked as. 'fail' moves only if a good photo
    lies above it, or if it would be below 'review'.
    """
    controls = Controls(*inputs)
    opened, now = batches.recalled(controls.key), criterion(*controls[2:7])
    judged = opened.batch.judged(now)
    found = marked(opened, judged)
    good, defects = ([one.score for one, mark in found if mark.is_good is is_good]
                     for is_good in (True, False))
    if not found:
        raise InputError("None of the open photos is marked. Mark some first, good ones and defects.")
    held_out = _scores_of_others(opened.detector, now, {mark.digest for _, mark in found})
    every_good = np.concatenate([held_out, good])
    review = dividing(every_good, np.array(defects), now.review)
    fail = max(now.fail, review, max(good, default=review))
    lines = controls.lines | {"review": review, "fail": fail}
    others = opened.batch.judged(criterion(*controls._replace(lines=lines)[2:7]))
    turned = sum(before.verdict != after.verdict for before, after in zip(judged, others, strict=True))
    gr.Info(f"'review' is now {review:.3f}. Above it are {(every_good > review).sum()} of {len(every_good)} "
            f"good photos ({len(held_out)} held out, {len(good)} marked) and "
            f"{sum(np.array(defects) > review)} of {len(defects)} marked defects. "
            f"{turned} of {len(judged)} open photos changed their verdict.", duration=15)
    return lines, *controls._replace(lines=lines).draw()


def _scores_of_others(detector: Ulsad, criterion: Criterion, marked: set[str]) -> np.ndarray:
    """Scores of the held-out good photos that are not among the marked ones."""
    scores = detector.calibration.held_out_scores(criterion.alpha, criterion.beta, criterion.combine)[:, 0]
    return scores[[digest not in marked for digest in detector.record["digests"]["held_out"]]]
