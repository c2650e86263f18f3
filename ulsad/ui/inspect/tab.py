"""Inspect: which branch fired, where, how far beyond normal, and how α and β change that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ulsad.detector.criterion import BOTH, FAIL, GLOBAL, LOCAL, NEITHER, PASS, REVIEW
from ulsad.photos import probe
from ulsad.ui import batches, library, opening, slot
from ulsad.ui.component import Update, component
from ulsad.ui.inspect import days, figure, marking, panel, scoring, take_away, viewer
from ulsad.ui.inspect.views import ALL, DRAWN, Controls, suggested_lines


@dataclass(frozen=True)
class Inspected:
    """States by which other tabs open photos here: they set a request and empty Inspect's own slot."""

    wanted: gr.State  # a `Request`
    slot: gr.State  # a `Slot`
    key: gr.State  # of the open batch
    index: gr.State  # of the photo of the batch that is shown
    to_train: gr.Button  # shown while there is no model but the demo's
    again: gr.Button  # trains again with the marked photos


@dataclass(frozen=True)
class _List:
    """The column of photos."""

    dropped: gr.State
    folder: gr.Textbox
    of_verdict: gr.Dropdown
    of_branch: gr.Dropdown
    progress: gr.HTML
    stop: gr.Button
    table: gr.HTML
    to_train: gr.Button


def build(page: gr.Blocks, model: gr.Dropdown, models_dir: Path, data_root: Path | None) -> Inspected:
    """Lay out the tab and connect it to the model chosen in the header."""
    wanted, key, index = gr.State(scoring.demo()), gr.State(None, delete_callback=batches.forget), gr.State(0)
    coming = gr.State(None)  # key of the batch that is being scored
    asked = gr.State(scoring.Latest())
    lines = gr.State({})  # the thresholds, by name
    first_view, first_table = opening.values()
    with gr.Row(elem_id="workspace"):
        photos = _list_of_photos(data_root, first_table)
        with gr.Column(scale=5, elem_id="looking"):
            summary = gr.HTML(opening.SUMMARY, elem_id="summary")
            view = viewer.build(first_view)
            with gr.Row(elem_id="scales"):
                alpha, beta, weight = _sliders()
        charts, marks, kept = panel.build()

    settings = [alpha, beta, weight, charts.kind, lines]
    inputs = [key, index, *settings, charts.contrast, photos.of_verdict, photos.of_branch]
    views = [view, charts.scores, charts.scatter, charts.pixels, photos.table, summary, charts.promise,
             charts.marks]
    # One redraw at a time: of two parallel ones, the older might finish last and stay on screen.
    live: dict[str, Any] = {"show_progress": "hidden", "concurrency_id": "redraw", "concurrency_limit": 1}
    latest = live | {"trigger_mode": "always_last"}
    # "always_last" would send the first of two clicks twice and lose the second.
    each = live | {"trigger_mode": "multiple"}

    scored = gr.on(
        [wanted.change, page.load, model.change], library.show_errors(partial(scoring.score, models_dir)),
        [model, wanted, key, asked], [coming, key, index, photos.progress, photos.stop, model, wanted],
        show_progress="hidden", concurrency_id="score", concurrency_limit=4, trigger_mode="multiple")
    drawn = scored.success(
        library.show_errors(partial(scoring.own_settings, models_dir)),
        [key, charts.target, *settings],
        [index, *settings, kept.saved, photos.of_verdict, photos.of_branch], show_progress="hidden",
    ).success(library.show_errors(_draw), inputs, views, **live)
    drawn.success(library.show_errors(days.shown), key, charts.days, **live)
    photos.stop.click(scoring.stop, coming, None)
    photos.dropped.change(library.show_errors(partial(scoring.opened, models_dir)),
                          [photos.dropped, wanted, model], wanted, show_progress="hidden")
    photos.folder.submit(library.show_errors(partial(scoring.opened_folder, data_root)), photos.folder,
                         wanted)

    for control in (weight, charts.kind, charts.contrast):
        control.input(library.show_errors(_draw), inputs, views, **latest)
    for filtered in (photos.of_verdict, photos.of_branch):
        filtered.input(library.show_errors(_filtered), inputs, [index, *views], **latest)
    for slider, function, other in ((alpha, _alpha_moved, beta), (beta, _beta_moved, alpha)):
        slider.input(library.show_errors(function), inputs, [other, *views], **latest)
    for event in (charts.target.input, charts.suggest.click):
        event(library.show_errors(_suggested), [charts.target, *inputs], [lines, *views], **latest)
    for event, function, changed in (
            (charts.scores.threshold, _dragged, lines), (photos.table.pick, _picked, index),
            (charts.scatter.pick, _picked, index)):
        event(library.show_errors(function), inputs, [changed, *views], **each)
    view.probe(library.show_errors(_probed), inputs,
               [index, photos.of_verdict, photos.of_branch, *views], **each)
    view.ignore(library.show_errors(_ignored), [charts.target, *inputs], [lines, *views], **each)

    said = [*(event(library.show_errors(marking.marked_good), inputs, views, **each)
              for event in (marks.good.click, view.good)),
            *(event(library.show_errors(marking.marked_defect), [marks.painted, marks.kind, *inputs], views,
                    js=marking.PAINTED, **each)
              for event in (marks.defect.click, marks.kind.submit, view.defect))]
    for event in said:
        event.success(None, js=marking.KEPT)
    undone = marks.undo.click(library.show_errors(marking.undone), inputs, views, **each)
    for event in (*said, undone):  # days leave marked defects out
        event.success(library.show_errors(days.shown), key, charts.days, **live)
    marks.fit.click(library.show_errors(marking.fitted), inputs, [lines, *views], **latest)

    restored = take_away.wire(kept, model, key, index, settings, models_dir)
    restored.success(library.show_errors(_draw), inputs, views, **each)
    offer = figure.wire(kept.paper, kept.files, key, index, settings, models_dir, data_root)
    drawn.success(**offer)
    return Inspected(wanted, photos.dropped, key, index, photos.to_train, marks.again)


def _list_of_photos(data_root: Path | None, first: str) -> _List:
    with gr.Column(scale=1, min_width=220, elem_id="photos"):
        _, dropped = slot.build("Photos to inspect", "inspect-open")
        folder = gr.Textbox(label=f"… or a folder below {data_root}", visible=data_root is not None,
                            submit_btn=True)
        with gr.Row():
            of_verdict = gr.Dropdown([ALL, FAIL, REVIEW, PASS], value=ALL, label="Verdict", min_width=100,
                                     elem_id="of-verdict")
            of_branch = gr.Dropdown([ALL, LOCAL, GLOBAL, BOTH, NEITHER], value=ALL, min_width=100,
                                    label="Branch fired", elem_id="of-branch")
        progress = gr.HTML(elem_id="batch-progress")
        stop = gr.Button("Stop and keep scores", variant="stop", visible=False)
        table = component(["inspect/table"], "<div class='shown'></div><div class='rows' role='listbox' "
                                 "tabindex='0' aria-label='Photos, strangest first'></div>", "batch", first)
        to_train = gr.Button("Train on your own parts", variant="primary", size="sm", visible=False,
                             elem_id="to-train")
    return _List(dropped, folder, of_verdict, of_branch, progress, stop, table, to_train)


def _sliders() -> tuple[gr.Slider, gr.Slider, gr.Slider]:
    return (gr.Slider(0.5, 0.999, 0.9, step=0.001, label="α: good pixels dark", elem_id="alpha",
                      min_width=150),
            gr.Slider(0.501, 1, 0.995, step=0.0005, label="β: good pixels < 0.1", elem_id="beta",
                      min_width=150),
            gr.Slider(0, 2, 0.25, step=0.05, label="Weight of global map", elem_id="weight",
                      min_width=150))


# --- events: each changes one input and redraws everything in one request

STEP = 0.0005  # of β


def _draw(*inputs: Any) -> tuple[Update, ...]:
    """Nothing while the first photos are still being scored."""
    controls = Controls(*inputs)
    return controls.draw() if controls.key and controls.lines else (gr.skip(),) * DRAWN


def _filtered(*inputs: Any) -> tuple[Update, ...]:
    """Show the strangest photo that the filters leave, if they hide the chosen one."""
    controls = Controls(*inputs)
    listed = controls.listed()
    if not listed or controls.photo in listed:
        return gr.skip(), *controls.draw()
    return listed[0], *controls._replace(photo=listed[0]).draw()


def _alpha_moved(*inputs: Any) -> tuple[Update, ...]:
    """Raise β if needed, so that q_β stays above q_α."""
    controls = Controls(*inputs)
    if controls.alpha < controls.beta:
        return gr.skip(), *controls.draw()
    gr.Info("β must lie above α, so it moved along.", duration=3)
    beta = round(controls.alpha + STEP, 4)
    return beta, *controls._replace(beta=beta).draw()


def _beta_moved(*inputs: Any) -> tuple[Update, ...]:
    controls = Controls(*inputs)
    if controls.alpha < controls.beta:
        return gr.skip(), *controls.draw()
    gr.Info("α must lie below β, so it moved along.", duration=3)
    alpha = round(controls.beta - STEP, 4)
    return alpha, *controls._replace(alpha=alpha).draw()


def _dragged(event: gr.EventData, *inputs: Any) -> tuple[Update, ...]:
    controls = Controls(*inputs)
    lines = controls.lines | {"review": event.review, "fail": event.fail}
    return lines, *controls._replace(lines=lines).draw()


def _suggested(target: float, *inputs: Any) -> tuple[Update, ...]:
    controls = Controls(*inputs)
    lines = suggested_lines(batches.recalled(controls.key).detector, controls.alpha, controls.beta,
                            controls.weight, controls.kind, target)
    return lines, *controls._replace(lines=lines).draw()


def _picked(event: gr.EventData, *inputs: Any) -> tuple[Update, ...]:
    return event.index, *Controls(*inputs)._replace(photo=event.index).draw()


def _probed(event: gr.EventData, *inputs: Any) -> tuple[Update, ...]:
    """Damage the photo as drawn with the mouse, score it and select it; clear filters that may hide it."""
    controls = Controls(*inputs)
    opened = batches.recalled(controls.key)
    photo, name = opened.photo(controls.photo), batches.bare(opened.batch.names[controls.photo])
    if event.tool == "scratch":
        damaged = probe.scratch(photo, event.points)
    elif event.tool == "erase":
        damaged = probe.erase(photo, event.box)
    else:
        paste = {"duplicate": probe.duplicate, "move": probe.move, "swap": probe.swap}[event.tool]
        damaged = paste(photo, event.box, event.to)
    index = opened.add(f"{name} · {event.tool}", damaged)
    return index, ALL, ALL, *controls._replace(photo=index, of_verdict=ALL, of_branch=ALL).draw()


def _ignored(event: gr.EventData, target: float, *inputs: Any) -> tuple[Update, ...]:
    """Ignore the painted areas in addition to those already ignored; without strokes, ignore nothing."""
    controls = Controls(*inputs)
    opened = batches.recalled(controls.key)
    size, before = opened.batch.predictions[controls.photo].size, opened.detector.calibration.ignored
    painted = probe.strokes(size, opened.detector.config.image_size, event.strokes)
    opened.ignore(painted if before is None or not event.strokes else painted | before)
    return _suggested(target, *inputs)
