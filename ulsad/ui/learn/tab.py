"""Learn: the method in nine steps on one photo, alone or beside a spoiled copy of it."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from ulsad.errors import InputError
from ulsad.ui import batches, library
from ulsad.ui.batches import Named
from ulsad.ui.component import Update, component
from ulsad.ui.inspect.tab import Inspected
from ulsad.ui.learn import download
from ulsad.ui.learn.maps import level_at
from ulsad.ui.learn.taught import ALONE, SPOILING, Taught, Way
from ulsad.ui.learn.views import LessonView, failed

MOST = 60  # photos of a batch that are listed, the strangest first
WASHER = (12, 13)  # row and column of a patch in the demo's good tray, where the next photo lacks a part
APART = 0.001  # of α and β, at least

_TEMPLATE = """
<section class='lesson' aria-label='The method in nine steps'>
  <div class='bar'><button class='back' aria-label='Step back'>←</button>
    <span class='dots' role='group' aria-label='Steps'></span>
    <button class='on' aria-label='Next step'>→</button>
    <h2></h2><label class='networks'><span>Networks</span> <select aria-label='Networks'></select></label>
    <button class='print' title='All steps on one page, to print or to save as PDF'>Print the lesson</button>
    <button class='present' aria-pressed='false'>Presentation</button></div>
  <p class='sentence' aria-live='polite'></p>
  <p class='look'></p><div class='learning'></div>
  <div class='body'><div class='rows'></div>
    <aside><div class='figure-2'></div><div class='equation'></div><div class='beyond'></div>
      <table class='numbers'></table><p class='parting'></p><p class='about'></p></aside></div>
  <div class='found'></div>
  <p class='keys'>← and → move through the steps. Click a picture to choose a patch, or hold Shift and press
    the arrow keys. In step 9, drag q<sub>α</sub> and q<sub>β</sub>. Maps of steps 5 to 8 run from 0,
    transparent, to the highest value of all photos shown; those of step 9 from 0 to 1.</p>
</section>"""


class Listed(NamedTuple):
    """The photos that the visitor may choose, and how one is looked at; kept on the server."""

    photos: tuple[tuple[str, str], ...]  # path and name
    place: tuple[int, int] = WASHER  # row and column of the chosen patch
    spoiled_at: tuple[int, int] = WASHER
    way: Way = Way()
    levels: tuple[float, float] | None = None  # α and β, once they were moved
    is_opened: bool = False  # nothing is computed before the tab is opened


def build(tab: gr.Tab, model: gr.Dropdown, inspected: Inspected, models_dir: Path) -> None:
    """Lay out the tab and connect it to the header's model and to the photos that are open in Inspect."""
    first = _listed([(path, path.name) for path in library.demo_photos()])
    state, followed = gr.State(first), gr.State(None)
    with gr.Row():
        names = [name for _, name in first.photos]
        photo = gr.Dropdown(names, value=names[0], label="Photo", elem_id="learn-photo", min_width=200)
        beside = gr.Radio([ALONE, *SPOILING], value=ALONE, label="Goes through the steps", min_width=320,
                          elem_id="learn-beside",
                          info="a copy is spoiled at the chosen patch, to see where both part ways")
    scripts = ["pictures", "asking", "attention/patches",
               "learn/charts", "learn/diagram", "learn/print", "learn/learn"]
    view = component(scripts, _TEMPLATE, "learn")
    looking = [model, photo, beside, state]
    show, spoil, renew = (library.show_errors(partial(function, models_dir))
                          for function in (_show, _spoiled, _renewed))

    # Not partials: gradio would not see that they take an event.
    @library.show_errors
    def ask(event: gr.EventData, *looking: Any) -> tuple[Update, ...]:
        return _asked(models_dir, (event.row, event.column), *looking)

    @library.show_errors
    def choose(event: gr.EventData, *looking: Any) -> tuple[Update, ...]:
        return _chosen(models_dir, (event.variant, event.stage, event.left_out), *looking)

    @library.show_errors
    def level(event: gr.EventData, *looking: Any) -> tuple[Update, ...]:
        return _levelled(models_dir, (event.branch, event.which, event.raw), *looking)

    @library.show_errors
    def take(event: gr.EventData, *looking: Any) -> Update:
        return _taken(models_dir, (event.side, event.name, event.form, event.step), *looking)

    live: dict[str, Any] = {"show_progress": "hidden", "concurrency_id": "learn", "concurrency_limit": 1}
    latest = live | {"trigger_mode": "always_last"}
    tab.select(library.show_errors(_followed), [inspected.key, inspected.index, followed, state],
               [followed, state, photo], show_progress="hidden").success(show, looking, view, **live)
    photo.input(show, looking, view, **latest)
    model.change(renew, looking, [state, view], **latest)
    beside.input(spoil, looking, [state, view], **latest)
    # "always_last" would send the first of two events twice and lose the second; learn.js sends few.
    each = live | {"trigger_mode": "multiple"}
    view.ask(ask, looking, [state, view], queue=False, **each)
    view.choose(choose, looking, [state, view], **each)
    view.level(level, looking, [state, view], **each)
    view.take(take, looking, view, **live)


def _listed(photos: list[Named]) -> Listed:
    names = batches.unique_names([batches.bare(name) for _, name in photos])
    return Listed(tuple((str(path), name) for (path, _), name in zip(photos, names, strict=True)))


# --- events

def _followed(key: str | None, index: int, followed: Any, state: Listed) -> tuple[Update, ...]:
    """List the photos that are open in Inspect and choose the one shown there, if either has changed."""
    opened = state._replace(is_opened=True)
    if key is None or [key, index] == followed or not batches.is_known(key):
        return gr.skip(), opened, gr.skip()
    batch = batches.recalled(key)
    if not 0 <= index < len(batch.batch):  # Inspect is about to choose another one
        return gr.skip(), opened, gr.skip()
    shown = (batch.batch.predictions[index].file, batch.batch.names[index])
    photos = [shown, *(photo for photo in batch.strangest_photos(MOST) if photo != shown)]
    listed = _listed(photos)
    names = [name for _, name in listed.photos]
    return ([key, index], opened._replace(photos=listed.photos), gr.Dropdown(names, value=names[0]))


def _show(models_dir: Path, model: str, name: str, beside: str, state: Listed) -> Update:
    """The lesson of the chosen photo, or an error in its place."""
    if not state.is_opened:
        return gr.skip()
    try:
        return _view(models_dir, model, name, beside, state).whole(*state.place)
    except InputError as error:
        return failed(error)


def _renewed(models_dir: Path, model: str, name: str, beside: str, state: Listed) -> tuple[Update, ...]:
    """Another model, whole and at its own α and β."""
    state = state._replace(way=Way(), levels=None)
    return state, _show(models_dir, model, name, beside, state)


def _spoiled(models_dir: Path, model: str, name: str, beside: str, state: Listed) -> tuple[Update, ...]:
    """A copy is spoiled where the chosen patch is now."""
    state = state._replace(spoiled_at=state.place)
    return state, _show(models_dir, model, name, beside, state)


def _asked(
    models_dir: Path, place: tuple[Any, Any], model: str, name: str, beside: str, state: Listed
) -> tuple[Update, ...]:
    """The clicked patch, and what changes with it."""
    if not state.is_opened or not all(type(at) is int for at in place):
        return gr.skip(), gr.skip()
    view = _view(models_dir, model, name, beside, state)
    row, column = view.within(*place)
    return state._replace(place=(row, column)), view.patch(row, column)


def _chosen(
    models_dir: Path, way: tuple[Any, Any, Any], model: str, name: str, beside: str, state: Listed
) -> tuple[Update, ...]:
    """Other networks, another stage of their training, or additions left out."""
    if not state.is_opened:
        return gr.skip(), gr.skip()
    chosen = Way.chosen(model, *way)
    same_scale = chosen._replace(stage=None) == state.way._replace(stage=None)
    state = state._replace(way=chosen, levels=state.levels if same_scale else None)
    return state, _show(models_dir, model, name, beside, state)


def _levelled(
    models_dir: Path, moved: tuple[Any, Any, Any], model: str, name: str, beside: str, state: Listed
) -> tuple[Update, ...]:
    """α or β, so that its quantile of a branch's held-out pixels is a raw value; without one, the model's."""
    branch, which, raw = moved
    if not state.is_opened or branch not in ("local", "global") or which not in ("alpha", "beta"):
        return gr.skip(), gr.skip()
    first = _view(models_dir, model, name, beside, state).first
    if raw is None or (branch == "global" and first.calibration.global_ is None):
        state = state._replace(levels=None)
    elif isinstance(raw, int | float) and abs(raw) < sys.float_info.max:
        level, alpha, beta = level_at(first, branch, float(raw)), first.config.alpha, first.config.beta
        state = state._replace(levels=(min(level, beta - APART), beta) if which == "alpha"
                               else (alpha, max(level, alpha + APART)))
    return state, _view(models_dir, model, name, beside, state).levels(*state.place)


def _taken(
    models_dir: Path, picture: tuple[Any, Any, Any, Any], model: str, name: str, beside: str, state: Listed
) -> Update:
    """One picture as a file for the browser."""
    side, of, form, step = picture
    if not state.is_opened or not isinstance(side, int) or not isinstance(step, int):
        return gr.skip()
    view = _view(models_dir, model, name, beside, state)
    row, column = view.within(*state.place)
    file, content = download.taken(view, side, str(of), (row, column), str(form), step)
    kind = "image/png" if form == "png" else "application/pdf"
    return json.dumps({"file": file, "content": f"data:{kind};base64,{b64encode(content).decode()}"})


def _view(models_dir: Path, model: str, name: str, beside: str, state: Listed) -> LessonView:
    paths = {known: path for path, known in state.photos}
    if name not in paths:
        raise InputError(f"There is no photo '{name}' in the list.")
    if beside not in (ALONE, *SPOILING):
        raise InputError(f"There is no choice '{beside}'.")
    grid = library.detector(model, models_dir).branches.extractor.grid
    row, column = (min(at, grid - 1) for at in state.spoiled_at)
    at = (column + 0.5) / grid, (row + 0.5) / grid
    return LessonView(Taught(model, paths[name], name, beside, at, state.way, state.levels), models_dir)
