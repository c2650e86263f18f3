"""The same training once more, as a new run, without some of its photos."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

from ulsad.errors import InputError
from ulsad.photos.files import link_or_copy
from ulsad.photos.intake import is_kept, keep, kept
from ulsad.runs import directory
from ulsad.runs.process import Order

LONGEST = 80  # bytes of the earlier name that the new one keeps, see `directory.free_name`


def train_without(run: Path, names: Sequence[str]) -> Path:
    """Start the same training again without these good photos, as a new run beside it, and return its folder.

    Raises `InputError` if no photo is named, or if the run's photos are not kept with it.
    """
    if not names:
        raise InputError("Choose the photos to leave out first.")
    photos = run / directory.PHOTOS
    if not is_kept(photos):
        raise InputError(f"The photos of '{run.name}' are not kept with it. Remove {', '.join(names)} from "
                         "your folder and train again.")
    order, intake = Order.read(run), kept(photos)
    good, held_out = (tuple(path for path in paths if path.name not in names)
                      for paths in (intake.good, intake.held_out))
    folder = run.with_name(_free_name(run, len(names)))
    try:
        keep(replace(intake, good=good, held_out=held_out), folder / directory.PHOTOS)
    except InputError:
        shutil.rmtree(folder, ignore_errors=True)  # the name stays free
        raise
    weights = order.weights
    if weights and (mine := run / Path(weights).name).is_file():  # the earlier run may be renamed or deleted
        weights = str(link_or_copy(mine, folder / mine.name))
    directory.start(folder, [str(folder / directory.PHOTOS), "--preset", order.preset,
                             *(["--set", *order.settings] if order.settings else []),
                             *(["--weights", weights] if weights else []),
                             *(["--device", order.device] if order.device else [])])
    return folder


def _free_name(run: Path, left_out: int) -> str:
    """'NAME without 2', or with a number behind it if that is taken. A long name is cut short."""
    first = re.sub(r" without \d+( \(\d+\))?$", "", run.name).encode()[:LONGEST].decode(errors="ignore")
    names = chain([f"{first} without {left_out}"],
                  (f"{first} without {left_out} ({number})" for number in count(2)))
    return next(name for name in names if not any(
        run.with_name(taken).exists() for taken in (name, name + directory.SUFFIX)))
