"""What people say of photos that a model has judged: this one is good, this one is a defect.

A folder beside the models holds marks.json, a list in the order of marking, each marked photo, and the masks
that were painted on defects.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from ulsad.errors import InputError
from ulsad.photos.datasets import LabelledPhoto, read_mask
from ulsad.photos.files import link_or_copy, write_text
from ulsad.runs.directory import MARKS, companion, part_of

_LIST, _PHOTOS, _MASKS = "marks.json", "photos", "masks"
_writing = Lock()


@dataclass(frozen=True)
class Mark:
    """One person's word on one photo."""

    digest: str  # of the photo, see `images.digest`
    name: str  # shown to the user
    is_good: bool
    kind: str  # of defect; "" for good parts and where it was not said
    score: float  # combined, when it was marked
    model: str  # the model's name and when it was made
    who: str  # the user's name if visitors must log in, else ""
    when: str
    mask: str = ""  # name of the PNG of where the defect is; "" for good parts and where none was painted

    @property
    def is_plain(self) -> bool:
        """Whether its values have the right types, and its file names lead nowhere else."""
        texts = (self.digest, self.name, self.kind, self.model, self.who, self.when, self.mask)
        return (all(isinstance(text, str) for text in texts) and isinstance(self.is_good, bool)
                and isinstance(self.score, (int, float)) and bool(re.fullmatch(r"\w+", self.digest))
                and bool(re.fullmatch(r"([\w-]+\.png)?", self.mask)))


@dataclass(frozen=True)
class Marks:
    """The marks of one part, or of one model. Two processes must not write at the same time; threads may."""

    folder: Path

    def read(self) -> list[Mark]:
        """The last mark of each photo, in the order of marking. Raises `InputError` for a damaged file."""
        marks = self.history()
        last = {mark.digest: i for i, mark in enumerate(marks)}
        return [marks[i] for i in sorted(last.values())]

    def add(self, mark: Mark, photo: Path, painted: np.ndarray | None = None) -> None:
        """Keep a mark and the photo, and of a defect the painted mask, bool (height, width) of the photo.

        A defect that is marked again keeps its mask until another is painted. Raises `InputError`.
        """
        with _writing:
            if not self.folder.parent.is_dir():
                raise InputError("The part was renamed or deleted meanwhile. Choose it again in the header.")
            before = self.history()
            try:
                place = self.folder / _PHOTOS / f"{mark.digest}{photo.suffix.lower()}"
                self.folder.mkdir(exist_ok=True)
                place.parent.mkdir(exist_ok=True)
                if not place.exists():
                    link_or_copy(photo, place)
                self._write([*before, replace(mark, mask=self._mask_of(mark, before, painted))])
            except OSError as error:
                raise InputError(f"The mark could not be kept ({error}). Is the disk full?") from error

    def undo(self, digest: str | None = None) -> Mark:
        """Take the last mark back, or the last one of a photo, and return it.

        An earlier one of the same photo holds again. Raises `InputError` if there is none.
        """
        with _writing:
            before = self.history()
            index = next((i for i in reversed(range(len(before)))
                          if digest is None or before[i].digest == digest), None)
            if index is None:
                raise InputError("Nothing is marked yet.")
            last = before.pop(index)
            self._write(before)
            if last.mask and last.mask not in {mark.mask for mark in before}:
                (self.folder / _MASKS / last.mask).unlink(missing_ok=True)
            if last.digest not in {mark.digest for mark in before}:
                for photo in (self.folder / _PHOTOS).glob(f"{last.digest}.*"):
                    photo.unlink(missing_ok=True)
            return last

    def photo(self, mark: Mark) -> Path:
        """The marked photo. Raises `InputError` if it is gone."""
        found = next((self.folder / _PHOTOS).glob(f"{mark.digest}.*"), None)
        if found is None:
            raise InputError(f"The marked photo {mark.name} is gone from {self.folder}.")
        return found

    def mask(self, mark: Mark) -> Path | None:
        """Where the defect is: a PNG as large as the upright photo, white on black; None if none was painted.

        Raises `InputError` if it is gone.
        """
        if not mark.mask:
            return None
        file = self.folder / _MASKS / mark.mask
        if not file.is_file():
            raise InputError(f"The mask of {mark.name} is gone from {self.folder}.")
        return file

    def _mask_of(self, mark: Mark, before: list[Mark], painted: np.ndarray | None) -> str:
        """The name of a new mark's mask, which is saved if it was painted.

        Every mask has a name of its own, so that an earlier mark still has its mask after an undo.
        """
        if mark.is_good:
            return ""
        if painted is None:
            earlier = [other.mask for other in before if other.digest == mark.digest]
            return earlier[-1] if earlier else ""
        file = self.folder / _MASKS / f"{mark.digest}-{uuid.uuid4().hex[:8]}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.where(painted, 255, 0).astype(np.uint8)).save(file)
        return file.name

    def history(self) -> list[Mark]:
        """Every mark, in the order of marking. Raises `InputError` for a damaged file."""
        file = self.folder / _LIST
        if not file.exists():
            return []
        try:
            marks = [Mark(**values) for values in json.loads(file.read_text(encoding="utf-8"))]
            if not all(mark.is_plain for mark in marks):
                raise ValueError("a mark that this app did not write")
            return marks
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{file} can't be read ({error}). Move it away to start without marks."
                             ) from error

    def _write(self, marks: list[Mark]) -> None:
        write_text(self.folder / _LIST, json.dumps([asdict(mark) for mark in marks], indent=1))


def truth(
    label: LabelledPhoto | None, mark: Mark | None, marks: Marks, side: int
) -> np.ndarray | None:
    """Where the defect of a photo is, bool (side, side); nowhere on a good one; None if nobody said.

    A data set's label counts first, then what a person has marked. Raises `InputError` for a mask that is
    gone or can't be read.
    """
    if label and (label.is_good or label.masks):
        return read_mask(label.masks, side)
    if mark and mark.is_good:
        return read_mask((), side)
    painted = marks.mask(mark) if mark else None
    return read_mask([painted], side) if painted else None


def beside(model_file: Path) -> Marks:
    """The marks that go with a model, given by its file: those of its part, or see `directory.companion`."""
    part = part_of(model_file.parent)
    return Marks(part / MARKS if part else companion(model_file, MARKS))
