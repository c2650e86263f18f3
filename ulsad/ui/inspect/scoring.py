"""Open photos in Inspect: score them under the chosen model and show the strangest first."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ulsad.detector.batch import Batch
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.photos.images import find_images
from ulsad.photos.intake import is_kept, kept
from ulsad.runs import directory
from ulsad.ui import batches, library
from ulsad.ui.batches import Named, Request
from ulsad.ui.component import Update
from ulsad.ui.inspect.views import ALL, criterion, suggested_lines
from ulsad.ui.slot import Slot


@dataclass
class Latest:
    """A visitor's latest request. Of two batches scored at once, only this one is shown."""

    asked: tuple[str, str] | None = None  # model and request
    under_way: tuple[str, str] | None = None  # the one that is being scored


def opened(models_dir: Path, dropped: Slot, wanted: Request, model: str) -> Update:
    """The slot's photos; the model's own once the slot is empty, unless another tab emptied it."""
    if dropped:
        return Request(tuple(dropped.photos()), dropped=True, is_logged=True)
    return (own_photos(model, models_dir) or demo()) if wanted.dropped else gr.skip()


def opened_folder(data_root: Path | None, folder: str) -> Request:
    root = library.folder_on_server(data_root, folder)
    return Request(tuple((path, path.relative_to(root).as_posix() if path != root else path.name)
                         for path in find_images(root)), is_logged=True)


def score(
    models_dir: Path, model: str, wanted: Request, before: str | None, latest: Latest
) -> Iterator[tuple[Update, ...]]:
    """Score the wanted photos under the chosen model, with progress; the new batch then replaces the old one.

    The old batch stays until then, and also on failure. A newer request ends this one silently, and one for a
    model that is gone, as the header then chooses another, does nothing. Nor does the request that is being
    scored: when a page loads, its header asks for the same as the page, and the later answer would take back
    what the visitor has chosen in between.
    """
    mine = latest.asked = model, wanted.id
    is_there = latest.under_way == mine or batches.is_open(before, model, wanted)
    if is_there or model not in library.models(models_dir):
        yield (gr.skip(),) * 7  # yielding nothing would clear the header's dropdown
        return
    latest.under_way = mine
    try:
        yield from _score(models_dir, model, wanted, before, latest)
    finally:
        if latest.under_way == mine:
            latest.under_way = None


def _score(
    models_dir: Path, model: str, wanted: Request, before: str | None, latest: Latest
) -> Iterator[tuple[Update, ...]]:
    mine = latest.asked
    in_its_place: Update = gr.skip()
    if not any(path.exists() for path, _ in wanted.photos):  # the run was renamed or deleted
        in_its_place = wanted = demo()
    total, unchanged = len(wanted.photos), (gr.skip(),) * 3
    try:
        coming = batches.begun(model, models_dir, wanted, before)
        yield coming, *unchanged[:2], _progress(0, total), gr.Button(visible=total > 16), *unchanged[:2]
        for done in batches.score(coming):
            if latest.asked != mine:
                break
            if done % 16 == 0:
                yield *unchanged, _progress(done, total), *unchanged
        if latest.asked != mine:
            batches.abandon(coming)
            yield (gr.skip(),) * 7
            return
        batch = batches.recalled(coming).batch
        if not len(batch):
            reasons = "\n".join(item.reason for item in batch.skipped[:5])
            raise InputError(reasons or "Stopped before any photo was scored.")
    except InputError as error:
        back = batches.recalled(before) if before else None
        yield (None, before, gr.skip(), _left_out(back.batch, 0) if back else "", gr.Button(visible=False),
               back.model if back else gr.skip(), back.request if back else gr.skip())
        raise InputError(str(error).replace(f"{models_dir}/", "")) from error
    yield (None, coming, _first(wanted, before, coming), _left_out(batch, total),
           gr.Button(visible=False), gr.skip(), in_its_place)


def _first(wanted: Request, before: str | None, key: str) -> Update:
    """The photo to show: the same one under another model, else the requested one, else provisionally the
    first, until the strangest is known."""
    opened = batches.recalled(key)
    opened.is_unseen = wanted.chosen is None and not batches.is_same(before, wanted)
    if batches.is_same(before, wanted):
        return gr.skip()
    return min(wanted.chosen or 0, len(opened.batch) - 1)  # some may have been unreadable


def demo() -> Request:
    return Request(tuple((path, path.name) for path in library.demo_photos()), is_own=True)


def own_photos(model: str, models_dir: Path, most: int | None = None) -> Request | None:
    """A model's held-out good photos, its known defects and the marked photos; None where none are kept.

    Of more than `most`, every second, third, … is taken.
    """
    if model == library.DEMO:
        return demo()
    photos: list[Named] = []
    for found in (_kept_with, _marked):
        with suppress(InputError):  # some are gone, or a list is damaged: the others can be shown
            photos += found(model, models_dir)
    photos = list(_once(photos))
    step = max(1, -(-len(photos) // most)) if most else 1
    return Request(tuple(photos[::step]), is_own=True) if photos else None


def _kept_with(model: str, models_dir: Path) -> list[Named]:
    run = next((run for run in directory.all_runs(models_dir) if directory.name_of(run) == model), None)
    if run is None or not is_kept(run / directory.PHOTOS):
        return []
    intake, names = kept(run / directory.PHOTOS), set(library.detector(model, models_dir).record["held_out"])
    held_out = [path for path in intake.held_out or intake.good if path.name in names]
    return [*((path, path.name) for path in held_out),
            *((photo.path, f"{photo.kind}/{photo.path.name}") for photo in intake.test)]


def _marked(model: str, models_dir: Path) -> list[Named]:
    marks, photos = library.marks_of(model, models_dir), []
    for mark in marks.read():
        with suppress(InputError):
            photos.append((marks.photo(mark), mark.name))
    return photos


def _once(photos: list[Named]) -> Iterator[Named]:
    """The photos, where one with the same content as an earlier one is left out: a marked photo may have been
    trained on since."""
    by_size: dict[int, list[Path]] = {}
    for path, name in photos:
        alike = by_size.setdefault(path.stat().st_size, [])
        if not any(filecmp.cmp(path, other, shallow=False) for other in alike):
            yield path, name
        alike.append(path)


def stop(coming: str | None) -> None:
    if coming:
        batches.recalled(coming).stopping = True


def _progress(done: int, total: int) -> str:
    width = 100 * done / max(total, 1)
    return (f"<div class='run'><div class='track'><div class='done' style='width:{width:.1f}%'></div></div>"
            f"<b>Scoring {done}/{total}</b></div>")


def _left_out(batch: Batch, total: int) -> str:
    left = total - len(batch) - len(batch.skipped)
    stopped = f"<b>Stopped: {left} photos were not scored.</b>" if left > 0 else ""
    items = "".join(f"<li>{escape(item.reason)}</li>" for item in batch.skipped[:50])
    listed = f"<b>{len(batch.skipped)} could not be read:</b><ul>{items}</ul>" if items else ""
    return f"<div class='run'>{stopped}{listed}</div>" if stopped or listed else ""


def own_settings(models_dir: Path, key: str | None, target: float, *settings: Any) -> tuple[Update, ...]:
    """Select the strangest photo of a batch not shown before. For newly opened photos, also restore the
    model's own settings and suggested thresholds, list its saved criteria, and clear the filters.

    Everything else is left alone: of two batches opened in quick succession, the older one's answer may come
    last, and would put back what it had read before the newer one's. If that was the first one, there is no
    batch yet.
    """
    if key is None:
        return (gr.skip(),) * (4 + len(settings))
    opened = batches.recalled(key)
    index, own, others = gr.skip(), (gr.skip(),) * len(settings), (gr.skip(),) * 3
    if opened.is_new:
        opened.is_new = False
        own = settings = _suggested_settings(opened.detector, target)
        others = gr.Dropdown(list(library.criteria(opened.model, models_dir)), value=None), ALL, ALL
    if opened.is_unseen:
        opened.is_unseen = False
        index = opened.strangest(criterion(*settings))
    return index, *own, *others


def _suggested_settings(detector: Ulsad, target: float) -> tuple[Any, ...]:
    config = detector.config
    settings = (config.alpha, config.beta, config.global_weight, config.combination)
    return *settings, suggested_lines(detector, *settings, target)
