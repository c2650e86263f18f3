"""Save criteria with the model, and export a table, a report, raw maps, a figure, and the model itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency

from ulsad.detector import spreadsheet
from ulsad.detector.criterion import LINES, Criterion, packed, unpacked
from ulsad.errors import InputError
from ulsad.line.audit import BASES, note_basis
from ulsad.line.job import SCORES
from ulsad.line.judge import Judge, sha256_of
from ulsad.line.verdict import COLUMNS
from ulsad.photos.files import link_or_copy
from ulsad.runs import directory
from ulsad.runs.report import write_report
from ulsad.ui import batches, library, places
from ulsad.ui.batches import OpenBatch
from ulsad.ui.component import Update
from ulsad.ui.inspect import figure
from ulsad.ui.inspect.views import criterion

ELSEWHERE = """
Install the same package on the computer at the line. One of these does the rest:

```
python -m ulsad watch FILE IN --out OUT
python -m ulsad serve FILE
python -m ulsad export FILE --to DIR
```

*watch* judges every photo that arrives in the folder IN, *serve* those that other programs send to it, and
*export* writes the model as ONNX. Add `--criterion NAME` for a saved criterion. Other programs can also ask
this app:

```
import gradio_client as gr
app = gr.Client("ADDRESS")
app.predict(api_name="/models")
app.predict(
  photo=gr.handle_file("photo.jpg"),
  model="PART", api_name="/score")
```
"""


@dataclass(frozen=True)
class Kept:
    """The components."""

    saved: gr.Dropdown
    name: gr.Textbox
    table: gr.Button
    report: gr.Button
    maps: gr.Button
    file: gr.Button
    paper: figure.Chosen
    files: gr.File


def build(tab: gr.Tab) -> Kept:
    """Lay out the components."""
    saved = gr.Dropdown([], label="Criteria saved with this model", elem_id="criteria",
                        info="α, β, combination, thresholds and ignored areas")
    name = gr.Textbox(label="Save the current criterion as", placeholder="final inspection",
                      submit_btn=True, elem_id="criterion-name")
    table, report, maps = (gr.Button(title, elem_id=f"take-{what}", size="sm") for what, title in (
        ("table", "Table of all photos (CSV)"), ("report", "Report with pictures (HTML)"),
        ("maps", "Raw maps of this photo (.npy)")))
    paper = figure.build(tab)
    with gr.Accordion("Use the model without this page", open=False):
        file = gr.Button("The model's file, with its criteria", elem_id="take-file", size="sm")
        gr.Markdown(ELSEWHERE)
    files = gr.File(label="Ready to download, as of your last click", file_count="multiple",
                    interactive=False, elem_id="taken")
    return Kept(saved, name, table, report, maps, file, paper, files)


def wire(
    kept: Kept, model: gr.Dropdown, key: gr.State, index: gr.State,
    settings: list[gr.components.Component], models_dir: Path,
) -> Dependency:
    """Connect the events; return the one after which a saved criterion is in the settings."""
    kept.name.submit(library.show_errors(partial(_save, models_dir)), [key, kept.name, *settings],
                     [kept.saved, model, kept.name])
    for button, function in ((kept.table, partial(_table, models_dir)), (kept.report, _report),
                             (kept.maps, _raw_maps), (kept.file, partial(_model_file, models_dir))):
        button.click(library.show_errors(function), [key, index, *settings], kept.files)
    return kept.saved.input(library.show_errors(partial(_restore, models_dir)), [key, kept.saved], settings,
                            trigger_mode="always_last", show_progress="hidden")


def _restore(models_dir: Path, key: str, name: str) -> tuple[Update, ...]:
    opened = batches.recalled(key)
    chosen = library.criteria(opened.model, models_dir).get(name)
    if chosen is None:
        raise InputError(f"'{name}' is no longer saved with this model.")
    opened.ignore(unpacked(chosen.ignored))
    return (chosen.alpha, chosen.beta, chosen.combine.global_weight, chosen.combine.kind,
            {line: getattr(chosen, line) for line in LINES})


def _save(models_dir: Path, key: str, name: str, *settings: Any) -> tuple[Update, ...]:
    """Write the criterion, with the ignored areas, into the model's file."""
    opened, name = batches.recalled(key), name.strip()
    if not name:
        raise InputError("Give the criterion a name first.")
    opened.model, names = library.save_criterion(
        opened.model, name, _with_ignored(opened, *settings), models_dir)
    gr.Info(f"'{escape(name)}' is saved with the model.")
    return gr.Dropdown(names, value=name), opened.model, ""


def _with_ignored(opened: OpenBatch, *settings: Any) -> Criterion:
    """The criterion that is set on the page, with the areas ignored there."""
    return replace(criterion(*settings), ignored=packed(opened.detector.calibration.ignored))


def _table(models_dir: Path, key: str, index: int, *settings: Any) -> list[str]:
    """The verdicts as `python -m ulsad predict` writes them, and what they are based on."""
    opened, folder = batches.recalled(key), _scratch()
    model = library.model_file(opened.model, models_dir)
    judge = Judge.of(opened.own, _with_ignored(opened, *settings), model.name, sha256_of(model))
    note_basis(folder, judge.basis)
    with spreadsheet.Writer(folder / SCORES) as table:
        table.row(COLUMNS)
        for verdict in judge.of_batch(opened.batch):
            table.row(verdict.row())
    return [str(folder / SCORES), str(folder / BASES)]


def _report(key: str, index: int, *settings: Any) -> list[str]:
    opened, file, progress = batches.recalled(key), _scratch() / "report.html", gr.Progress()
    write_report(file, opened.detector, library.label(opened.model), opened.batch, criterion(*settings),
                 lambda done, total: progress((done, total), desc="Drawing"))
    return [str(file)]


def _raw_maps(key: str, index: int, *settings: Any) -> list[str]:
    """The raw maps of the chosen photo, float32 at its own size."""
    opened, folder = batches.recalled(key), _scratch()
    prediction, name = opened.batch.predictions[index], batches.bare(opened.batch.names[index])
    files = []
    for branch, map_ in (("local", prediction.local_map), ("global", prediction.global_map)):
        if map_ is not None:
            files.append(folder / f"{name} {branch}.npy")
            np.save(files[-1], map_)
    return [str(file) for file in files]


def _model_file(models_dir: Path, key: str, index: int, *settings: Any) -> list[str]:
    """A copy of the present file under the model's name; a version's own file has the same name in each."""
    model = batches.recalled(key).model
    name = f"{library.label(model)}{directory.SUFFIX}"
    return [str(link_or_copy(library.model_file(model, models_dir), _scratch() / name))]


def _scratch() -> Path:
    return places.new(places.shown())
