"""Train: drop photos of good parts, press Train, watch the losses fall.

The training runs as a process of its own; this tab only starts it and reads its directory, so a closed
browser or a restarted app loses nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from functools import partial
from itertools import chain, count
from pathlib import Path

import gradio as gr
import pandas as pd

from ulsad import runs
from ulsad.backbones import BACKBONES
from ulsad.config import PRESETS
from ulsad.errors import InputError
from ulsad.images import SUFFIXES
from ulsad.ui import library
from ulsad.ui.batches import Request

_LOSSES = {"local": "local (L_pl)", "attention": "global (L_pg)", "local_global": "local-global (L_lg)"}
_PHASES = {"starting": "Starting", "reading": "Reading photos", "features": "Computing features",
           "training": "Training", "calibrating": "Calibrating on held-out photos"}


def build(
    model: gr.Dropdown, tabs: gr.Tabs, inspected: gr.State, models_dir: Path, data_root: Path | None
) -> None:
    """Lay out the tab; a finished run can be chosen in the header and its held-out photos inspected."""
    with gr.Row():
        with gr.Column(scale=2):
            photos = gr.File(label="Photos of good parts", height=220,
                             file_count="multiple", file_types=[*SUFFIXES, ".zip"], elem_id="good-parts")
            gr.Markdown("20 to 300 images of good parts, or one zip. Leave defects out. About one photo in "
                        "seven is kept back from training, to learn how far good parts scatter.")
            folder = gr.Textbox(label=f"… or a folder below {data_root}", visible=data_root is not None)
            name = gr.Textbox(label="Name of the model", placeholder="made from the date when left empty")
            preset = gr.Radio([("quick: two or three minutes, no GPU needed", "quick"),
                               ("thorough: four times as long", "thorough"),
                               ("paper: the published recipe, hours without a GPU", "paper")],
                              value="quick", label="Preset")
            settings = _settings()
            start = gr.Button("Train", variant="primary", elem_id="train")
        with gr.Column(scale=3):
            run = gr.Dropdown([], label="Run", info="newest first; a run goes on when this page is closed")
            status = gr.HTML(elem_id="run-status")
            plot = gr.LinePlot(x="step", y="value", color="loss", height=280,
                               title="Losses: how far each branch still is from the good parts",
                               y_title="loss", buttons=[], elem_id="losses")
            with gr.Row():
                stop = gr.Button("Stop and keep", variant="stop", interactive=False)
                inspect = gr.Button("Open in Inspect", interactive=False, elem_id="open-in-inspect")
    seen = gr.State(())
    watch = partial(_watch, models_dir)
    watched, views = [run, model, seen], [status, plot, stop, inspect, model, seen]
    timer = gr.Timer(1.0)
    start.click(library.shown(partial(_start, models_dir, data_root)),
                [photos, folder, name, preset, *settings], run)
    stop.click(lambda chosen: runs.stop(models_dir / chosen), run)
    inspect.click(library.shown(partial(_open, models_dir)), run,
                  [model, tabs, inspected])
    gr.on([timer.tick, run.change], watch, watched, views, show_progress="hidden", concurrency_id="watch")
    gr.on(None, partial(_newest, models_dir), None, run)


def _settings() -> list[gr.components.Component]:
    with gr.Accordion("Settings", open=False):
        backbone = gr.Dropdown([("as the preset says", ""), *((key, key) for key in BACKBONES)], value="",
                               label="Pre-trained network",
                               info="efficientnet_lite0 is built in; the others need a weights file")
        weights = gr.File(label="Weights file (.pth or .safetensors)", height=120)
        with gr.Row():
            steps = gr.Number(None, label="Steps", precision=0, minimum=1,
                              info="empty: as the preset says")
            image_size = gr.Number(256, label="Image size, px", precision=0, step=32, minimum=256)
            seed = gr.Number(0, label="Seed", precision=0)
    return [backbone, weights, steps, image_size, seed]


def _start(
    models_dir: Path, data_root: Path | None, photos: list[str] | None, folder: str, name: str,
    preset: str, backbone: str, weights: str | None, steps: float | None, image_size: float, seed: float,
):
    running = [run for run in runs.all_runs(models_dir) if runs.read(run).status == "running"]
    if running:
        raise InputError(f"'{running[0].name}' is still training. Stop it, or wait for it to end.")
    if image_size is None or seed is None:
        raise InputError("Settings: image size and seed must not be empty.")
    settings = [f"image_size={int(image_size)}", f"seed={int(seed)}"]
    settings += [f"backbone={backbone}"] if backbone else []
    settings += [f"steps={int(steps)}"] if steps else []
    PRESETS[preset].with_text(settings)  # complains now rather than in the log of the run
    source = library.folder_on_server(data_root, folder) if folder else None
    if not photos and source is None:
        raise InputError("Drop photos of good parts first: 20 to 300 images, or one zip.")
    run = models_dir / _free_name(name, models_dir)
    sources = [source] if source else _keep(photos, run / runs.PHOTOS)
    given = _keep([weights], run, "weights")[0] if weights else models_dir / library.WEIGHTS
    runs.start(run, [*map(str, sources), "--preset", preset, "--set", *settings, "--weights", str(given)])
    return gr.Dropdown(_names(models_dir), value=run.name)


def _free_name(name: str, models_dir: Path) -> str:
    name = name.strip() or time.strftime("model %Y-%m-%d %H.%M.%S")
    if re.search(r'[/\\:*?"<>|\x00-\x1f]', name) or name.startswith(".") or len(name.encode()) > 100:
        raise InputError(f"'{name}' can't be a name: leave out / \\ : * ? \" < > |, a dot at the "
                         "beginning, and keep it under 100 characters.")
    if name == library.WEIGHTS or (models_dir / name).exists():
        raise InputError(f"There is a '{name}' already. Choose another name.")
    return name


def _keep(files: list[str], folder: Path, stem: str | None = None) -> list[Path]:
    """Move uploads out of gradio's cache, which is emptied daily; hard links cost no space."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for file in map(Path, files):
        place = _free_place(folder, stem or file.stem, file.suffix)
        try:
            os.link(file, place)
        except OSError:
            shutil.copy(file, place)
        kept.append(place)
    return kept


def _free_place(folder: Path, stem: str, suffix: str) -> Path:
    """Uploads from different folders may share a name."""
    names = chain([stem], (f"{stem}-{i}" for i in count(2)))
    return next(place for name in names if not (place := folder / f"{name}{suffix}").exists())


def _watch(models_dir: Path, run: str | None, model: str, seen: tuple):
    """Redraw what the run directory says, when it says something new."""
    state = runs.read(models_dir / run) if run else None
    now = state and (run, state.status, state.stopping, state.phase, state.done)
    if now == seen:
        return [gr.skip()] * 6
    if state is None:
        return [_status_html(None), *[gr.skip()] * 4, now]
    choices = library.models(models_dir)
    known = model in [path for _, path in choices]
    return [_status_html(state), _losses(state), gr.Button(interactive=state.status == "running"),
            gr.Button(interactive=state.model is not None),
            gr.skip() if known and state.status == "running" else
            gr.Dropdown(choices, value=model if known else choices[-1][1]), now]


def _status_html(state: runs.RunState | None) -> str:
    if state is None:
        return "<div class='run'>No run yet. Drop photos on the left and press <b>Train</b>.</div>"
    share = state.done / state.total if state.total else 0
    phase = f"{_PHASES.get(state.phase, state.phase)} {state.done}/{state.total}" if state.total else \
        _PHASES.get(state.phase, state.phase)
    left = f" · {state.seconds_left:.0f} s left" if state.seconds_left else ""
    text = {
        "running": "Stopping, with what is learned so far" if state.stopping else f"{phase}{left}",
        "finished": "Finished. Open the model in Inspect.",
        "stopped": f"Stopped after {state.done} of {state.total} steps.",
        "failed": "Failed.",
        "interrupted": "Interrupted: its process is gone."
                       + (" The last checkpoint can be opened." if state.model else ""),
    }[state.status]
    message = f"<pre>{_escape(state.message)}</pre>" if state.message else ""
    return (f"<div class='run {state.status}'><div class='track'><div class='done' "
            f"style='width:{100 if state.status == 'finished' else 100 * share:.1f}%'></div></div>"
            f"<b>{text}</b>{message}</div>")


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _losses(state: runs.RunState) -> pd.DataFrame | None:
    """None rather than an empty table: a LinePlot that has met one never shows its lines again."""
    rows = [(step["step"], label, step[key]) for step in state.steps for key, label in _LOSSES.items()]
    return pd.DataFrame(rows, columns=["step", "loss", "value"]) if rows else None


def _open(models_dir: Path, run: str):
    """Go to Inspect with the run's model and, where they are at hand, the good photos it never saw."""
    model = str(runs.read(models_dir / run).model)
    chosen = gr.Dropdown(library.models(models_dir), value=model), gr.Tabs(selected="inspect")
    held_out = [models_dir / run / runs.PHOTOS / name
                for name in library.detector(model, models_dir).record["held_out"]]
    present = [(photo, photo.name) for photo in held_out if photo.exists()]
    return *chosen, Request(tuple(present)) if present else gr.skip()


def _newest(models_dir: Path):
    names = _names(models_dir)
    return gr.Dropdown(names, value=names[0] if names else None)


def _names(models_dir: Path) -> list[str]:
    return [folder.name for folder in runs.all_runs(models_dir)]
