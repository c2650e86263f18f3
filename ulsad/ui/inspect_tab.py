"""Inspect: which branch fired, where, how far beyond normal, and what α and β do to that."""

from __future__ import annotations

import json
import math
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from ulsad import probe
from ulsad.batch import Judged, tally
from ulsad.calibration import LEVELS, Combination, QuantileFunction
from ulsad.criterion import (
    BOTH,
    FAIL,
    FALSE_REJECT,
    GLOBAL,
    LOCAL,
    NEITHER,
    PASS,
    REVIEW,
    Criterion,
    rejected,
)
from ulsad.errors import InputError
from ulsad.images import SUFFIXES
from ulsad.report import write_report, write_table
from ulsad.ui import batches, library, viewer
from ulsad.ui.batches import OpenBatch

ROWS = 200  # of the table; a browser that draws thousands at every move of a slider is slow
POINTS = 2000  # of the scatter
LINES = 6  # where the thresholds are among the inputs of `_draw`
EVERYTHING = "all"

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
above *review* is for somebody to look at. No defects at hand? Set the mouse to a **probe** and spoil a good
photo: scratch it, erase a part, swap two, and see which branch notices.
"""


@dataclass(frozen=True)
class Request:
    """Photos that some tab wants to see in Inspect."""

    photos: tuple[tuple[Path, str], ...]  # path, name
    chosen: int = 0
    id: str = ""


def request(photos: list[tuple[Path, str]], chosen: int = 0) -> Request:
    """A new value of the state that `build` returns; no two are alike, so each is acted on."""
    return Request(tuple(photos), chosen, uuid.uuid4().hex)


def build(page: gr.Blocks, model: gr.Dropdown, models_dir: Path, data_root: Path | None) -> gr.State:
    """Lay out the tab and wire it to the model chosen in the header; return the state that opens photos."""
    demo = request([(Path(path), Path(path).name) for path in library.demo_photos()])
    wanted, key, index = gr.State(demo), gr.State(None, delete_callback=batches.forget), gr.State(0)
    lines = gr.State({})  # the thresholds, see `_suggested_lines`; they stay while α and β move
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            upload = gr.UploadButton("Open photos, or a zip …", file_count="multiple", variant="primary",
                                     file_types=[*SUFFIXES, ".zip"], elem_id="inspect-open")
            folder = gr.Textbox(label=f"… or a folder below {data_root}", visible=data_root is not None,
                                submit_btn=True)
            with gr.Row():
                of_verdict = gr.Dropdown([EVERYTHING, FAIL, REVIEW, PASS], value=EVERYTHING, label="Verdict",
                                         min_width=100, elem_id="of-verdict")
                of_branch = gr.Dropdown([EVERYTHING, LOCAL, GLOBAL, BOTH, NEITHER], value=EVERYTHING,
                                        label="Branch that fired", min_width=100, elem_id="of-branch")
            progress = gr.HTML(elem_id="batch-progress")
            stop = gr.Button("Stop, and keep what is scored", variant="stop", visible=False)
            table = _component("table", "<div class='shown'></div><div class='rows' role='listbox' tabindex='0'"
                               " aria-label='Photos, strangest first'></div>", "batch")
        with gr.Column(scale=5):
            summary = gr.HTML(elem_id="summary")
            view = viewer.build()
            with gr.Row():
                alpha = gr.Slider(0.5, 0.999, 0.9, step=0.001, label="α", elem_id="alpha", min_width=180,
                                  info="share of held-out good pixels that stay below 0 (no colour)")
                beta = gr.Slider(0.501, 1, 0.995, step=0.0005, label="β", elem_id="beta", min_width=180,
                                 info="share of held-out good pixels that stay below 0.1")
                weight = gr.Slider(0, 2, 0.7, step=0.05, label="Weight of the global map", min_width=180,
                                   info="against 1 of the local one", elem_id="weight")
            with gr.Row():
                with gr.Column(min_width=320):
                    scores = _component("scores", "<div class='tally'></div><div class='chart'></div>", "scores")
                    target = gr.Slider(0.01, 0.2, FALSE_REJECT, step=0.01, elem_id="target",
                                       label="Good parts you accept to look at again",
                                       info="suggests 'review' at this share of good parts, 'fail' at a fifth of it")
                    promise = gr.HTML(elem_id="promise")
                    suggest = gr.Button("Use the suggested thresholds", size="sm")
                with gr.Column(min_width=320):
                    scatter = _component("scatter", "<div class='chart'></div>", "scatter")
                with gr.Column(min_width=320):
                    pixels = _component("pixels", "<div class='chart'></div>", "pixels")
                    with gr.Row():
                        kind = gr.Radio([("larger of both", "maximum"), ("mean of both", "mean")],
                                        value="maximum", label="Combined map", min_width=180)
                        contrast = gr.Checkbox(label="Own contrast for every map", min_width=160,
                                               info="shows faint things; makes good parts look bad")
            with gr.Accordion("Keep and take away", open=False):
                with gr.Row():
                    saved = gr.Dropdown([], label="Saved criteria of this model", elem_id="criteria",
                                        info="α, β, combination, thresholds and ignored places")
                    name = gr.Textbox(label="Save the present ones as", placeholder="final inspection",
                                      submit_btn=True, elem_id="criterion-name")
                with gr.Row():
                    take = [gr.Button(title, elem_id=f"take-{what}") for what, title in
                            (("table", "Table (CSV)"), ("report", "Report (HTML)"), ("maps", "Raw maps (.npy)"))]
                files = gr.File(label="Ready to download", file_count="multiple", interactive=False,
                                elem_id="taken")
            gr.Markdown(EXPLANATION)

    levels = [alpha, beta, weight, kind, lines]
    inputs = [key, index, *levels, contrast, of_verdict, of_branch]
    views = [view, scores, scatter, pixels, table, summary, promise]
    draw = library.shown(_draw)
    live = {"show_progress": "hidden", "trigger_mode": "always_last", "concurrency_id": "redraw",
            "concurrency_limit": 2}

    scored = gr.on(
        [wanted.change, page.load, model.change], library.shown(partial(_score, models_dir)),
        [model, wanted, key], [key, index, progress, stop], show_progress="hidden", concurrency_id="predict")
    scored.success(
        library.shown(_levels), [key, target],
        [alpha, beta, weight, kind, lines, saved, of_verdict, of_branch], show_progress="hidden",
    ).success(draw, inputs, views, show_progress="hidden")
    stop.click(_stop, key, None)
    upload.upload(library.shown(_opened), upload, wanted)
    folder.submit(library.shown(partial(_opened_folder, data_root)), folder, wanted)

    for control in (weight, kind, contrast, of_verdict, of_branch):
        control.input(draw, inputs, views, **live)
    for slider, function, other in ((alpha, _alpha_moved, beta), (beta, _beta_moved, alpha)):
        slider.input(library.shown(function), inputs, [other, *views], **live)
    for event in (target.input, suggest.click):
        event(library.shown(_suggested), [target, *inputs], [lines, *views], **live)
    live["trigger_mode"] = "multiple"  # gradio would repeat the first of two clicks for the last
    for event, function, changed in (
            (scores.threshold, _dragged, lines), (table.pick, _picked, index), (scatter.pick, _picked, index),
            (view.probe, _probed, index)):
        event(library.shown(function), inputs, [changed, *views], **live)
    view.ignore(library.shown(_ignored), [target, *inputs], [lines, *views], **live)

    saved.input(library.shown(_restored), [key, saved], [alpha, beta, weight, kind, lines]).success(
        draw, inputs, views, **live)
    name.submit(library.shown(partial(_saved, models_dir)), [key, name, *levels], [saved, model, name])
    taken = (_table, partial(_report, models_dir), _raw_maps)
    for button, function in zip(take, taken, strict=True):
        button.click(library.shown(function), [key, index, *levels], files)
    return wanted


def _component(script: str, template: str, elem_id: str) -> gr.HTML:
    code = "".join((viewer.JS / f"{part}.js").read_text(encoding="utf-8")
                   for part in (["charts"] if script != "table" else []) + [script])
    return gr.HTML(None, html_template=template, js_on_load=code, apply_default_css=False, elem_id=elem_id,
                   min_width=320)


# --- opening and scoring

def _opened(files: list[str]) -> Request:
    return request(batches.photos_of(files, batches.folder()))


def _opened_folder(data_root: Path | None, folder: str) -> Request:
    return request(batches.photos_of([str(library.folder_on_server(data_root, folder))], batches.folder()))


def _score(models_dir: Path, model: str, wanted: Request, before: str | None) -> Iterator[tuple]:
    """Score what is wanted under the chosen model, with progress; a new batch takes the old one's place."""
    total = len(wanted.photos)
    if batches.is_open(before, model, wanted.id):
        return
    yield gr.skip(), gr.skip(), _progress(0, total), gr.Button(visible=total > 16)
    try:
        key = batches.begun(model, models_dir, wanted.id)
        for done in batches.score(key, wanted.photos):
            if done % 16 == 0:
                yield key, gr.skip(), _progress(done, total), gr.skip()
        batch = batches.recalled(key).batch
        if not len(batch):
            raise InputError("None of these photos could be read:\n"
                             + "\n".join(item.reason for item in batch.skipped[:5]))
    except InputError as error:
        yield gr.skip(), gr.skip(), f"<div class='run'><b>{escape(str(error))}</b></div>", gr.Button(visible=False)
        raise
    batches.forget(before)
    yield key, min(wanted.chosen, len(batch) - 1), _unreadable(batch, total), gr.Button(visible=False)


def _stop(key: str | None) -> None:
    batches.recalled(key).stopping = True


def _progress(done: int, total: int) -> str:
    return (f"<div class='run'><div class='track'><div class='done' style='width:{100 * done / max(total, 1):.1f}%'>"
            f"</div></div><b>Scoring {done}/{total}</b></div>")


def _unreadable(batch, total: int) -> str:
    left = total - len(batch) - len(batch.skipped)
    stopped = f"<b>Stopped: {left} photos were not scored.</b>" if left else ""
    items = "".join(f"<li>{escape(item.reason)}</li>" for item in batch.skipped[:50])
    listed = f"<b>{len(batch.skipped)} could not be read:</b><ul>{items}</ul>" if items else ""
    return f"<div class='run'>{stopped}{listed}</div>" if stopped or listed else ""


def _levels(key: str, target: float):
    """The model's own settings with the thresholds they suggest, its saved criteria, and no filter."""
    opened = batches.recalled(key)
    config = opened.detector.config
    lines = _suggested_lines(opened, config.alpha, config.beta, config.global_weight, config.combination, target)
    return (config.alpha, config.beta, config.global_weight, config.combination, lines,
            gr.Dropdown(list(opened.detector.criteria), value=None), EVERYTHING, EVERYTHING)


def _criterion(alpha: float, beta: float, weight: float, kind: str, lines: dict[str, float]) -> Criterion:
    return Criterion(alpha, beta, Combination(kind, weight), **lines)


def _suggested_lines(
    opened: OpenBatch, alpha: float, beta: float, weight: float, kind: str, target: float
) -> dict[str, float]:
    suggested = Criterion.suggested(opened.detector.calibration, alpha, beta, Combination(kind, weight), target)
    return {name: getattr(suggested, name) for name in ("review", "fail", "local", "global_")}


# --- what is shown

def _draw(
    key: str, index: int, alpha: float, beta: float, weight: float, kind: str, lines: dict[str, float],
    contrast: bool, of_verdict: str, of_branch: str,
):
    opened = batches.recalled(key)
    criterion = _criterion(alpha, beta, weight, kind, lines)
    judged = opened.batch.judged(criterion)
    held_out = opened.detector.calibration.held_out_scores(alpha, beta, criterion.combine)
    values = (viewer.value(opened, index, criterion, contrast),
              _scores_value(judged, held_out, criterion),
              _scatter_value(judged, criterion, index),
              _pixels_value(opened, criterion),
              _table_value(opened, judged, index, of_verdict, of_branch))
    return *map(json.dumps, values), _summary(opened, judged, criterion, index), _promise(held_out, criterion)


def _scores_value(judged: list[Judged], held_out: np.ndarray, criterion: Criterion) -> dict[str, Any]:
    return {"held_out": held_out[:, 0].round(4).tolist(), "batch": [round(of.score, 4) for of in judged],
            "review": criterion.review, "fail": criterion.fail}


def _scatter_value(judged: list[Judged], criterion: Criterion, index: int) -> dict[str, Any]:
    shown = sorted(range(len(judged)), key=lambda i: (i != index, -judged[i].score))[:POINTS]
    points = [[i, round(judged[i].local_score, 4), _number(judged[i].global_score), judged[i].verdict]
              for i in shown]
    return {"points": points, "local": criterion.local, "global": _number(criterion.global_), "selected": index}


def _number(value: float) -> float:
    """0 in place of the NaN of a model without a global branch, which JSON doesn't know."""
    return 0.0 if math.isnan(value) else round(value, 4)


def _pixels_value(opened: OpenBatch, criterion: Criterion) -> list[dict[str, Any]]:
    calibration = opened.detector.calibration
    named = [("Local", calibration.local), ("Global", calibration.global_)]
    return [{"name": name, "q_alpha": quantiles(criterion.alpha), "q_beta": quantiles(criterion.beta)}
            | _histogram(quantiles) for name, quantiles in named if quantiles]


def _histogram(quantiles: QuantileFunction, bins: int = 70) -> dict[str, Any]:
    """Shares of held-out pixels between `bins` even steps of the distance, on a logarithmic scale from 1e-6."""
    low, high = float(quantiles.values[0]), max(float(quantiles.values[-1]), float(quantiles.values[0]) + 1e-9)
    below = np.interp(np.linspace(low, high, bins + 1), quantiles.values, LEVELS)
    heights = 1 + np.log10(np.clip(np.diff(below), 1e-6, 1)) / 6
    return {"heights": heights.round(3).tolist(), "low": low, "high": high}


def _table_value(
    opened: OpenBatch, judged: list[Judged], index: int, of_verdict: str, of_branch: str
) -> dict[str, Any]:
    kept = [i for i, of in enumerate(judged)
            if of_verdict in (EVERYTHING, of.verdict) and of_branch in (EVERYTHING, of.fired)]
    kept.sort(key=lambda i: -judged[i].score)
    return {"rows": [_row(opened, judged[i], i) for i in kept[:ROWS]], "total": len(kept), "selected": index}


def _row(opened: OpenBatch, judged: Judged, index: int) -> dict[str, Any]:
    return {"index": index, "name": opened.batch.names[index],
            "thumbnail": batches.address(opened.thumbnail(index)),
            "score": f"{judged.score:.3f}", "local": f"{judged.local_score:.2f}",
            "global": f"{judged.global_score:.2f}", "verdict": judged.verdict, "fired": judged.fired,
            "seen_in": opened.detector.seen_in(opened.batch.predictions[index])}


_FIRED = {
    NEITHER: "Neither branch fired.",
    LOCAL: "The <b>local</b> branch fired: patches unlike those of good parts. Most often that is a scratch, a "
           "dent or dirt.",
    GLOBAL: "The <b>global</b> branch fired: an arrangement unlike that of good parts. Most often something is "
            "missing, surplus or misplaced.",
    BOTH: "<b>Both</b> branches fired.",
}


def _summary(opened: OpenBatch, judged: list[Judged], criterion: Criterion, index: int) -> str:
    """The verdict on one photo, branch by branch, and how many verdicts the sliders have turned."""
    one = judged[index]
    seen_in = opened.detector.seen_in(opened.batch.predictions[index])
    warning = (f" <b>This photo is one of the model's own {seen_in} photos</b>, so its score says little."
               if seen_in else "")
    rows = [("Combined", one.score, criterion.review), ("Local: structural", one.local_score, criterion.local)]
    if not math.isnan(one.global_score):
        rows.append(("Global: logical", one.global_score, criterion.global_))
    cells = "".join(
        f"<div class='score {'fired' if score > threshold else ''}'><b>{name}</b><span>{score:.2f}</span>"
        f"<small>{_times(score, threshold)}</small></div>" for name, score, threshold in rows)
    return (f"<div class='verdict'><span class='{one.verdict}'>{one.verdict.upper()}</span> "
            f"{escape(opened.batch.names[index])}: {_FIRED[one.fired]}{warning}</div>"
            f"<div class='scores'>{cells}</div><p class='flips'>{_flips(opened, judged, criterion)}</p>")


def _times(score: float, threshold: float) -> str:
    return f"{score / threshold:.1f} × its threshold {threshold:.2f}" if threshold > 0 else \
        f"threshold {threshold:.2f}"


def _flips(opened: OpenBatch, judged: list[Judged], criterion: Criterion) -> str:
    """How many verdicts differ from those of the model's own α, β and combination at the same thresholds."""
    config = opened.detector.config
    own = replace(criterion, alpha=config.alpha, beta=config.beta, combine=opened.detector.calibration.combine)
    flipped = sum(now.verdict != then.verdict for now, then in
                  zip(judged, opened.batch.judged(own), strict=True))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in
                       tally([of.verdict for of in judged]).items())
    moved = "" if own == criterion else (
        f" α, β and weight as they are now turn {flipped} of {len(judged)} verdicts. Scores have moved, the "
        "thresholds have not: press <i>Use the suggested thresholds</i> to let them follow.")
    return f"{counts}.{moved}"


def _promise(held_out: np.ndarray, criterion: Criterion) -> str:
    """What the held-out good photos allow to say about good parts to come."""
    sentences = []
    for name, threshold in (("review", criterion.review), ("fail", criterion.fail)):
        count, interval = rejected(held_out[:, 0], threshold)
        sentences.append(f"{count} of {len(held_out)} held-out good photos lie above <i>{name}</i>: up to "
                         f"{interval.high:.1%} of good parts may, at 95 % confidence.")
    return f"<small>{' '.join(sentences)}</small>"


# --- what the user does

# Each changes one thing and draws everything, in one trip to the server.

STEP = 0.0005


def _next(alpha: float) -> float:
    return round(min(alpha + STEP, 1.0), 4)


def _alpha_moved(key: str, index: int, alpha: float, beta: float, *others):
    """β gives way, so that q_β stays above q_α."""
    if beta > alpha:
        return gr.skip(), *_draw(key, index, alpha, beta, *others)
    gr.Info("β must lie above α, so it moved along.", duration=3)
    return _next(alpha), *_draw(key, index, alpha, _next(alpha), *others)


def _beta_moved(key: str, index: int, alpha: float, beta: float, *others):
    if beta > alpha:
        return gr.skip(), *_draw(key, index, alpha, beta, *others)
    gr.Info("α must lie below β, so it moved along.", duration=3)
    alpha = round(beta - STEP, 4)
    return alpha, *_draw(key, index, alpha, beta, *others)


def _dragged(event: gr.EventData, *inputs):
    lines = inputs[LINES] | {"review": event.review, "fail": event.fail}
    return lines, *_draw_with(inputs, lines)


def _suggested(target: float, *inputs):
    lines = _suggested_lines(batches.recalled(inputs[0]), *inputs[2:LINES], target)
    return lines, *_draw_with(inputs, lines)


def _draw_with(inputs: tuple, lines: dict[str, float]):
    return _draw(*inputs[:LINES], lines, *inputs[LINES + 1:])


def _picked(event: gr.EventData, key: str, index: int, *others):
    return event.index, *_draw(key, event.index, *others)


def _probed(event: gr.EventData, key: str, index: int, *others):
    """Spoil the photo as the mouse said, score it, and choose it."""
    opened, tool = batches.recalled(key), event.tool
    photo = opened.photo(index)
    if tool == "scratch":
        spoiled = probe.scratch(photo, event.points)
    elif tool == "erase":
        spoiled = probe.erase(photo, event.box)
    else:
        spoiled = {"duplicate": probe.duplicate, "move": probe.move, "swap": probe.swap}[tool](
            photo, event.box, event.to)
    new = opened.add(f"{Path(opened.batch.names[index]).stem} · {tool}", spoiled)
    return new, *_draw(key, new, *others)


def _ignored(event: gr.EventData, target: float, *inputs):
    """Ignore the painted places, in addition to those that are ignored already; without any, nothing."""
    opened = batches.recalled(inputs[0])
    side, before = opened.detector.config.image_size, opened.detector.calibration.ignored
    mask = probe.strokes((side, side), event.strokes)
    opened.ignore(mask if before is None or not event.strokes else mask | before)
    return _suggested(target, *inputs)


def _restored(key: str, name: str):
    criterion = batches.recalled(key).detector.criteria[name]
    return (criterion.alpha, criterion.beta, criterion.combine.global_weight, criterion.combine.kind,
            {name: getattr(criterion, name) for name in ("review", "fail", "local", "global_")})


def _saved(models_dir: Path, key: str, name: str, *levels):
    """Write the criterion, and the ignored places, into the model's file."""
    opened = batches.recalled(key)
    name = name.strip()
    if not name:
        raise InputError("Give the criterion a name first.")
    opened.model, opened.detector = library.save_criterion(
        opened.model, opened.detector, name, _criterion(*levels), models_dir)
    gr.Info(f"'{name}' is saved with the model.")
    return (gr.Dropdown(list(opened.detector.criteria), value=name),
            gr.Dropdown(library.models(models_dir), value=opened.model), "")


def _table(key: str, index: int, *levels) -> list[str]:
    opened = batches.recalled(key)
    file = _scratch() / "scores.csv"
    write_table(file, opened.detector, opened.batch, _criterion(*levels))
    return [str(file)]


def _report(models_dir: Path, key: str, index: int, *levels, progress=gr.Progress()) -> list[str]:
    opened = batches.recalled(key)
    file = _scratch() / "report.html"
    names = {path: label for label, path in library.models(models_dir)}
    write_report(file, opened.detector, names.get(opened.model, Path(opened.model).stem), opened.batch,
                 _criterion(*levels), lambda done, total: progress((done, total), desc="Drawing"))
    return [str(file)]


def _raw_maps(key: str, index: int, *levels) -> list[str]:
    """The raw maps of the chosen photo, float32 at its own size."""
    opened = batches.recalled(key)
    prediction, folder = opened.batch.predictions[index], _scratch()
    maps = {"local": prediction.local_map, "global": prediction.global_map}
    files = []
    for branch, map_ in maps.items():
        if map_ is not None:
            files.append(folder / f"{Path(opened.batch.names[index]).stem} {branch}.npy")
            np.save(files[-1], map_)
    return [str(file) for file in files]


def _scratch() -> Path:
    return Path(tempfile.mkdtemp(dir=batches.folder()))
