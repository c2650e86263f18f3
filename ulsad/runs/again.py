"""The same training once more, as a new run, without some of its photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from ulsad.errors import InputError
from ulsad.photos.files import link_or_copy
from ulsad.photos.intake import is_kept, keep, kept
from ulsad.runs import directory
from ulsad.runs.process import Order


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
    folder.mkdir()
    keep(replace(intake, good=good, held_out=held_out), folder / directory.PHOTOS)
    weights = Path(order.weights) if order.weights else None
    if weights and weights.parent == run:  # the earlier run may be deleted
        weights = link_or_copy(weights, folder / weights.name)
    directory.start(folder, [str(folder / directory.PHOTOS), "--preset", order.preset,
                             *(["--set", *order.settings] if order.settings else []),
                             *(["--weights", str(weights)] if weights else []),
                             *(["--device", order.device] if order.device else [])])
    return folder


def _free_name(run: Path, left_out: int) -> str:
    for name in _names(run.name, left_out):
        with suppress(InputError):
            return directory.free_name(name, run.parent)
    raise AssertionError


def _names(name: str, left_out: int) -> Iterator[str]:
    yield f"{name} without {left_out}"
    yield from (f"{name} without {left_out} ({number})" for number in count(2))
