"""Inspect: which branch fired, where, how far beyond normal, and what α and β do to that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import gradio as gr

from ulsad.detector.batch import Batch
from ulsad.detector.criterion import BOTH, FAIL, FALSE_REJECT, GLOBAL, LOCAL, NEITHER, PASS, REVIEW
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.photos import probe
from ulsad.photos.images import find_images
from ulsad.ui import batches, library, opening, slot
from ulsad.ui.batches import Request
from ulsad.ui.component import component
from ulsad.ui.inspect import take_away, viewer
from ulsad.ui.inspect.views import ALL, Controls, criterion, suggested_lines
from ulsad.ui.slot import Slot

EXPLANATION = """
**How to read this.** Both branches score every pixel; higher is stranger. The *local* branch rebuilds
each patch from its surroundings and stumbles over **structural** defects: scratches, dents, dirt. The
*global* branch looks at the photo as a whole and stumbles over **logical** ones: parts that are missing,
surplus or in the wrong place. Each can see some of the other's kind, so this says which branch *fired*, not
what the defect *is*.

**α and β** put both branches on one scale. Of all pixels of held-out good photos, a share α lies below
score 0 and a share β below score 0.1. Raise α to darken ordinary structure; raise β to demand more before a
pixel glows. The score of a photo is its brightest pixel in the combined map.

**Thresholds** are suggested by held-out good photos alone. Drag them: what lies above *fail* fails, what lies
above *review* is for somebody to look at. They stay while α and β move the scores, so that you see what the
sliders do. No defects at hand? Set the mouse to a **probe** and spoil a good photo: scratch it, erase a part,
swap two, and see which branch notices.
"""


@dataclass(frozen=True)
class Inspected:
    """How other tabs open photos here: a request, and an empty slot, since they take the place of its own."""

    wanted: gr.State  # a `Request`
    slot: gr.State  # a `Slot`
    key: gr.State  # of the open batch


@dataclass
class _Latest:
    """What one visitor asked for last. Of two batches that are scored at once, only that one is shown."""

    asked: tuple[str, str] | None = None  # model and request


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


@dataclass(frozen=True)
class _Charts:
    scores: gr.HTML
    target: gr.Slider
    promise: gr.HTML
    suggest: gr.Button
    scatter: gr.HTML
    pixels: gr.HTML
    kind: gr.Radio
    contrast: gr.Checkbox


def build(page: gr.Blocks, model: gr.Dropdown, models_dir: Path, data_root: Path | None) -> Inspected:
    """Lay out the tab and wire it to the model chosen in the header."""
    wanted, key, index = gr.State(_demo()), gr.State(None, delete_callback=batches.forget), gr.State(0)
    coming = gr.State(None)  # the key of a batch that is being scored
    asked = gr.State(_Latest())
    lines = gr.State({})  # the thresholds, by name
    first_view, first_table = opening.values()
    with gr.Row():
        photos = _list_of_photos(data_root, first_table)
        with gr.Column(scale=5):
            summary = gr.HTML(opening.SUMMARY, elem_id="summary")
            with gr.Row():
                alpha, beta, weight = _sliders()
            view = viewer.build(first_view)
            charts = _charts()
            kept = take_away.build()
            gr.Markdown(EXPLANATION)

    settings = [alpha, beta, weight, charts.kind, lines]
    inputs = [key, index, *settings, charts.contrast, photos.of_verdict, photos.of_branch]
    views = [view, charts.scores, charts.scatter, charts.pixels, photos.table, summary, charts.promise]
    # One redraw after the other: of two at the same time, the older may end last and stay.
    live = {"show_progress": "hidden", "concurrency_id": "redraw", "concurrency_limit": 1}
    latest = live | {"trigger_mode": "always_last"}
    # "always_last" would send the first of two clicks again in place of the last.
    each = live | {"trigger_mode": "multiple"}

    scored = gr.on(
        [wanted.change, page.load, model.change], library.shown(partial(_score, models_dir)),
        [model, wanted, key, asked], [coming, key, index, photos.progress, photos.stop, model, wanted],
        show_progress="hidden", concurrency_id="score", concurrency_limit=4, trigger_mode="multiple")
    scored.success(
        library.shown(partial(_own_settings, models_dir)), [key, index, charts.target, *settings],
        [index, *settings, kept.saved, photos.of_verdict, photos.of_branch], show_progress="hidden",
    ).success(library.shown(_draw), inputs, views, show_progress="hidden")
    photos.stop.click(_stop, coming, None)
    photos.dropped.change(library.shown(_opened), [photos.dropped, wanted], wanted, show_progress="hidden")
    photos.folder.submit(library.shown(partial(_opened_folder, data_root)), photos.folder, wanted)

    for control in (weight, charts.kind, charts.contrast, photos.of_verdict, photos.of_branch):
        control.input(library.shown(_draw), inputs, views, **latest)
    for slider, function, other in ((alpha, _alpha_moved, beta), (beta, _beta_moved, alpha)):
        slider.input(library.shown(function), inputs, [other, *views], **latest)
    for event in (charts.target.input, charts.suggest.click):
        event(library.shown(_suggested), [charts.target, *inputs], [lines, *views], **latest)
    for event, function, changed in (
            (charts.scores.threshold, _dragged, lines), (photos.table.pick, _picked, index),
            (charts.scatter.pick, _picked, index)):
        event(library.shown(function), inputs, [changed, *views], **each)
    view.probe(library.shown(_probed), inputs, [index, photos.of_verdict, photos.of_branch, *views], **each)
    view.ignore(library.shown(_ignored), [charts.target, *inputs], [lines, *views], **each)

    restored = take_away.wire(kept, model, key, index, settings, models_dir)
    restored.success(library.shown(_draw), inputs, views, **each)
    return Inspected(wanted, photos.dropped, key)


def _list_of_photos(data_root: Path | None, first: str) -> _List:
    with gr.Column(scale=1, min_width=300):
        _, dropped = slot.build("Photos to look at", "inspect-open")
        folder = gr.Textbox(label=f"… or a folder below {data_root}", visible=data_root is not None,
                            submit_btn=True)
        with gr.Row():
            of_verdict = gr.Dropdown([ALL, FAIL, REVIEW, PASS], value=ALL, label="Verdict", min_width=100,
                                     elem_id="of-verdict")
            of_branch = gr.Dropdown([ALL, LOCAL, GLOBAL, BOTH, NEITHER], value=ALL, min_width=100,
                                    label="Branch that fired", elem_id="of-branch")
        progress = gr.HTML(elem_id="batch-progress")
        stop = gr.Button("Stop, and keep what is scored", variant="stop", visible=False)
        table = component(["inspect/table"], "<div class='shown'></div><div class='rows' role='listbox' "
                                 "tabindex='0' aria-label='Photos, strangest first'></div>", "batch", first)
    return _List(dropped, folder, of_verdict, of_branch, progress, stop, table)


def _sliders() -> tuple[gr.Slider, gr.Slider, gr.Slider]:
    return (gr.Slider(0.5, 0.999, 0.9, step=0.001, label="α", elem_id="alpha", min_width=180,
                      info="share of held-out good pixels that stay below 0 (no colour)"),
            gr.Slider(0.501, 1, 0.995, step=0.0005, label="β", elem_id="beta", min_width=180,
                      info="share of held-out good pixels that stay below 0.1"),
            gr.Slider(0, 2, 0.7, step=0.05, label="Weight of the global map", elem_id="weight", min_width=180,
                      info="against 1 of the local one"))


def _charts() -> _Charts:
    chart = "<div class='chart'></div>"
    with gr.Row():
        with gr.Column(min_width=240):
            scores = component(["inspect/charts", "inspect/scores"],
                               f"<div class='tally'></div>{chart}", "scores")
            target = gr.Slider(0.01, 0.2, FALSE_REJECT, step=0.01, elem_id="target",
                               label="Good parts you accept to look at again",
                               info="suggests 'review' at this share of good parts, 'fail' at a fifth of it")
            promise = gr.HTML(elem_id="promise")
            suggest = gr.Button("Use the suggested thresholds", size="sm")
        with gr.Column(min_width=240):
            scatter = component(["inspect/charts", "inspect/scatter"], chart, "scatter")
        with gr.Column(min_width=240):
            pixels = component(["inspect/charts", "inspect/pixels"], chart, "pixels")
            kind = gr.Radio([("larger of both", "maximum"), ("mean of both", "mean")], value="maximum",
                            label="Combined map", min_width=180)
            contrast = gr.Checkbox(label="Own contrast for every map", min_width=160,
                                   info="shows faint things; makes good parts look bad")
    return _Charts(scores, target, promise, suggest, scatter, pixels, kind, contrast)


# --- opening and scoring

def _opened(dropped: Slot, wanted: Request):
    """What the slot holds; the demo once it is empty, unless another tab has emptied it."""
    if dropped:
        return Request(tuple(dropped.photos()), dropped=True)
    return _demo() if wanted.dropped else gr.skip()


def _opened_folder(data_root: Path | None, folder: str) -> Request:
    root = library.folder_on_server(data_root, folder)
    return Request(tuple((path, path.relative_to(root).as_posix() if path != root else path.name)
                         for path in find_images(root)))


def _score(
    models_dir: Path, model: str, wanted: Request, before: str | None, latest: _Latest
) -> Iterator[tuple]:
    """Score what is wanted under the chosen model, with progress; a new batch takes the old one's place.

    Until then, and if it can't be done, the old one stays. It ends without a word once something else is
    asked for.
    """
    mine = latest.asked = model, wanted.id
    if batches.is_open(before, model, wanted):
        yield (gr.skip(),) * 7  # a generator that yields nothing would empty the header's dropdown
        return
    if not any(path.exists() for path, _ in wanted.photos):  # those of a run that was renamed or deleted
        wanted = _demo()
    total, unchanged = len(wanted.photos), (gr.skip(),) * 3
    try:
        coming = batches.begun(model, models_dir, wanted, before)
        yield coming, *unchanged[:2], _progress(0, total), gr.Button(visible=total > 16), *unchanged[:2]
        for done in batches.score(coming):
            if latest.asked != mine:
                break
            if done % 16 == 0:
                yield *unchanged, _progress(done, total), *unchanged
        if latest.asked != mine:
            batches.abandon(coming)
            yield (gr.skip(),) * 7
            return
        batch = batches.recalled(coming).batch
        if not len(batch):
            reasons = "\n".join(item.reason for item in batch.skipped[:5])
            raise InputError(reasons or "Stopped before any photo was scored.")
    except InputError as error:
        back = batches.recalled(before) if before else None
        yield (None, before, gr.skip(), _left_out(back.batch, 0) if back else "", gr.Button(visible=False),
               back.model if back else gr.skip(), back.request if back else gr.skip())
        raise InputError(str(error).replace(f"{models_dir}/", "")) from error
    yield (None, coming, _first(wanted, before, coming), _left_out(batch, total),
           gr.Button(visible=False), gr.skip(), wanted)


def _first(wanted: Request, before: str | None, key: str):
    """The photo to look at: the same under another model, the one asked for, or any until it is known which
    is the strangest."""
    opened = batches.recalled(key)
    opened.is_unseen = wanted.chosen is None and not batches.is_same(before, wanted)
    return gr.skip() if batches.is_same(before, wanted) else wanted.chosen or 0


def _demo() -> Request:
    return Request(tuple((Path(path), Path(path).name) for path in library.demo_photos()))


def _stop(coming: str | None) -> None:
    if coming:
        batches.recalled(coming).stopping = True


def _progress(done: int, total: int) -> str:
    width = 100 * done / max(total, 1)
    return (f"<div class='run'><div class='track'><div class='done' style='width:{width:.1f}%'></div></div>"
            f"<b>Scoring {done}/{total}</b></div>")


def _left_out(batch: Batch, total: int) -> str:
    left = total - len(batch) - len(batch.skipped)
    stopped = f"<b>Stopped: {left} photos were not scored.</b>" if left > 0 else ""
    items = "".join(f"<li>{escape(item.reason)}</li>" for item in batch.skipped[:50])
    listed = f"<b>{len(batch.skipped)} could not be read:</b><ul>{items}</ul>" if items else ""
    return f"<div class='run'>{stopped}{listed}</div>" if stopped or listed else ""


def _own_settings(models_dir: Path, key: str, index: int, target: float, *settings):
    """The strangest photo of a batch that nobody has looked at; and for photos that were not open before the
    model's own settings with the thresholds they suggest, its saved criteria, and no filter."""
    opened, others = batches.recalled(key), (gr.skip(),) * 3
    if opened.is_new:
        opened.is_new = False
        settings = _suggested_settings(opened.detector, target)
        others = gr.Dropdown(list(library.criteria(opened.model, models_dir)), value=None), ALL, ALL
    if opened.is_unseen:
        opened.is_unseen = False
        index = opened.strangest(criterion(*settings))
    return index, *settings, *others


def _suggested_settings(detector: Ulsad, target: float) -> tuple:
    config = detector.config
    settings = (config.alpha, config.beta, config.global_weight, config.combination)
    return *settings, suggested_lines(detector, *settings, target)


# --- what the user does: each changes one thing and draws everything, in one trip to the server

STEP = 0.0005  # of β


def _draw(*inputs) -> tuple[str, ...]:
    return Controls(*inputs).draw()


def _alpha_moved(*inputs):
    """β gives way, so that q_β stays above q_α."""
    controls = Controls(*inputs)
    if controls.alpha < controls.beta:
        return gr.skip(), *controls.draw()
    gr.Info("β must lie above α, so it moved along.", duration=3)
    beta = round(controls.alpha + STEP, 4)
    return beta, *controls._replace(beta=beta).draw()


def _beta_moved(*inputs):
    controls = Controls(*inputs)
    if controls.alpha < controls.beta:
        return gr.skip(), *controls.draw()
    gr.Info("α must lie below β, so it moved along.", duration=3)
    alpha = round(controls.beta - STEP, 4)
    return alpha, *controls._replace(alpha=alpha).draw()


def _dragged(event: gr.EventData, *inputs):
    controls = Controls(*inputs)
    lines = controls.lines | {"review": event.review, "fail": event.fail}
    return lines, *controls._replace(lines=lines).draw()


def _suggested(target: float, *inputs):
    controls = Controls(*inputs)
    lines = suggested_lines(batches.recalled(controls.key).detector, controls.alpha, controls.beta,
                            controls.weight, controls.kind, target)
    return lines, *controls._replace(lines=lines).draw()


def _picked(event: gr.EventData, *inputs):
    return event.index, *Controls(*inputs)._replace(index=event.index).draw()


def _probed(event: gr.EventData, *inputs):
    """Spoil the photo as the mouse said, score it, and choose it, whatever was filtered."""
    controls = Controls(*inputs)
    opened = batches.recalled(controls.key)
    photo, name = opened.photo(controls.index), batches.bare(opened.batch.names[controls.index])
    if event.tool == "scratch":
        spoiled = probe.scratch(photo, event.points)
    elif event.tool == "erase":
        spoiled = probe.erase(photo, event.box)
    else:
        paste = {"duplicate": probe.duplicate, "move": probe.move, "swap": probe.swap}[event.tool]
        spoiled = paste(photo, event.box, event.to)
    index = opened.add(f"{name} · {event.tool}", spoiled)
    return index, ALL, ALL, *controls._replace(index=index, of_verdict=ALL, of_branch=ALL).draw()


def _ignored(event: gr.EventData, target: float, *inputs):
    """Ignore the painted places, in addition to those that are ignored already; without any, nothing."""
    controls = Controls(*inputs)
    opened = batches.recalled(controls.key)
    size, before = opened.batch.predictions[controls.index].size, opened.detector.calibration.ignored
    painted = probe.strokes(size, opened.detector.config.image_size, event.strokes)
    opened.ignore(painted if before is None or not event.strokes else painted | before)
    return _suggested(target, *inputs)
