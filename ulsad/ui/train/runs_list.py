"""The list of runs and models: rename, delete, compare two."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gradio as gr

from ulsad.detector import model_file
from ulsad.errors import InputError
from ulsad.method.config import Config
from ulsad.runs import directory
from ulsad.runs.outcome import Outcome
from ulsad.runs.run_card import Card, comparison
from ulsad.ui import library
from ulsad.ui.component import Update, renewed

HEADERS = ["name", "status", "good photos", "held out", "steps", "AUROC on known defects", "minutes",
           "created"]


def build(models_dir: Path, changed: gr.State) -> None:
    """Lay out the list; it is reloaded whenever `changed` changes, which actions in this list also do."""
    table = gr.Dataframe(headers=HEADERS, datatype="str", interactive=False, wrap=True, max_height=300,
                         show_label=False, buttons=[], elem_id="runs")
    with gr.Row(equal_height=True):
        chosen = gr.Dropdown([], label="Run or model", info="or click a row above", elem_id="run-chosen")
        other = gr.Dropdown([], label="Compare with", elem_id="run-other")
        name = gr.Textbox(label="New name", max_lines=1, elem_id="run-name")
        with gr.Column(min_width=140):
            rename = gr.Button("Rename", elem_id="run-rename")
            delete = gr.Button("Delete …", variant="stop", elem_id="run-delete")
    with gr.Row(visible=False) as sure:
        question = gr.Markdown()
        yes = gr.Button("Yes, delete it", variant="stop", elem_id="run-delete-yes")
        no = gr.Button("No")
    compared = gr.HTML(elem_id="compared")
    listed = [table, chosen, other]
    changed.change(library.show_errors(partial(_listed, models_dir)), [chosen, other], listed,
                   show_progress="hidden")
    table.select(_clicked, None, chosen)
    gr.on([chosen.change, other.change], library.show_errors(partial(_compared, models_dir)), [chosen, other],
          compared, show_progress="hidden")
    rename.click(library.show_errors(partial(_rename, models_dir)), [chosen, name], [changed, chosen, name])
    delete.click(library.show_errors(_ask), chosen, [sure, question])
    no.click(_kept, None, sure)
    yes.click(library.show_errors(partial(_delete, models_dir)), chosen, [changed, sure])


def _listed(models_dir: Path, chosen: str | None, other: str | None) -> tuple[Update, ...]:
    rows = [_row(place) for place in places(models_dir)]
    names = [row[0] for row in rows]
    return gr.Dataframe(rows), renewed(names, chosen, None), renewed(names, other, None)


def places(models_dir: Path) -> list[Path]:
    """Run folders, newest first, and model files that belong to no run."""
    return [*directory.all_runs(models_dir), *directory.lone_models(models_dir)]


def card_of(place: Path) -> Card:
    """The card of a run or of a model file without a run, read without loading its weights."""
    if place.is_file():
        header = model_file.read_header(place)
        return Card(place.stem, Config.from_json(header["config"]), header["record"])
    state = directory.read(place)
    record = model_file.read_header(state.model)["record"] if state.model else {}
    config, outcome = place / directory.CONFIG, place / directory.OUTCOME
    return Card(
        place.name,
        Config.from_json(config.read_text(encoding="utf-8")) if config.is_file() else Config(), record,
        Outcome.read(outcome) if outcome.is_file() else None, state.steps,
        (place / directory.PHOTOS / "held-out").is_dir())


def _row(place: Path) -> list[str]:
    status = directory.read(place).status if place.is_dir() else "model file"
    try:
        card = card_of(place)
    except InputError:
        return [place.stem if place.is_file() else place.name, "damaged", *[""] * (len(HEADERS) - 2)]
    return [card.name, status, *_facts(card)]


def _facts(card: Card) -> Iterator[str]:
    record, outcome = card.record, card.outcome
    if not record:
        return iter([""] * (len(HEADERS) - 2))
    auroc = f"{outcome.aurocs['combined'].value:.1%}" if outcome and outcome.aurocs else "–"
    return iter([str(len(record["train"])), str(len(record["held_out"])),
                 f"{record['steps']} of {record['planned_steps']}", auroc, f"{record['seconds'] / 60:.1f}",
                 record["created"]])


def _clicked(event: gr.SelectData) -> str:
    return event.row_value[0]


def _place(models_dir: Path, name: str | None) -> Path:
    if not name:
        raise InputError("Choose a run or a model first.")
    try:
        return _by_name(models_dir)[name]
    except KeyError as error:
        raise InputError(f"There is no '{name}' any more.") from error


def _by_name(models_dir: Path) -> dict[str, Path]:
    return {place.stem if place.is_file() else place.name: place for place in places(models_dir)}


def _compared(models_dir: Path, chosen: str | None, other: str | None) -> str:
    """A comparison; empty unless two existing runs or models are chosen (one may just have been renamed)."""
    here = _by_name(models_dir)
    if chosen == other or chosen not in here or other not in here:
        return ""
    return comparison([card_of(here[name]) for name in (chosen, other)])


def _rename(models_dir: Path, chosen: str | None, name: str) -> tuple[Update, ...]:
    place = _place(models_dir, chosen)
    if not name.strip():
        raise InputError("Enter a new name first.")
    directory.rename(place, name)
    names = list(_by_name(models_dir))
    return names, gr.Dropdown(names, value=name.strip()), ""


def _ask(chosen: str | None) -> tuple[gr.Row, str]:
    if not chosen:
        raise InputError("Choose a run or a model first.")
    return gr.Row(visible=True), f"Delete **{chosen}** with its photos and its model? This cannot be undone."


def _kept() -> gr.Row:
    return gr.Row(visible=False)


def _delete(models_dir: Path, chosen: str | None) -> tuple[list[str], gr.Row]:
    directory.delete(_place(models_dir, chosen))
    return list(_by_name(models_dir)), gr.Row(visible=False)
