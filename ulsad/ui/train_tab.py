"""Train: drop photos of good parts, see what is wrong with them, press Train, watch both branches learn.

The training runs as a process of its own; this tab only starts it and reads its directory, so a closed
browser or a restarted app loses nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import lru_cache, partial
from html import escape
from pathlib import Path

import gradio as gr

from ulsad import runs
from ulsad.backbones import BACKBONES
from ulsad.config import PRESETS, Config
from ulsad.errors import InputError
from ulsad.estimate import Estimate, estimate
from ulsad.files import write_text
from ulsad.images import SUFFIXES
from ulsad.intake import GOOD_PARTS, HELD_OUT, kept
from ulsad.preparation import held_out_share
from ulsad.run_card import result, run_card
from ulsad.ui import incoming, library, runs_list, train_views
from ulsad.ui.batches import Request

_SHOW_RUN = "() => document.getElementById('run-status').scrollIntoView({block: 'center'})"
_SETTINGS = ("backbone", "image_size", "lambda_l", "lambda_g", "minutes", "steps", "seed", "precision")


def build(
    model: gr.Dropdown, tabs: gr.Tabs, inspected: gr.State, models_dir: Path, data_root: Path | None
) -> None:
    """Lay out the tab; a finished run can be chosen in the header and its held-out photos inspected."""
    incoming.clear(models_dir)
    key, looked, seen, changed = gr.State(""), gr.State(()), gr.State(()), gr.State(())
    mine = gr.BrowserState("", storage_key="ulsad-run", secret="ulsad")
    with gr.Row():
        with gr.Column(scale=2, min_width=380):
            slots, look = _slots(data_root)
            found = gr.HTML(elem_id="found")
            stop_check = gr.Button("Stop checking", visible=False, size="sm")
            with gr.Accordion("Contact sheet", open=False, visible=False) as sheet_place:
                sheet = gr.Image(show_label=False, format="png", interactive=False, buttons=["fullscreen"])
            preset = gr.Radio([("quick: a minute or two, no GPU needed", "quick"),
                               ("thorough: four times as long, for steadier scores", "thorough"),
                               ("paper: the published recipe, hours without a GPU", "paper")],
                              value="quick", label="Preset")
            settings, weights = _settings()
            cost = gr.HTML(elem_id="cost")
            name = gr.Textbox(label="Name of the model", placeholder="made from the date when left empty",
                              max_lines=1)
            start = gr.Button("Train", variant="primary", elem_id="train")
        with gr.Column(scale=3):
            run = gr.Dropdown([], label="Run", info="newest first; a run goes on when this page is closed",
                              allow_custom_value=True)  # it may just have been renamed
            status = gr.HTML(elem_id="run-status")
            with gr.Row():
                stop = gr.Button("Stop and keep", variant="stop", interactive=False, elem_id="stop-run")
                resume = gr.Button("Resume", interactive=False, elem_id="resume-run")
                inspect = gr.Button("Open in Inspect", interactive=False, elem_id="open-in-inspect")
            preview = gr.Image(label="One photo, as both branches see it now", format="png", buttons=[],
                               interactive=False, visible=False, elem_id="preview", elem_classes="view")
            plot = gr.LinePlot(x="step", y="value", color="loss", height=240,
                               title="Losses: how far each branch still is from the good parts",
                               y_title="loss", buttons=[], elem_id="losses")
            with gr.Column(visible=False) as after:
                gr.Markdown("### What it came to")
                outcome = gr.HTML(elem_id="outcome")
                with gr.Row():
                    take_model = gr.DownloadButton("Model file", elem_id="take-model")
                    take_card = gr.DownloadButton("Run card", elem_id="take-card")
    with gr.Accordion("Runs and models", open=True):
        runs_list.build(models_dir, changed)

    priced = [key, preset, *settings, weights]
    checked = [looked, key, found, stop_check, sheet_place, sheet]
    checking = gr.on(look, library.shown(partial(_check, models_dir, data_root)), [key, *slots],
                     checked, show_progress="hidden",
                     concurrency_id="check", concurrency_limit=2, trigger_mode="always_last")
    again = checking.then(library.shown(partial(_check_again, models_dir, data_root)), [looked, key, *slots],
                          checked, show_progress="hidden", concurrency_id="check")
    again.then(_cost, priced, cost, show_progress="hidden")
    stop_check.click(lambda: ("<div class='run'>Stopped. Change the photos to check again.</div>",
                              gr.Button(visible=False)), None, [found, stop_check], cancels=[checking, again])
    gr.on([preset.change, weights.change, *(setting.change for setting in settings)], _cost, priced, cost,
          show_progress="hidden", trigger_mode="always_last")
    start.click(library.shown(partial(_start, models_dir)), [key, name, preset, *settings, weights],
                [run, mine, key, found, sheet_place, name, *slots]).success(None, js=_SHOW_RUN)
    stop.click(lambda chosen: runs.stop(models_dir / chosen), run)
    resume.click(library.shown(partial(_resume, models_dir)), run, [seen, mine])
    inspect.click(library.shown(partial(_open, models_dir)), run, [model, tabs, inspected])
    run.input(lambda chosen: chosen, run, mine)
    views = [status, plot, preview, stop, resume, inspect, after, outcome, take_model, take_card, changed,
             seen]
    gr.on([gr.Timer(1.0).tick, run.change], partial(_watch, models_dir), [run, seen], views,
          show_progress="hidden", concurrency_id="watch")
    gr.on(None, partial(_mine, models_dir), mine, run)
    changed.change(partial(_mine, models_dir), run, run, show_progress="hidden")
    changed.change(partial(_models, models_dir), model, model, show_progress="hidden")


def _slots(data_root: Path | None) -> tuple[list[gr.components.Component], list]:
    """Three slots for photos, three for folders, and the events that fill them."""
    kinds = [*SUFFIXES, ".zip"]
    good = gr.File(label="Good parts: 20 to 300 photos, or a zip", height=150, file_count="multiple",
                   file_types=kinds, elem_id="good-parts")
    with gr.Row():
        held_out = gr.File(label="Held-out good parts (optional)", height=110, file_count="multiple",
                           file_types=kinds, elem_id="held-out")
        defects = gr.File(label="Known defects (optional)", height=110, file_count="multiple",
                          file_types=kinds, elem_id="known-defects")
    gr.Markdown("Without held-out good parts one photo in seven is kept back from training, to learn how far "
                "good parts scatter. Known defects only test the finished model; folders in their zip are "
                "kinds. A zip of a whole data set (MVTec AD, LOCO, BTAD, MPDD, VisA) fills all three.")
    with gr.Accordion(f"… or folders below {data_root}", open=False, visible=data_root is not None):
        folders = [gr.Textbox(label=label, max_lines=1) for label in
                   ("Good parts, or a data set", "Held-out good parts", "Known defects")]
    files = [good, held_out, defects]
    return [*files, *folders], [*(slot.change for slot in files), *(slot.submit for slot in folders),
                                *(slot.blur for slot in folders)]


def _settings() -> tuple[list[gr.components.Component], gr.File]:
    """In the order of `_SETTINGS`; what is left empty is as the preset says. And the weights file.

    Numbers are texts: an empty number field may come back as 0.
    """
    with gr.Accordion("Settings", open=False):
        gr.Markdown("What is left empty is as the preset says.")
        with gr.Row():
            minutes = gr.Textbox(label="Time budget, minutes", info="as many steps as fit", max_lines=1,
                                 elem_id="minutes")
            steps = gr.Textbox(label="Steps", info="instead of a time budget", max_lines=1,
                               elem_id="steps")
        backbone = gr.Dropdown([("as the preset says", ""), *((key, key) for key in BACKBONES)], value="",
                               label="Pre-trained network",
                               info="efficientnet_lite0 is built in; the others need a weights file")
        weights = gr.File(label="Weights file (.pth or .safetensors)", height=100)
        with gr.Row():
            image_size = gr.Textbox(label="Image size, px", info="a multiple of 32", max_lines=1,
                                    elem_id="image-size")
            seed = gr.Textbox(label="Seed", info="of split, order and first weights", max_lines=1,
                              elem_id="seed")
        with gr.Row():
            lambda_l = gr.Textbox(label="λ_l", info="direction in the local loss", max_lines=1,
                                  elem_id="lambda-l")
            lambda_g = gr.Textbox(label="λ_g", info="direction in the global losses", max_lines=1,
                                  elem_id="lambda-g")
            precision = gr.Dropdown([("as the preset says", ""), "float32", "bfloat16"], value="",
                                    label="Precision", info="of the arithmetic")
    return [backbone, image_size, lambda_l, lambda_g, minutes, steps, seed, precision], weights


def _check(
    models_dir: Path, data_root: Path | None, previous: str, *slots: list[str] | str | None
) -> Iterator[tuple]:
    """Yield what the slots held, and what is to be shown of that."""
    for shown in _looked_at(models_dir, data_root, previous, *slots):
        yield slots, *shown


def _check_again(
    models_dir: Path, data_root: Path | None, looked: tuple, previous: str, *slots: list[str] | str | None
) -> Iterator[tuple]:
    """The same, if the slots no longer hold what was checked: two that are filled at the same moment are
    checked side by side, and the check that knew of one alone may end last."""
    if looked == slots:
        yield (gr.skip(),) * 6
        return
    yield from _check(models_dir, data_root, previous, *slots)


def _looked_at(
    models_dir: Path, data_root: Path | None, previous: str, *slots: list[str] | str | None
) -> Iterator[tuple]:
    """Look at what the slots hold, with progress; gradio ends a generator when asked to stop."""
    skip = gr.skip()
    files, folders = slots[:3], slots[3:]
    given = [[*map(Path, files[i] or []), *_folder(data_root, folders[i])] for i in range(3)]
    if not any(given):
        incoming.forget(previous)
        yield "", "", gr.Button(visible=False), gr.Accordion(visible=False), None
        return
    yield "", train_views.progress("Opening the photos"), gr.Button(visible=True), skip, skip
    incoming.forget(previous)
    try:
        for done, step in enumerate(incoming.look(given, models_dir, data_root)):
            if isinstance(step, tuple) and done % 5 == 0:
                yield "", train_views.progress("Checking", *step), skip, skip, skip
    except InputError as error:
        text = str(error)
        for path in (path for slot in given for path in slot):
            text = text.replace(str(path), path.name)  # where an upload lies says nothing to anybody
        yield ("", f"<div class='run'><b>{escape(text)}</b></div>", gr.Button(visible=False),
               gr.Accordion(visible=False), skip)
        return
    here = incoming.recalled(step)
    held_out = held_out_share(here.check.usable(GOOD_PARTS), Config())
    yield (step, train_views.found(here, held_out), gr.Button(visible=False), gr.Accordion(visible=True),
           here.check.contact_sheet)


def _folder(data_root: Path | None, folder: str) -> list[Path]:
    return [library.folder_on_server(data_root, folder.strip())] if folder and folder.strip() else []


def _chosen(preset: str, *values: str | None) -> list[str]:
    """What was filled in, as `name=value`. Raises `InputError` for values that can't be."""
    filled = ((name, (value or "").strip()) for name, value in zip(_SETTINGS, values, strict=True))
    texts = [f"{name}={value}" for name, value in filled if value]
    PRESETS[preset].with_text(texts)
    return texts


def _cost(key: str, preset: str, *inputs) -> str:
    """What the training will take, or why it can't be."""
    *values, weights = inputs
    try:
        here = incoming.recalled(key)
    except InputError:
        return ""
    try:
        config = PRESETS[preset].with_text(_chosen(preset, *values))
        place = here.folder.parent  # a newer check may just be removing the folder itself
        return train_views.cost(_estimate(here, config, weights), _free(place))
    except InputError as error:
        return f"<p class='review'>{escape(str(error))}</p>"


def _estimate(here: incoming.Incoming, config: Config, weights: str | None) -> Estimate:
    check = here.check
    return _cached_estimate(config, check.usable(GOOD_PARTS), check.usable(HELD_OUT),
                            round(check.seconds_per_photo, 4), weights, here.folder.parent.parent)


@lru_cache(maxsize=32)
def _cached_estimate(config: Config, photos: int, held_out: int, seconds: float, weights: str | None,
                     models_dir: Path) -> Estimate:
    return estimate(config, photos, held_out, seconds, weights or models_dir / runs.WEIGHTS)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _start(models_dir: Path, key: str, name: str, preset: str, *inputs):
    """Give the checked photos to a new run; empty the slots."""
    *values, weights = inputs
    here = incoming.recalled(key)
    if refused := here.check.refused:
        raise InputError("\n".join(refused))
    settings = _chosen(preset, *values)
    need = _estimate(here, PRESETS[preset].with_text(settings), weights).disk
    if need > _free(models_dir):
        raise InputError(f"The training needs {need / 2**30:.1f} GB of disk, but only "
                         f"{_free(models_dir) / 2**30:.1f} GB are free at {models_dir}. Make room.")
    run = models_dir / runs.free_name(name, models_dir)
    run.mkdir()
    here.move_to(run / runs.PHOTOS)
    given = _kept_weights(Path(weights), run) if weights else models_dir / runs.WEIGHTS
    chosen = ["--set", *settings] if settings else []
    runs.start(run, [str(run / runs.PHOTOS), "--preset", preset, *chosen, "--weights", str(given)])
    return (gr.Dropdown(_names(models_dir), value=run.name), run.name, "", "", gr.Accordion(visible=False),
            "", None, None, None, "", "", "")


def _kept_weights(file: Path, folder: Path) -> Path:
    """Out of gradio's cache, which is emptied daily; a hard link costs no space."""
    place = folder / f"weights{file.suffix}"
    try:
        os.link(file, place)
    except OSError:
        shutil.copy(file, place)
    return place


def _resume(models_dir: Path, run: str):
    runs.resume(models_dir / run)
    return (), run


def _watch(models_dir: Path, run: str | None, seen: tuple):
    """Redraw what the run directory says, when it says something new."""
    folder = models_dir / run if run else None
    state = runs.read(folder) if folder and folder.is_dir() else None
    preview = folder / runs.PREVIEW if folder else None
    drawn = preview.stat().st_mtime_ns if preview and preview.exists() else 0
    now = state and (run, state.status, state.ahead, state.stopping, state.phase, state.done, drawn)
    if now == seen:
        return [gr.skip()] * 12
    if state is None:
        return [train_views.status(None), *[gr.skip()] * 10, now]
    return [train_views.status(state), train_views.losses(state),
            _preview(preview, drawn) if not seen or drawn != seen[-1] else gr.skip(),
            gr.Button(interactive=state.is_live and not state.stopping),
            gr.Button(interactive=state.can_resume), gr.Button(interactive=state.model is not None),
            *_after(state), (run, state.status), now]


def _preview(file: Path, drawn: int):
    return gr.Image(str(file), visible=True) if drawn else gr.Image(None, visible=False)


def _after(state: runs.RunState):
    """What came of a run that is over."""
    if state.is_live or not (state.folder / runs.OUTCOME).is_file() or state.model is None:
        return gr.Column(visible=False), "", gr.skip(), gr.skip()
    card = runs_list.card_of(state.folder)
    write_text(state.folder / runs.CARD, run_card(card))  # under the name it has now
    return (gr.Column(visible=True), result(card.outcome), gr.DownloadButton(value=str(state.model)),
            gr.DownloadButton(value=str(state.folder / runs.CARD)))


def _models(models_dir: Path, model: str) -> gr.Dropdown:
    """All models there are now; the demo takes the place of a chosen one that was renamed or deleted."""
    choices = library.models(models_dir)
    return gr.Dropdown(choices, value=model if model in [path for _, path in choices] else choices[-1][1])


def _open(models_dir: Path, run: str):
    """Go to Inspect with the run's model, the good photos it never saw, and known defects."""
    folder = models_dir / run
    model = str(runs.read(folder).model)
    chosen = gr.Dropdown(library.models(models_dir), value=model), gr.Tabs(selected="inspect")
    if not (folder / runs.PHOTOS).is_dir():
        return *chosen, gr.skip()
    intake, names = kept(folder / runs.PHOTOS), set(library.detector(model, models_dir).record["held_out"])
    held_out = [path for path in intake.held_out or intake.good if path.name in names]
    photos = [*((path, path.name) for path in held_out),
              *((photo.path, f"{photo.kind}/{photo.path.name}") for photo in intake.test)]
    return *chosen, Request(tuple(photos))


def _mine(models_dir: Path, run: str):
    """The run that this browser started last, or else the newest."""
    names = _names(models_dir)
    return gr.Dropdown(names, value=run if run in names else names[0] if names else None)


def _names(models_dir: Path) -> list[str]:
    return [folder.name for folder in runs.all_runs(models_dir)]
