"""The panel beside the views: thresholds, marks, probes, the reference, maps, days, export and help."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from ulsad.detector.criterion import FALSE_REJECT
from ulsad.ui.component import component
from ulsad.ui.inspect import marking, take_away, viewer

EXPLANATION = """
**How to read this.** Both branches score every pixel; higher means more anomalous. The *local* branch
compares each patch with those of good parts: it tries to reconstruct the patch, and looks for the most
similar good one. It fails on **structural** defects: scratches, dents, dirt. The *global* branch looks at
the whole photo and fails on **logical** defects: missing, surplus or misplaced parts. Each also detects
defects of the other kind, so the app shows which branch *fired*, not what the defect *is*.

**α and β** bring both branches onto one scale. Of all pixels of held-out good photos, a share α scores below
0 and a share β below 0.1. Raise α to darken normal structure; raise β so that only stronger deviations light
up. The score of a photo is the brightest pixel of its combined map.

**Thresholds** are suggested from held-out good photos alone. Drag them: photos above *fail* fail, and photos
above *review* should be checked by a person. Thresholds stay fixed while α and β move the scores, so that you
see the effect of the sliders. No defects at hand? Set the mouse to a **probe** and damage a good photo:
scratch it, erase a part or swap two, and see which branch reacts.
"""

SHORTCUTS = """
| key | |
|---|---|
| j, k | next, previous photo |
| g | hold: the most similar good photo |
| h, o | hide or show the overlay, the outline |
| ↑ ↓ | next photo in the list; Home and End: the first and the last |
| ← → | move the chosen slider or threshold |
| Esc | discard an unfinished drawing |
| ? | this page |
"""


@dataclass(frozen=True)
class Charts:
    scores: gr.HTML
    target: gr.Slider
    promise: gr.HTML
    suggest: gr.Button
    scatter: gr.HTML
    pixels: gr.HTML
    kind: gr.Radio
    contrast: gr.Checkbox
    marks: gr.HTML
    days: gr.HTML


def build() -> tuple[Charts, marking.Marking, take_away.Kept]:
    """Lay out the panel. Gradio puts a tab on the page when it is first opened."""
    chart = "<div class='chart'></div>"
    with gr.Column(scale=2, min_width=280, elem_id="panel"), gr.Tabs():
        with gr.Tab("Threshold"):
            scores = component(["inspect/charts", "inspect/scores"], f"<div class='tally'></div>{chart}",
                               "scores")
            target = gr.Slider(0.01, 0.2, FALSE_REJECT, step=0.01, elem_id="target",
                               label="Good parts you accept to review",
                               info="sets 'review' for this share of good parts, 'fail' for a fifth of it")
            promise = gr.HTML(elem_id="promise")
            suggest = gr.Button("Use the suggested thresholds", size="sm")
        with gr.Tab("Mark"):
            marks = gr.HTML(elem_id="marks", render=False)
            marked = marking.build(marks)
        with gr.Tab("Probe"):
            gr.HTML(viewer.PROBE, elem_id="probe", js_on_load=viewer.ARRIVED)
        with gr.Tab("Reference"):
            gr.HTML(viewer.REFERENCE, elem_id="reference", js_on_load=viewer.ARRIVED)
        with gr.Tab("Maps"):
            kind = gr.Radio([("sum", "sum"), ("larger of both", "maximum"), ("mean", "mean")], value="sum",
                            label="Combined map", min_width=180,
                            info="sum: what the global map finds unusual adds to the local map")
            contrast = gr.Checkbox(label="Separate contrast for each map", min_width=160,
                                   info="shows faint detail, but makes good parts look bad")
            scatter = component(["inspect/charts", "inspect/scatter"], chart, "scatter")
            pixels = component(["inspect/charts", "inspect/pixels"], chart, "pixels")
        with gr.Tab("Days"):
            days = component(["inspect/charts", "inspect/days"], f"{chart}<div class='words'></div>", "days")
        with gr.Tab("Save") as tab:
            kept = take_away.build(tab)
        with gr.Tab("?"):
            gr.Markdown(EXPLANATION + "\n**Keys**\n" + SHORTCUTS)
    charts = Charts(scores, target, promise, suggest, scatter, pixels, kind, contrast, marks, days)
    return charts, marked, kept
