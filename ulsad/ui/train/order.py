"""Photos and settings for a training run: slots, checks, and an estimate of what the training needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from ulsad.detector.photo_sets import FEW
from ulsad.errors import InputError
from ulsad.method.backbones import BACKBONES
from ulsad.method.config import PRESETS, Config
from ulsad.photos.files import link_or_copy
from ulsad.photos.intake import GOOD_PARTS, HELD_OUT
from ulsad.runs import directory, parts
from ulsad.runs.estimate import Estimate, estimate
from ulsad.ui import library, slot
from ulsad.ui.component import Update
from ulsad.ui.slot import Slot
from ulsad.ui.train import incoming
from ulsad.ui.train import views as train_views

SETTINGS = ("backbone", "image_size", "lambda_l", "lambda_g", "minutes", "steps", "seed", "precision",
            "white_level")


class Slots(NamedTuple):
    """The components, and the events after which photos are checked."""

    values: list[gr.State | gr.Textbox]  # three slots for photos, three for folders on the server
    filled: list[Any]  # of the slots
    named: list[Any]  # of the folders


def slots(data_root: Path | None) -> Slots:
    """Lay out the slots."""
    _, good = slot.build("Good parts: 20 to 300 photos", "good-parts",
                         "Drop photos, a folder or a zip here; a whole data set fills all slots")
    with gr.Row():
        with gr.Column(min_width=240):
            _, held_out = slot.build("Held-out good parts (optional)", "held-out")
        with gr.Column(min_width=240):
            _, defects = slot.build("Known defects (optional)", "known-defects")
    gr.Markdown(f"Held-out photos measure how much good parts vary. Without any, up to {FEW} good parts take "
                "turns, and of more, one in seven is held out. Known defects only test the model; their "
                "folder's name is their kind.")
    with gr.Accordion(f"… or folders on the server, below {data_root}", open=False,
                      visible=data_root is not None):
        folders = [gr.Textbox(label=label, max_lines=1) for label in
                   ("Good parts, or a data set", "Held-out good parts", "Known defects")]
    dropped = [good, held_out, defects]
    return Slots([*dropped, *folders], [state.change for state in dropped],
                 [*(box.submit for box in folders), *(box.blur for box in folders)])


class Settings(NamedTuple):
    """The components."""

    values: list[gr.Textbox | gr.Dropdown]  # in the order of `SETTINGS`
    white_level: gr.Textbox  # one of them
    weights: gr.File


def settings() -> Settings:
    """Lay out the settings. Empty fields use the preset's values.

    Numbers are text fields, because an empty number field may return 0.
    """
    with gr.Accordion("Settings", open=False):
        gr.Markdown("Empty fields use the preset's values.")
        with gr.Row():
            minutes = gr.Textbox(label="Time budget, minutes", info="as many steps as fit", max_lines=1,
                                 elem_id="minutes")
            steps = gr.Textbox(label="Steps", info="instead of a time budget", max_lines=1,
                               elem_id="steps")
        backbone = gr.Dropdown([("as in the preset", ""), *((key, key) for key in BACKBONES)], value="",
                               label="Pre-trained network",
                               info="efficientnet_lite0 is built in; the others need a weights file")
        weights = gr.File(label="Weights file (.pth or .safetensors)", height=100)
        with gr.Row():
            image_size = gr.Textbox(label="Image size, px", info="a multiple of 32", max_lines=1,
                                    elem_id="image-size")
            seed = gr.Textbox(label="Seed", info="of split, order and initial weights", max_lines=1,
                              elem_id="seed")
        with gr.Row():
            lambda_l = gr.Textbox(label="λ_l", info="weight of direction in the local loss", max_lines=1,
                                  elem_id="lambda-l")
            lambda_g = gr.Textbox(label="λ_g", info="weight of direction in the global losses", max_lines=1,
                                  elem_id="lambda-g")
            precision = gr.Dropdown([("as in the preset", ""), "float32", "bfloat16"], value="",
                                    label="Precision", info="of the arithmetic")
        white_level = gr.Textbox(label="White level", max_lines=1, elem_id="white-level",
                                 info="only for photos with more than 8 bits, such as 4095 for a 12-bit "
                                      "camera; if empty, it is derived from the good parts")
    values: list[gr.Textbox | gr.Dropdown] = [
        backbone, image_size, lambda_l, lambda_g, minutes, steps, seed, precision, white_level]
    return Settings(values, white_level, weights)


def check(
    models_dir: Path, data_root: Path | None, previous: str, *slots: Any
) -> Iterator[tuple[Update, ...]]:
    """Check the slots' photos; yield what was checked and the components' values, with progress. On Stop,
    gradio closes the generator. `slots`: the three slots, the three folders, and the white level as text."""
    skip, key = gr.skip(), ""
    dropped: tuple[Slot, ...] = slots[:3]
    folders: tuple[str, ...] = slots[3:6]
    white_level: str = slots[6]
    if not any((*dropped, *folders)):
        incoming.forget(previous)
        yield slots, "", "", gr.Button(visible=False), gr.Accordion(visible=False), None
        return
    yield slots, "", train_views.progress("Opening the photos"), gr.Button(visible=True), skip, skip
    incoming.forget(previous)
    try:
        given = [[*one.sources, *_folder(data_root, folder)] for one, folder in zip(dropped, folders)]
        level = Config().with_text(_filled(white_level=white_level)).white_level
        for done, step in enumerate(incoming.look(given, models_dir, data_root, level)):
            if isinstance(step, str):
                key = step
            elif done % 5 == 0:
                yield slots, "", train_views.progress("Checking", *step), skip, skip, skip
    except (InputError, OSError) as error:
        text = escape(slot.plain(str(error)))
        yield (slots, "", f"<div class='run'><b>{text}</b></div>", gr.Button(visible=False),
               gr.Accordion(visible=False), skip)
        return
    here = incoming.recalled(key)
    yield (slots, key, train_views.found(here), gr.Button(visible=False),
           gr.Accordion(visible=True), here.check.contact_sheet)


def check_changed(
    models_dir: Path, data_root: Path | None, looked: tuple[Any, ...], previous: str, *slots: Any
) -> Iterator[tuple[Update, ...]]:
    """Check if the slots have changed since `looked`, of the last check. When two slots are filled at once,
    two checks run in parallel, and the one that saw only the first slot may finish last."""
    if looked == slots:
        yield (gr.skip(),) * 6
        return
    yield from check(models_dir, data_root, previous, *slots)


def _folder(data_root: Path | None, folder: str) -> list[Path]:
    return [library.folder_on_server(data_root, folder.strip())] if folder and folder.strip() else []


def _filled(**values: str | None) -> list[str]:
    """The filled-in values, as `name=value`."""
    stripped = ((name, (value or "").strip()) for name, value in values.items())
    return [f"{name}={value}" for name, value in stripped if value]


def _chosen(values: Sequence[str | None]) -> list[str]:
    """All filled-in settings as `name=value`, in the order of `SETTINGS`."""
    return _filled(**dict(zip(SETTINGS, values, strict=True)))


def cost(key: str, preset: str, *inputs: Any) -> Iterator[str]:
    """What the training will need, or why it is impossible."""
    *values, weights = inputs
    try:
        here = incoming.recalled(key)
    except InputError:
        yield ""
        return
    try:
        config = PRESETS[preset].with_text(_chosen(values))
        yield "<p>Trying a few steps to estimate how long it will take …</p>"
        yield train_views.cost(_estimate(here, config, weights), _free(here.models_dir))
    except InputError as error:
        yield f"<p class='review'>{escape(str(error))}</p>"


def _estimate(here: incoming.Incoming, config: Config, weights: str | None) -> Estimate:
    checked = here.check
    return estimate(config, checked.usable(GOOD_PARTS), checked.usable(HELD_OUT), checked.seconds_per_photo,
                    weights or here.models_dir / directory.WEIGHTS)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def start(models_dir: Path, key: str, name: str, preset: str, *inputs: Any) -> str:
    """Start a new run on the checked photos; return its name. Raises `InputError` if it can't be trained."""
    *values, weights = inputs
    here = incoming.recalled(key)
    if refused := here.check.refused:
        raise InputError("\n".join(refused))
    settings = _chosen(values)
    need = _estimate(here, PRESETS[preset].with_text(settings), weights).disk
    if need > _free(models_dir):
        raise InputError(f"The training needs {need / 2**30:.1f} GB of disk, but only "
                         f"{_free(models_dir) / 2**30:.1f} GB are free at {models_dir}. Free some space.")
    run = parts.new_version(models_dir, name)
    try:
        here.move_to(run / directory.PHOTOS)
    except InputError:
        parts.give_up(run)  # the name stays free
        raise
    given = _kept_weights(Path(weights), run) if weights else models_dir / directory.WEIGHTS
    chosen = ["--set", *settings] if settings else []
    directory.start(run, [str(run / directory.PHOTOS), "--preset", preset, *chosen, "--weights", str(given)])
    return directory.name_of(run)


def _kept_weights(file: Path, folder: Path) -> Path:
    """Keep a weights file in the run: gradio's cache is emptied daily. A hard link costs no space."""
    return link_or_copy(file, folder / f"weights{file.suffix}")
