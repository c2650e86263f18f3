"""A figure for a paper, as Figures 6 and 9: rows of photos with their masks and maps."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulsad.commands.options import add_criterion, add_machine, count, judging, positive, words
from ulsad.detector import map_figure, printing, rendering
from ulsad.detector.batch import Batch, strange_photos_warning
from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.detector.fitting import Progress
from ulsad.detector.map_figure import COLUMNS, MASK_SIDE, MOST, Look, Row
from ulsad.detector.prediction import Prediction
from ulsad.detector.terminal import print_progress
from ulsad.errors import InputError
from ulsad.photos.archives import named_photos
from ulsad.photos.datasets import LabelledPhoto, labels_of, masks_of, recognise
from ulsad.photos.images import Skipped
from ulsad.runs import marks

EXAMPLE = "part.safetensors photos/defects --strangest 6 --out figure.pdf"


class Shown(NamedTuple):
    """A photo of the figure."""

    prediction: Prediction
    name: str
    label: LabelledPhoto | None = None  # what the data set around it says
    mask: np.ndarray | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", nargs="+", type=Path, help="photos, folders or zips; of a data set, its "
                        "test photos")
    parser.add_argument("--out", type=Path, required=True,
                        help="the figure, as .pdf, or as .png or .svg, one for each page")
    parser.add_argument("--strangest", type=count, metavar="N",
                        help="only the N photos with the highest scores, highest first")
    parser.add_argument("--columns", type=words, metavar="NAME,…",
                        help=f"of {', '.join(COLUMNS)}; good is the most similar good photo (default: photo, "
                        "mask if any is known, and the model's maps)")
    parser.add_argument("--titles", nargs="*", metavar="TEXT", help="of the columns; no text: no titles")
    parser.add_argument("--captions", nargs="+", default=[], metavar="TEXT", help="of the photos, in order")
    parser.add_argument("--names", action="store_true", help="the photos' names as captions")
    parser.add_argument("--masks", type=Path, metavar="FOLDER",
                        help="masks called NAME.png or NAME_mask.png; default: those of the data set that "
                        "the photo is in, or painted in Inspect")
    add_criterion(parser)
    parser.add_argument("--outline", action="store_true", help="outline what is above the threshold")
    parser.add_argument("--opacity", type=float, default=rendering.OPACITY,
                        help=f"of the maps over the photo, 0 to 1 ({rendering.OPACITY})")
    parser.add_argument("--no-bar", action="store_true", help="without the colour bar")
    parser.add_argument("--width", type=positive, default=printing.WIDTH, metavar="INCHES",
                        help=f"({printing.WIDTH:g}); pictures get smaller, texts stay")
    parser.add_argument("--height", type=positive, default=printing.HEIGHT, metavar="INCHES",
                        help=f"of a page at most ({printing.HEIGHT:g}); more photos make more pages")
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Everything that can be wrong with the options is found before the model is loaded."""
    look = _look(options)
    printing.require_writable(options.out)
    with tempfile.TemporaryDirectory() as scratch:
        labelled = _labelled(options.photos, Path(scratch))
        _require_few(len(labelled), options.strangest)
        _keep_photos(options, [path for path, _, _ in labelled])
        detector, criterion = judging(Ulsad.load(options.model, options.weights, options.device), options)
        shown = _with_masks(_predicted(detector, labelled, criterion, options), options)
        _warn(detector, shown)
        look = replace(look, columns=_columns(detector, shown, options), titles=_titles(options),
                       ignored=detector.calibration.ignored)
        pages = map_figure.draw(_rows(detector, shown, criterion, options), criterion, look)
        files = printing.write(options.out, *pages)
    sizes = " and ".join(dict.fromkeys("{:.1f} × {:.1f}".format(*page.get_size_inches()) for page in pages))
    print(f"{', '.join(map(str, files))}: {_counted(len(shown), 'photo')} on {_counted(len(pages), 'page')}, "
          f"{sizes} inches, α = {criterion.alpha:g}, β = {criterion.beta:g}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _look(options: argparse.Namespace) -> Look:
    """With the columns that were asked for; the usual ones depend on model and photos."""
    if options.captions and options.names:
        raise InputError("--captions and --names exclude each other. Leave one of them out.")
    printing.require_letters([*options.captions, *(options.titles or ())])
    return Look(options.columns or Look.columns, _titles(options) if options.columns else None,
                options.opacity, options.outline, not options.no_bar, None, options.width, options.height)


def _titles(options: argparse.Namespace) -> tuple[str, ...] | None:
    return None if options.titles is None else tuple(options.titles)


def _labelled(sources: list[Path], scratch: Path) -> list[tuple[Path, str, LabelledPhoto | None]]:
    """The photos with their names and labels, each once; masks that lie among them are left out."""
    names: dict[Path, str] = {}
    for i, source in enumerate(sources):
        found = named_photos(source, scratch / str(i))
        root = scratch / str(i) / "zip0" if source.suffix.lower() == ".zip" else source
        category = recognise(root) if root.is_dir() else None
        tests = {photo.path for photo in category.test} if category else None
        names |= {path: name for path, name in found.items() if tests is None or path in tests}
    labels = labels_of(names)
    masks = {mask for label in labels if label for mask in label.masks}
    return [(path, name, label) for (path, name), label in zip(names.items(), labels, strict=True)
            if path.absolute() not in masks]


def _require_few(photos: int, strangest: int | None) -> None:
    if not photos:
        raise InputError("There are no photos to draw: a data set without test photos. Give its photos.")
    if (drawn := min(photos, strangest or photos)) > MOST:
        raise InputError(f"A figure can have up to {MOST} photos, not {drawn}. Give fewer, or use "
                         "--strangest 6 to draw those with the highest scores.")


def _keep_photos(options: argparse.Namespace, photos: list[Path]) -> None:
    """Refuse to write over a photo, or among the photos, where the next run would draw the figure itself."""
    out = options.out.resolve()
    numbered = re.compile(rf"{re.escape(out.stem)}(-\d+)?")  # of several pages
    for photo in map(Path.resolve, photos):
        if photo.parent == out.parent and photo.suffix == out.suffix and numbered.fullmatch(photo.stem):
            raise InputError(f"--out {options.out}: {photo.name} is one of the photos, and the figure or a "
                             "page of it would have its name. Choose another name.")
    inside = [source for source in options.photos if source.is_dir() and out.is_relative_to(source.resolve())]
    if inside and out.suffix.lower() == ".png":
        raise InputError(f"--out {options.out} is inside {inside[0]}, so the next run would draw the figure "
                         "as a photo. Choose a folder outside.")


def _predicted(
    detector: Ulsad, labelled: list[tuple[Path, str, LabelledPhoto | None]], criterion: Criterion,
    options: argparse.Namespace,
) -> list[Shown]:
    """The photos to show, in order. Unreadable ones are left out, if that does not shift the captions."""
    shown, skipped = [], []
    results = detector.predict_many(path for path, _, _ in labelled)
    for done, (result, (_, name, label)) in enumerate(zip(results, labelled, strict=True), start=1):
        if isinstance(result, Skipped):
            skipped.append(result.reason)
        else:
            shown.append(Shown(result, name, label))
        print_progress(Progress("scoring", done, len(labelled)))
    if skipped and (options.captions or not shown):
        raise InputError("\n".join(skipped))
    for reason in skipped:
        print(f"left out: {reason}", file=sys.stderr)
    if options.strangest:
        batch = Batch(tuple(one.name for one in shown), tuple(one.prediction for one in shown))
        order = np.argsort(-batch.scores(criterion)[:, 0], kind="stable")[:options.strangest]
        shown = [shown[i] for i in order]
    if len(options.captions) > len(shown):
        raise InputError(f"There are {len(options.captions)} captions for {len(shown)} photos. Remove some.")
    return shown


def _with_masks(shown: list[Shown], options: argparse.Namespace) -> list[Shown]:
    """With the masks from --masks, or else those of the data set, or else those that somebody painted."""
    if options.masks:
        return _from_folder(shown, options.masks)
    said = marks.beside(options.model)
    marked = {mark.digest: mark for mark in said.read()}
    return [one._replace(mask=marks.truth(one.label, marked.get(one.prediction.digest), said, MASK_SIDE))
            for one in shown]


def _from_folder(shown: list[Shown], folder: Path) -> list[Shown]:
    if not folder.is_dir():
        raise InputError(f"--masks: {folder} is not a folder.")
    found = []
    for one in shown:
        label = LabelledPhoto(one.prediction.file, "defect", masks=masks_of(one.prediction.file, folder))
        mask = marks.truth(label, None, marks.Marks(folder), MASK_SIDE)
        found.append(one._replace(mask=mask))
    if all(one.mask is None for one in found):
        file = shown[0].prediction.file
        raise InputError(f"{folder} holds no mask of these photos. That of {file.name}, for example, would "
                         f"be called {file.stem}.png or {file.stem}_mask.png.")
    return found


def _columns(detector: Ulsad, shown: list[Shown], options: argparse.Namespace) -> tuple[str, ...]:
    has_global = shown[0].prediction.raw_global is not None
    has_masks = any(one.mask is not None for one in shown)
    if not options.columns:
        return map_figure.columns_for(has_global, has_masks)
    if "global" in options.columns and not has_global:
        raise InputError(f"{options.model} has no global branch. Leave global out of --columns.")
    if "mask" in options.columns and not has_masks:
        raise InputError("No mask is known for these photos. Give their folder with --masks, or leave mask "
                         "out of --columns.")
    return options.columns


def _warn(detector: Ulsad, shown: list[Shown]) -> None:
    """Say what a reader of the figure should know."""
    if strange := sum(one.prediction.is_strange for one in shown):
        print(strange_photos_warning(strange, len(shown)), file=sys.stderr)
    if seen := [one.name for one in shown if detector.seen_in(one.prediction)]:
        print(f"{len(seen)} of these photos were used to make the model, for example {seen[0]}, so their "
              "maps are no example of how it does on others.", file=sys.stderr)


def _rows(
    detector: Ulsad, shown: list[Shown], criterion: Criterion, options: argparse.Namespace
) -> Iterator[Row]:
    """One photo is in memory at a time."""
    captions = [one.name for one in shown] if options.names else options.captions
    for i, (prediction, _, _, mask) in enumerate(shown):
        maps = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
        good = detector.references.photo(prediction.reference)
        caption = captions[i] if i < len(captions) else ""
        yield Row(detector.reading(prediction.file).image, maps, caption, mask, good)
        print_progress(Progress("drawing", i + 1, len(shown)))
