"""The line above everything: the name of the app, the part, and the version of its model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import gradio as gr
import torch

from ulsad.errors import InputError
from ulsad.ui import library
from ulsad.ui.batches import Request
from ulsad.ui.component import Update, renewed
from ulsad.ui.inspect.scoring import demo, own_photos
from ulsad.ui.inspect.tab import Inspected

FAVICON = Path(__file__).parent / "mark.svg"
MARK = FAVICON.read_text(encoding="utf-8")
SHOWN = 40  # of a part's own photos, when it is chosen: scored in a few seconds; Train opens all


@dataclass(frozen=True)
class Header:
    """The components."""

    timer: gr.Timer  # ticks whichever tab is open
    training: gr.Button  # the run that is training, in every tab; opens Train
    part: gr.Dropdown
    model: gr.Dropdown  # the part's versions; its value is a name of `library.models`
    last: gr.BrowserState  # the model that this browser shows again on its next visit


def build(models_dir: Path) -> Header:
    """Lay out the header. It starts with the demo, until `connect`ed to what the browser remembers."""
    with gr.Row(elem_id="header"):
        gr.HTML(f"<h1 title='Running on {escape(_device())}'>{MARK}ULSAD Explorer</h1>", elem_id="title")
        training = gr.Button(visible=False, size="sm", scale=0, elem_id="training")
        models = library.models(models_dir)
        # Custom values are allowed because gradio refuses every event while the chosen model is not among
        # the choices, as after a rename.
        part = gr.Dropdown(library.all_parts(models), value=library.DEMO, label="Part", elem_id="part",
                           min_width=160, allow_custom_value=True)
        model = gr.Dropdown(library.versions(library.DEMO, models, models_dir), value=library.DEMO,
                            label="Version", elem_id="version", min_width=160, allow_custom_value=True)
    last = gr.BrowserState("", storage_key="ulsad-model", secret="ulsad")
    return Header(gr.Timer(1.0), training, part, model, last)


def connect(page: gr.Blocks, header: Header, inspected: Inspected, changed: gr.State,
            models_dir: Path) -> None:
    """Connect the header's events. It is renewed when `changed` changes, which runs and models do."""
    part, model = header.part, header.model
    shown = [part, model, inspected.to_train]
    page.load(library.show_errors(partial(_returned, models_dir)), header.last, [*shown, inspected.wanted],
              show_progress="hidden")
    part.input(library.show_errors(partial(_chosen, models_dir)), [part, model, inspected.wanted],
               [part, model, inspected.wanted], show_progress="hidden")
    for event in (model.change, changed.change):
        event(library.show_errors(partial(_renewed, models_dir)), [part, model], shown,
              show_progress="hidden")
    model.change(None, model, header.last, js="model => model")


def _returned(models_dir: Path, last: str) -> tuple[Update, ...]:
    """The model that this browser had open, with its own photos; the demo if it can't be opened any more."""
    models = library.models(models_dir)
    if last in models and last != library.DEMO:
        try:
            library.detector(last, models_dir)
            return (*_both(models_dir, models, last), _to_train(models),
                    own_photos(last, models_dir, SHOWN) or gr.skip())
        except InputError as error:
            gr.Warning(escape(f"The demo is open, as '{library.label(last)}' can't be opened: {error}"))
    elif last not in models and library.part_of(last) in map(library.part_of, models):
        # Only the version was renamed or deleted.
        return _returned(models_dir, library.in_use(library.part_of(last), models, models_dir))
    return gr.Dropdown(library.all_parts(models)), gr.skip(), _to_train(models), gr.skip()


def _chosen(models_dir: Path, part: str, model: str, wanted: Request) -> tuple[Update, ...]:
    """The version of the part that is in use, and the part's own photos unless the user's own are open."""
    models = library.models(models_dir)
    if part not in map(library.part_of, models):  # typed
        return *_both(models_dir, models, model), gr.skip()
    used = library.in_use(part, models, models_dir)
    own = (own_photos(used, models_dir, SHOWN) or demo()) if wanted.is_own else gr.skip()
    return *_both(models_dir, models, used), own


def _both(models_dir: Path, models: list[str], model: str) -> tuple[gr.Dropdown, gr.Dropdown]:
    part = library.part_of(model)
    return (gr.Dropdown(library.all_parts(models), value=part),
            gr.Dropdown(library.versions(part, models, models_dir), value=model))


def _renewed(models_dir: Path, part: str, model: str) -> tuple[Update, ...]:
    """The current parts and versions. In place of a model that is gone comes the part's version in use, or
    else the demo."""
    models = library.models(models_dir)
    if model not in models:
        of = part if part in map(library.part_of, models) else library.DEMO
        if library.part_of(model) == part:  # else it was typed
            gr.Warning(escape(f"'{library.label(model)}' was renamed or deleted, so '{library.label(of)}' is "
                              "open now."))
        return *_both(models_dir, models, library.in_use(of, models, models_dir)), _to_train(models)
    of = library.part_of(model)
    return (renewed(library.all_parts(models), part if part == of else None, of),
            gr.Dropdown(library.versions(of, models, models_dir)), _to_train(models))


def _to_train(models: list[str]) -> gr.Button:
    return gr.Button(visible=len(models) == 1)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
