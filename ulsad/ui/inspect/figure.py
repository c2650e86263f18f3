"""Draw open photos with their maps as a figure for a paper (`map_figure`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from ulsad.detector import map_figure, printing
from ulsad.detector.criterion import Criterion
from ulsad.detector.map_figure import COLUMNS, MASK_SIDE, MOST, Look, Row
from ulsad.errors import InputError
from ulsad.photos.datasets import LabelledPhoto, labels_of
from ulsad.runs.marks import truth
from ulsad.ui import batches, library, places
from ulsad.ui.batches import OpenBatch
from ulsad.ui.component import Update
from ulsad.ui.inspect.views import criterion

LISTED = 200  # photos to choose from; thousands would slow down the browser
FIRST = 4  # photos chosen until the visitor chooses others
OUTLINE, BAR, NAMES = "outlines at the thresholds", "colour bar", "names as captions"


@dataclass(frozen=True)
class Chosen:
    """The components."""

    tab: gr.Tab
    place: gr.Accordion
    photos: gr.Dropdown
    offered: gr.State  # the names that were chosen for the visitor
    captions: gr.Textbox
    columns: gr.CheckboxGroup
    extras: gr.CheckboxGroup
    formats: gr.CheckboxGroup
    make: gr.Button


def build(tab: gr.Tab) -> Chosen:
    """Lay out the components, folded up, in a tab of the panel."""
    with gr.Accordion("Figure for a paper", open=False, elem_id="paper-figure") as place:
        photos = gr.Dropdown([], multiselect=True, max_choices=MOST, label="Photos, in this order",
                             elem_id="figure-photos", info=f"one row each; of the {LISTED} strangest and the "
                             "one shown")
        captions = gr.Textbox(label="Captions", placeholder="(a) missing nut; (b) scratch", max_lines=1,
                              elem_id="figure-captions", info="below the photos, separated by ;")
        shown = [(title.removesuffix(" map"), name) for name, title in COLUMNS.items()]
        columns = gr.CheckboxGroup(shown, value=[name for name in COLUMNS if name != "good"],
                                   label="Columns", elem_id="figure-columns",
                                   info="ground truth: from a data set, or painted in Mark")
        extras = gr.CheckboxGroup([OUTLINE, BAR, NAMES], value=[BAR], label="With", elem_id="figure-extras")
        formats = gr.CheckboxGroup([suffix[1:].upper() for suffix in printing.FORMATS],
                                   value=["PDF", "PNG"], label="As", elem_id="figure-formats")
        make = gr.Button("Make the figure", size="sm", elem_id="make-paper-figure")
    return Chosen(tab, place, photos, gr.State(None), captions, columns, extras, formats, make)


def wire(
    chosen: Chosen, files: gr.File, key: gr.State, index: gr.State,
    settings: list[gr.components.Component], models_dir: Path, data_root: Path | None,
) -> dict[str, Any]:
    """Connect the events; return an event's arguments that offers the photos of a batch just opened."""
    offer: dict[str, Any] = {
        "fn": library.show_errors(offered), "inputs": [key, index, chosen.photos, chosen.offered, *settings],
        "outputs": [chosen.photos, chosen.offered], "show_progress": "hidden"}
    for shown in (chosen.tab.select, chosen.place.expand):
        shown(**offer)
    roots = [root for root in (models_dir, data_root and data_root.resolve()) if root]
    chosen.make.click(library.show_errors(partial(_drawn, roots)),
                      [key, chosen.photos, chosen.captions, chosen.columns, chosen.extras, chosen.formats,
                       *settings], files)
    return offer


def offered(
    key: str | None, index: int, chosen: list[str], before: list[str] | None, *settings: Any
) -> tuple[Update, ...]:
    """The photos to choose from, and as long as the visitor has chosen no others, the photo shown and the
    strangest ones."""
    if key is None or not settings[-1]:
        return gr.skip(), gr.skip()
    names, order = batches.recalled(key).batch.names, _strangest_first(key, criterion(*settings))
    shown = names[min(index, len(names) - 1)]
    strangest = [names[i] for i in order[:LISTED]]
    first = list(dict.fromkeys([shown, *strangest]))[:FIRST]
    is_own = bool(chosen) and chosen != before and set(chosen) <= set(names)
    choices = list(dict.fromkeys([*(chosen if is_own else first), *strangest, shown]))
    if is_own:
        return gr.Dropdown(choices, multiselect=True), before
    return gr.Dropdown(choices, value=first, multiselect=True), first


def _strangest_first(key: str, chosen: Criterion) -> list[int]:
    scores = batches.recalled(key).batch.scores(chosen)[:, 0]
    return np.argsort(-scores, kind="stable").tolist()


def _drawn(
    roots: Sequence[Path], key: str, names: list[str], captions: str, columns: list[str], extras: list[str],
    formats: list[str], *settings: Any,
) -> list[str]:
    """The figure as files. Names are looked up among the photos of the visitor's own batch."""
    opened, chosen = batches.recalled(key), criterion(*settings)
    indices = _indices(opened, names)
    if not formats:
        raise InputError("Choose at least one format: PDF, PNG or SVG.")
    masks = _masks(opened, indices, roots)
    look = Look(_drawable(opened, columns, masks), outline=OUTLINE in extras, bar=BAR in extras,
                ignored=opened.detector.calibration.ignored)
    rows = _rows(opened, indices, masks, _captions(captions, names, extras), chosen)
    progress, steps = gr.Progress(), len(indices) + len(formats)
    pages = map_figure.draw(_counted(rows, lambda done: progress((done, steps), desc="Drawing")), chosen,
                            look)
    folder, files = places.new(places.shown()), []
    for done, kind in enumerate(formats, start=len(indices)):
        progress((done, steps), desc=f"Writing {kind}")
        files += printing.write(folder / f"figure.{kind.lower()}", *pages)
    return [str(file) for file in files]


def _counted(rows: Iterator[Row], on_row: Callable[[int], None]) -> Iterator[Row]:
    for done, row in enumerate(rows):
        on_row(done)
        yield row


def _indices(opened: OpenBatch, names: Sequence[str]) -> list[int]:
    if not names:
        raise InputError("Choose at least one photo for the figure.")
    if len(names) > MOST:
        raise InputError(f"A figure can have up to {MOST} photos, not {len(names)}. Take some out.")
    known = {name: i for i, name in enumerate(opened.batch.names)}
    if gone := [name for name in names if name not in known]:
        raise InputError(f"There is no photo '{gone[0]}' among those that are open. Take it out of the "
                         "figure.")
    return [known[name] for name in names]


def _captions(text: str, names: list[str], extras: list[str]) -> list[str]:
    text = text.rstrip("; ")
    captions = [caption.strip() for caption in text.split(";")] if text else []
    if captions and NAMES in extras:
        raise InputError(f"There are captions already. Remove them, or uncheck '{NAMES}'.")
    if len(captions) > len(names):
        raise InputError(f"There are {len(captions)} captions for {len(names)} photos. Remove some.")
    return names if NAMES in extras else captions


def _drawable(
    opened: OpenBatch, columns: Sequence[str], masks: list[np.ndarray | None]
) -> tuple[str, ...]:
    """The chosen columns in the usual order, without masks where none is known and maps that the model
    lacks."""
    has_masks = any(mask is not None for mask in masks)
    has_global = opened.detector.calibration.global_ is not None
    lacking = {*(() if has_masks else ("mask",)), *(() if has_global else ("global",))}
    if columns and set(columns) <= lacking:
        raise InputError("There is nothing to draw in the chosen columns. Choose another one.")
    return tuple(name for name in COLUMNS if name in columns and name not in lacking)


def _masks(opened: OpenBatch, indices: Sequence[int], roots: Sequence[Path]) -> list[np.ndarray | None]:
    predictions = [opened.batch.predictions[i] for i in indices]
    labels = _labels([prediction.file for prediction in predictions], roots)
    return [truth(labels[prediction.file], opened.marked.get(prediction.digest), opened.marks, MASK_SIDE)
            for prediction in predictions]


def _labels(files: Sequence[Path], roots: Sequence[Path]) -> dict[Path, LabelledPhoto | None]:
    """What the data set around each photo says of it. Nothing outside a visitor's own slot, the models
    directory and the data root is looked at."""
    labels: dict[Path, LabelledPhoto | None] = dict.fromkeys(files)
    for root in {_root(file, roots) for file in files} - {None}:
        inside = [file for file in files if _root(file, roots) == root]
        labels |= dict(zip(inside, labels_of(inside, root), strict=True))
    return labels


def _root(file: Path, roots: Sequence[Path]) -> Path | None:
    if file.is_relative_to(places.private()):
        return places.private() / file.relative_to(places.private()).parts[0]
    return next((root for root in roots if file.is_relative_to(root)), None)


def _rows(
    opened: OpenBatch, indices: Sequence[int], masks: Sequence[np.ndarray | None], captions: Sequence[str],
    chosen: Criterion,
) -> Iterator[Row]:
    references = opened.detector.references
    for done, (i, mask) in enumerate(zip(indices, masks, strict=True)):
        prediction = opened.batch.predictions[i]
        try:
            photo = opened.photo(i)
        except InputError as error:
            raise InputError(f"{opened.batch.names[i]} can't be read any more. Open it again, or take it out "
                             "of the figure.") from error
        yield Row(photo, prediction.maps(chosen.alpha, chosen.beta, chosen.combine),
                  captions[done] if done < len(captions) else "", mask,
                  references.photo(prediction.reference))
