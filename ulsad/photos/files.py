"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ulsad.errors import InputError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A place to write to, beside `file`; what is there takes its place when the block ends well.

    Otherwise it is removed, and `file` stays as it was: a full disk or a kill never harms what was there. The
    folder must be there; somebody may have taken it away on purpose.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}")  # a name that nobody takes for the real thing
    try:
        yield partial
        os.replace(partial, file)
    finally:
        with suppress(OSError):  # a disk that can't be written to says so above
            partial.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """UTF-8; what can't be encoded, as in names of files that are not UTF-8, becomes a question mark."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def link_or_copy(file: Path, place: Path) -> Path:
    """A second name for a file, which costs neither time nor space; a copy where a disk ends in between."""
    file = file.resolve()  # a link to a link would end with the first
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
    return place


def place_inside(name: str) -> PurePosixPath:
    """A name with folders in it, as it came from outside, that stays inside the folder it is put into.

    Raises `InputError` for one that leads out of it, or that no file can have.
    """
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or re.match("[A-Za-z]:", str(place)):
        raise InputError(f"refused, the entry '{name}' leads outside the folder.")
    if not place.parts or not all(map(_can_be_a_name, place.parts)):
        raise InputError(f"refused, no file can be called '{name[:100]!r}'.")
    return place


def _can_be_a_name(part: str) -> bool:
    try:
        return 0 < len(os.fsencode(part)) <= 255 and "\0" not in part
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
