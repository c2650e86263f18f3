"""The list of parts and their versions: rename, delete, compare two, take a part away and bring one in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from html import escape
from pathlib import Path

import gradio as gr

from ulsad.detector import model_file
from ulsad.errors import InputError
from ulsad.method.config import Config
from ulsad.runs import directory, parcel, parts
from ulsad.runs.outcome import Outcome
from ulsad.runs.run_card import Card, comparison
from ulsad.ui import library, places
from ulsad.ui.component import Update, renewed

HEADERS = ["part", "version", "status", "good photos", "held out", "steps", "AUROC on known defects",
           "minutes", "created"]


def build(models_dir: Path, changed: gr.State, model: gr.Dropdown) -> None:
    """Lay out the list; it is reloaded whenever `changed` changes, which actions in this list also do. The
    header's model follows its new name."""
    table = gr.Dataframe(headers=HEADERS, datatype="str", interactive=False, wrap=True, max_height=300,
                         show_label=False, buttons=[], elem_id="runs")
    with gr.Row(equal_height=True):
        chosen = gr.Dropdown([], label="Version", info="or click a row above", elem_id="run-chosen")
        other = gr.Dropdown([], label="Compare with", elem_id="run-other")
        name = gr.Textbox(label="New name", max_lines=1, elem_id="run-name")
        with gr.Column(min_width=150):
            rename = gr.Button("Rename version", elem_id="run-rename", size="sm")
            rename_part = gr.Button("Rename part", elem_id="part-rename", size="sm")
        with gr.Column(min_width=150):
            delete = gr.Button("Delete version …", variant="stop", elem_id="run-delete", size="sm")
            delete_part = gr.Button("Delete part …", variant="stop", elem_id="part-delete", size="sm")
    with gr.Row(visible=False) as sure:
        question, doomed = gr.Markdown(), gr.State(("", False))  # a version, and whether with its whole part
        yes = gr.Button("Yes, delete it", variant="stop", elem_id="run-delete-yes")
        no = gr.Button("No")
    compared = gr.HTML(elem_id="compared")
    with gr.Row(equal_height=True):
        gr.HTML("<p>A part can move to another machine as one zip: photos, versions, marks and criteria.</p>")
        pack = gr.Button("Export the part", elem_id="part-export", size="sm", min_width=150)
        packed = gr.DownloadButton("Download", visible=False, elem_id="part-packed", size="sm", min_width=150)
        unpack = gr.UploadButton("Import a part (zip)", file_types=[".zip"], elem_id="part-import", size="sm",
                                 min_width=150)
    listed = [table, chosen, other]
    changed.change(library.show_errors(partial(_listed, models_dir)), [chosen, other], listed,
                   show_progress="hidden")
    table.select(_clicked, None, chosen)
    gr.on([chosen.change, other.change], library.show_errors(partial(_compared, models_dir)), [chosen, other],
          compared, show_progress="hidden")
    for button, function in ((rename, _rename), (rename_part, _rename_part)):
        button.click(library.show_errors(partial(function, models_dir)), [chosen, name, model],
                     [changed, chosen, name, model])
    delete.click(library.show_errors(_ask), chosen, [sure, question, doomed])
    delete_part.click(library.show_errors(_ask_part), chosen, [sure, question, doomed])
    no.click(_kept, None, sure)
    yes.click(library.show_errors(partial(_delete, models_dir)), doomed, [changed, sure])
    pack.click(library.show_errors(partial(_packed, models_dir)), chosen, packed)
    unpack.upload(library.show_errors(partial(_unpacked, models_dir)), unpack, [changed, chosen])


def _listed(models_dir: Path, chosen: str | None, other: str | None) -> tuple[Update, ...]:
    here = _by_name(models_dir)
    names = [(library.label(name), name) for name in here]
    used = {parts.in_use(part) for part in parts.all_parts(models_dir)}
    return (gr.Dataframe([_row(name, place, place in used) for name, place in here.items()]),
            renewed(names, chosen, None), renewed(names, other, None))


def _by_name(models_dir: Path) -> dict[str, Path]:
    """Run directories by name, newest first, and model files that belong to no run."""
    return {directory.name_of(run): run for run in directory.all_runs(models_dir)} | {
        file.name: file for file in directory.lone_models(models_dir)}


def card_of(place: Path) -> Card:
    """The card of a run or of a model file without a run, read without loading its weights."""
    if place.is_file():
        header = model_file.read_header(place)
        return Card(place.stem, Config.from_json(header["config"]), header["record"])
    state = directory.read(place)
    record = model_file.read_header(state.model)["record"] if state.model else {}
    config, outcome = place / directory.CONFIG, place / directory.OUTCOME
    return Card(
        library.label(directory.name_of(place)),
        Config.from_json(config.read_text(encoding="utf-8")) if config.is_file() else Config(), record,
        Outcome.read(outcome) if outcome.is_file() else None, state.steps,
        (place / directory.PHOTOS / "held-out").is_dir())


def _row(name: str, place: Path, is_in_use: bool) -> list[str]:
    part, _, version = name.partition("/")
    status = directory.read(place).status if place.is_dir() else "model file"
    try:
        facts = _facts(card_of(place))
    except InputError:
        status, facts = "damaged", iter([""] * (len(HEADERS) - 3))
    if is_in_use:
        status += ", in use"
    return [library.label(part), version or directory.ONLY, status, *facts]


def _facts(card: Card) -> Iterator[str]:
    record, outcome = card.record, card.outcome
    if not record:
        return iter([""] * (len(HEADERS) - 3))
    auroc = f"{outcome.aurocs['combined'].value:.1%}" if outcome and outcome.aurocs else "–"
    return iter([str(len(record["train"])), str(len(record["held_out"])),
                 f"{record['steps']} of {record['planned_steps']}", auroc, f"{record['seconds'] / 60:.1f}",
                 record["created"]])


def _clicked(event: gr.SelectData) -> str:
    """The name in the clicked row."""
    part, version = event.row_value[:2]
    if version != directory.ONLY:
        return f"{part}/{version}"
    return f"{part}{directory.SUFFIX}" if event.row_value[2] == "model file" else part


def _place(models_dir: Path, name: str | None) -> Path:
    if not name:
        raise InputError("Choose a version first.")
    try:
        return _by_name(models_dir)[name]
    except KeyError as error:
        raise InputError(f"There is no '{name}' any more.") from error


def _compared(models_dir: Path, chosen: str | None, other: str | None) -> str:
    """A comparison; empty unless two existing runs or models are chosen (one may just have been renamed)."""
    here = _by_name(models_dir)
    if chosen == other or chosen not in here or other not in here:
        return ""
    return comparison([card_of(here[name]) for name in (chosen, other)])


def _rename(models_dir: Path, chosen: str | None, name: str, model: str) -> tuple[Update, ...]:
    place = parts.rename_version(_place(models_dir, chosen), _filled(name))
    here = _by_name(models_dir)
    renamed = next(name for name, other in here.items() if other == place)
    return _shown(here, renamed, renamed if model == chosen else gr.skip())


def _rename_part(models_dir: Path, chosen: str | None, name: str, model: str) -> tuple[Update, ...]:
    place = _place(models_dir, chosen)
    if (part := directory.part_of(place)) is None:  # a model by itself
        return _rename(models_dir, chosen, name, model)
    renamed = parts.rename(part, _filled(name))
    is_open, version = library.part_of(model) == part.name, model.partition("/")[2]
    return _shown(_by_name(models_dir), f"{renamed.name}/{place.name}",
                  f"{renamed.name}/{version}" if is_open else gr.skip())


def _shown(here: dict[str, Path], name: str, model: Update) -> tuple[Update, ...]:
    return list(here), gr.Dropdown([(library.label(each), each) for each in here], value=name), "", model


def _filled(name: str) -> str:
    if not name.strip():
        raise InputError("Enter a new name first.")
    return name.strip()


def _ask(chosen: str | None) -> tuple[gr.Row, str, tuple[str, bool]]:
    if not chosen:
        raise InputError("Choose a version first.")
    return (gr.Row(visible=True), f"Delete **{library.label(chosen)}** with its photos and its model? With "
            "the last version, the part's marks go, too. This cannot be undone.", (chosen, False))


def _ask_part(chosen: str | None) -> tuple[gr.Row, str, tuple[str, bool]]:
    if not chosen:
        raise InputError("Choose a version of the part first.")
    part = library.label(library.part_of(chosen))
    return (gr.Row(visible=True), f"Delete the part **{part}** with all its versions, photos and marks? This "
            "cannot be undone.", (chosen, True))


def _kept() -> gr.Row:
    return gr.Row(visible=False)


def _delete(models_dir: Path, doomed: tuple[str, bool]) -> tuple[list[str], gr.Row]:
    """Delete what the question named, whatever has been chosen since."""
    name, whole = doomed
    place = _place(models_dir, name)
    if whole and (part := directory.part_of(place)):
        parts.delete(part)
    else:
        parts.delete_version(place)
    return list(_by_name(models_dir)), gr.Row(visible=False)


def _packed(models_dir: Path, chosen: str | None) -> gr.DownloadButton:
    """The chosen version's part as a zip that can be downloaded."""
    place = _place(models_dir, chosen)
    if place.is_file():
        raise InputError("This model file belongs to no part: copy the file itself to the other machine.")
    part = directory.part_of(place) or place
    file = parcel.pack(part, places.new(places.shown()) / f"{part.name}.zip")
    return gr.DownloadButton(f"Download {part.name}.zip ({file.stat().st_size / 2**20:.1f} MB)",
                             value=str(file), visible=True)


def _unpacked(models_dir: Path, file: str) -> tuple[list[str], Update]:
    part = parcel.unpack(Path(file), models_dir)
    gr.Info(f"The part '{escape(part.name)}' is here, with {len(parts.versions(part))} versions.", duration=8)
    here = _by_name(models_dir)
    name = directory.name_of(parts.in_use(part) or parts.versions(part)[0])
    return list(here), gr.Dropdown([(library.label(each), each) for each in here], value=name)
