"""Score photos: write scores.csv, a picture of each photo's maps, and skipped.csv for unreadable photos."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulsad.commands.options import add_criterion, add_machine, judging
from ulsad.compute import distributed
from ulsad.detector import rendering, spreadsheet
from ulsad.detector.batch import Batch, Table, strange_photos_warning
from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.photos.archives import named_photos
from ulsad.photos.images import Skipped


class Written(NamedTuple):
    """Names of photos to report to the user."""

    skipped: list[tuple[str, str]]  # (name, reason) of unreadable photos
    strange: list[str]  # photos unlike anything the model was trained on
    noted: list[str]  # photos with notes


EXAMPLE = "part.safetensors photos/new --out out"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path, help="a folder, a zip, or one photo")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores.csv and the maps")
    parser.add_argument("--raw", action="store_true",
                        help="also write the raw local and global maps at photo size, as .npz")
    add_criterion(parser)
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """If torchrun started several processes, they share the photos; the first one merges the tables."""
    with distributed.group():
        detector = Ulsad.load(options.model, options.weights, options.device or distributed.local_device())
        detector, criterion = judging(detector, options)
        if options.photos.is_dir() and options.out.resolve().is_relative_to(options.photos.resolve()):
            raise InputError(f"--out {options.out} is inside the folder of photos, so the next run would "
                             "score the maps as photos. Choose a folder outside.")
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            names = named_photos(options.photos, Path(scratch))
            mine = dict(list(names.items())[distributed.rank()::distributed.size()])
            table = options.out / ("scores.csv" if distributed.size() == 1 else f".scores-{os.getpid()}.csv")
            written = _write_predictions(detector, mine, table, options.out / "maps", criterion, options.raw)
        skipped, strange = distributed.gathered(written.skipped), distributed.gathered(written.strange)
        noted = distributed.gathered(written.noted)
        if distributed.size() > 1:
            _merge(table, options.out / "scores.csv", list(names.values()))
        if distributed.rank() == 0:
            scored = len(names) - len(skipped)
            if strange:
                print(strange_photos_warning(len(strange), scored), file=sys.stderr)
            if noted:
                print(f"Photos with notes: {len(noted)}, for example {noted[0]}; see the last column.",
                      file=sys.stderr)
            print(f"{scored} photos scored, {options.out / 'scores.csv'}")
            _write_skipped(options.out / "skipped.csv", skipped)


def _merge(part: Path, table: Path, names: list[str]) -> None:
    """Merge every process's rows in the order of all photos."""
    head, *rows = spreadsheet.read(part)
    part.unlink()
    rows = distributed.gathered(rows)
    if distributed.rank() == 0:
        order = {name: i for i, name in enumerate(names)}
        with spreadsheet.Writer(table) as merged:
            merged.rows([head, *sorted(rows, key=lambda row: order[str(row[0])])])


def _write_predictions(
    detector: Ulsad, names: dict[Path, str], table_file: Path, maps: Path, criterion: Criterion, raw: bool
) -> Written:
    """Write the table and the maps."""
    written = Written([], [], [])
    with Table(table_file) as table:
        for result in detector.predict_many(names):
            if isinstance(result, Skipped):
                written.skipped.append((names[result.path], result.reason))
                continue
            name = names[result.file]
            table.add(name, Batch((name,), (result,)).judged(criterion)[0], detector.seen_in(result),
                      result.notes)
            _write_maps(detector, result, maps / name, criterion, raw)
            if result.is_strange:
                written.strange.append(name)
            if result.notes:
                written.noted.append(name)
    return written


def _write_maps(
    detector: Ulsad, prediction: Prediction, place: Path, criterion: Criterion, raw: bool
) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    photo = rendering.fit_within(detector.reading(prediction.file).image, 512)
    maps = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
    rendering.sheet(rendering.views(photo, maps)).save(f"{place}.png")
    if raw:
        found: dict[str, Any] = {"local": prediction.local_map, "global": prediction.global_map}
        np.savez(f"{place}.npz", **{name: map_ for name, map_ in found.items() if map_ is not None})


def _write_skipped(file: Path, skipped: list[tuple[str, str]]) -> None:
    if not skipped:
        file.unlink(missing_ok=True)
        return
    with spreadsheet.Writer(file) as table:
        table.rows([["path", "reason"], *skipped])
    print(f"{len(skipped)} could not be read, see {file}", file=sys.stderr)
