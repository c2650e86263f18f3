"""The same training once more, as the next version of a part, without some of its photos or with others."""

from __future__ import annotations

import filecmp
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from ulsad.errors import InputError
from ulsad.photos.datasets import UNNAMED_DEFECT, LabelledPhoto
from ulsad.photos.files import link_or_copy
from ulsad.photos.intake import Intake, is_kept, keep, kept
from ulsad.runs import directory, parts
from ulsad.runs.marks import Marks
from ulsad.runs.process import Order

LONGEST = 80  # characters of a photo's name that it keeps


def train_without(run: Path, names: Sequence[str]) -> Path:
    """Start the same training again without these good photos, as the next version; return its folder.

    A run by itself becomes a part first, see `parts.adopt`. Raises `InputError` if no photo is named, or if
    the run's photos are not kept with it.
    """
    if not names:
        raise InputError("Choose the photos to leave out first.")
    intake = _photos_of(run, f"Remove {', '.join(names)} from your folder and train again.")
    good, held_out = (tuple(path for path in paths if path.name not in names)
                      for paths in (intake.good, intake.held_out))
    return _started(run, replace(intake, good=good, held_out=held_out), f"without {len(names)}")


def train_with(run: Path, marks: Marks) -> Path:
    """Start the same training again with the marked photos, as the next version; return its folder.

    A run by itself becomes a part first, see `parts.adopt`. Photos marked as good join the good ones, and
    those marked as defects the known defects, which only test; their painted masks say where. A mark goes
    before what a photo was in the earlier training. Raises `InputError` if nothing is marked, if a marked
    photo or mask is gone, or if the run's photos are not kept with it.
    """
    said = marks.read()
    if not said:
        raise InputError("Nothing is marked yet. Say of some photos that they are good or have a defect.")
    intake = _photos_of(run, "Add the marked photos to your folder and train again.")
    with TemporaryDirectory() as scratch:
        good, defects = [], []
        for number, mark in enumerate(said):
            photo = _under_its_name(marks.photo(mark), mark.name, Path(scratch) / str(number))
            if mark.is_good:
                good.append(photo)
            else:
                mask = marks.mask(mark)
                masks = (mask,) if mask else _masks_of(photo, intake)
                defects.append(LabelledPhoto(photo, _folder_name(mark.kind), masks=masks))
        marked = [*good, *(defect.path for defect in defects)]
        return _started(run, replace(
            intake, good=(*_others(intake.good, marked), *good), held_out=_others(intake.held_out, marked),
            test=(*(photo for photo in intake.test if _others([photo.path], marked)), *defects),
        ), f"with {len(said)} marked")


def _photos_of(run: Path, advice: str) -> Intake:
    photos = run / directory.PHOTOS
    if not is_kept(photos):
        raise InputError(f"The photos of '{run.name}' are not kept with it. {advice}")
    return kept(photos)


def _under_its_name(photo: Path, name: str, folder: Path) -> Path:
    """The same photo under the name that the user knows, with its own suffix."""
    folder.mkdir()
    stem = re.sub(r"[^\w ().-]", "_", PurePath(name).stem).strip(". ")[:LONGEST] or "marked"
    return link_or_copy(photo, folder / f"{stem}{photo.suffix}")


def _folder_name(kind: str) -> str:
    return re.sub(r"[^\w ().-]", "_", kind).strip(". ") or UNNAMED_DEFECT


def _masks_of(photo: Path, intake: Intake) -> tuple[Path, ...]:
    """Those that the same photo had in the earlier training: a mark without a mask does not undo them."""
    return next((known.masks for known in intake.test if not _others([known.path], [photo])), ())


def _others(paths: Sequence[Path], marked: Sequence[Path]) -> tuple[Path, ...]:
    """Those that have not the same content as a marked photo."""
    return tuple(path for path in paths
                 if not any(filecmp.cmp(path, other, shallow=False) for other in marked))


def _started(run: Path, intake: Intake, why: str) -> Path:
    order, home = Order.read(run), directory.home_of(run)
    with TemporaryDirectory(dir=home, prefix=".again-") as scratch:
        keep(intake, Path(scratch) / directory.PHOTOS)
        run = parts.adopt(run)
        folder = parts.new_version(home, run.parent.name, why)
        Path(scratch, directory.PHOTOS).rename(folder / directory.PHOTOS)
    weights = order.weights
    if weights and (mine := run / Path(weights).name).is_file():  # the earlier run may be renamed or deleted
        weights = str(link_or_copy(mine, folder / mine.name))
    directory.start(folder, [str(folder / directory.PHOTOS), "--preset", order.preset,
                             *(["--set", *order.settings] if order.settings else []),
                             *(["--weights", weights] if weights else []),
                             *(["--device", order.device] if order.device else [])])
    return folder
