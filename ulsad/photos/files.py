"""Write files completely or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ulsad.errors import InputError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary path beside `file` to write to; it replaces `file` when the block succeeds.

    Otherwise it is removed and `file` stays unchanged, even on a full disk or a kill. The folder is not
    created, as somebody may have removed it on purpose.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}")  # hidden, so nobody mistakes it for the file
    try:
        yield partial
        os.replace(partial, file)
    finally:
        with suppress(OSError):  # a write error was already raised above
            partial.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write UTF-8; what can't be encoded, such as file names that are not UTF-8, becomes a question mark."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def rest_of_line(file: BinaryIO) -> str:
    """What ends the last line of a file that is appended to: "" where it is whole."""
    if not file.seek(0, os.SEEK_END):
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def link_or_copy(file: Path, place: Path) -> Path:
    """Make a hard link, which costs neither time nor space; a copy if the two are on different disks."""
    file = file.resolve()  # a link to a link would break with the first
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
    return place


def place_inside(name: str) -> PurePosixPath:
    """An untrusted name, which may contain folders, as a relative path inside its target folder.

    Raises `InputError` for a name that leads outside, or that no file can have.
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
