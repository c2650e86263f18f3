"""Save criteria with the model, and export a table, a report, raw maps and a figure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency

from ulsad.detector.criterion import LINES, packed, unpacked
from ulsad.errors import InputError
from ulsad.runs.report import write_report, write_table
from ulsad.ui import batches, library, places
from ulsad.ui.component import Update
from ulsad.ui.inspect import figure
from ulsad.ui.inspect.views import criterion


@dataclass(frozen=True)
class Kept:
    """The components."""

    saved: gr.Dropdown
    name: gr.Textbox
    table: gr.Button
    report: gr.Button
    maps: gr.Button
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
    files = gr.File(label="Ready to download, as of your last click", file_count="multiple",
                    interactive=False, elem_id="taken")
    return Kept(saved, name, table, report, maps, paper, files)


def wire(
    kept: Kept, model: gr.Dropdown, key: gr.State, index: gr.State,
    settings: list[gr.components.Component], models_dir: Path,
) -> Dependency:
    """Connect the events; return the one after which a saved criterion is in the settings."""
    kept.name.submit(library.show_errors(partial(_save, models_dir)), [key, kept.name, *settings],
                     [kept.saved, model, kept.name])
    for button, function in ((kept.table, _table), (kept.report, _report),
                             (kept.maps, _raw_maps)):
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
    chosen = replace(criterion(*settings), ignored=packed(opened.detector.calibration.ignored))
    opened.model, names = library.save_criterion(opened.model, name, chosen, models_dir)
    gr.Info(f"'{escape(name)}' is saved with the model.")
    return gr.Dropdown(names, value=name), opened.model, ""


def _table(key: str, index: int, *settings: Any) -> list[str]:
    opened, file = batches.recalled(key), _scratch() / "scores.csv"
    write_table(file, opened.detector, opened.batch, criterion(*settings))
    return [str(file)]


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


def _scratch() -> Path:
    return places.new(places.shown())
