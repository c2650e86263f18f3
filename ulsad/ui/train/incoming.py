"""Photos dropped into the slots of Train, checked and kept until a training run takes them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ulsad.errors import InputError
from ulsad.photos.intake import Intake, keep, take_in
from ulsad.runs import photo_check
from ulsad.runs.photo_check import PhotoCheck
from ulsad.ui import places

FOLDER = ".incoming"  # in the models directory: on the same disk, so that photos need not be copied


@dataclass(frozen=True)
class Incoming:
    """Photos in `folder`/photos, in the layout of `intake.keep`, and the result of checking them."""

    models_dir: Path
    folder: Path
    intake: Intake
    check: PhotoCheck

    def move_to(self, place: Path) -> None:
        """Hand the photos over to a run. Raises `InputError` when they are gone."""
        try:
            (self.folder / "photos").rename(place)
        except OSError as error:
            raise InputError(f"The checked photos are no longer there ({error.strerror}). Drop them "
                             "again.") from error
        forget(self.folder.name)


_incoming: dict[str, Incoming] = {}


def clear(models_dir: Path) -> None:
    """Remove what killed apps have left; other apps may be running."""
    places.sweep(models_dir / FOLDER)


def look(slots: Sequence[Sequence[Path]], models_dir: Path, lasting: Path | None,
         white_level: float | None = None) -> Iterator[tuple[int, int] | str]:
    """Store and check the photos of the three slots; yield (done, total) as progress, and finally the key."""
    folder = models_dir / FOLDER / places.process() / uuid.uuid4().hex
    try:
        good, held_out, defects = slots
        taken = take_in(good, held_out, defects, folder / "unpacked")
        intake = keep(taken, folder / "photos", lasting)
        shutil.rmtree(folder / "unpacked", ignore_errors=True)
        for step in photo_check.checking(intake.slots, white_level):
            if isinstance(step, PhotoCheck):
                _incoming[folder.name] = Incoming(models_dir, folder, intake, step)
                yield folder.name
            else:
                yield step
    finally:
        if folder.name not in _incoming:
            shutil.rmtree(folder, ignore_errors=True)


def recalled(key: str | None) -> Incoming:
    """Raises `InputError` when there is nothing to train on yet."""
    if key not in _incoming:
        raise InputError("Drop photos of good parts first (20 to 300 images, or one zip) and wait until "
                         "they are checked.")
    return _incoming[key]


def forget(key: str | None) -> None:
    if key and (gone := _incoming.pop(key, None)):
        shutil.rmtree(gone.folder, ignore_errors=True)
