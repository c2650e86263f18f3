"""A part as one zip, to take to another machine and to bring in from one.

What comes in may be made by anybody: only files that a part has are unpacked, and what they say is checked.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from ulsad.detector import model_file
from ulsad.errors import InputError
from ulsad.method.config import Config
from ulsad.photos.archives import extract, place_of, refuse_too_large
from ulsad.photos.files import replacing, write_text
from ulsad.photos.images import is_photo
from ulsad.photos.intake import LAYOUT, is_kept
from ulsad.runs import directory, parts
from ulsad.runs.directory import MARKS, PART, PHOTOS, STRANGEST
from ulsad.runs.marks import Marks
from ulsad.runs.outcome import Outcome
from ulsad.runs.process import Order

MOST_FILES, MOST_BYTES = 200_000, 64 * 2**30

_FILES = {directory.ORDER, directory.CONFIG, directory.EVENTS, directory.PREVIEW, directory.CHECKPOINT,
          directory.MODEL, directory.OUTCOME, directory.TURNED,
          directory.SCORED}
_ERRORS = (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, zlib.error, LZMAError)


def pack(place: Path, file: Path) -> Path:
    """Write a part's folder, or a run by itself, to a zip, and return it. A version that is still training is
    left out.

    Nothing is compressed, as photos and weights hardly get smaller. Raises `InputError`.
    """
    is_part = (place / PART).is_file()
    versions = {run.name: run for run in parts.versions(place)} if is_part else {"version 1": place}
    ready = {name: run for name, run in versions.items() if not directory.read(run).is_live}
    if not any(directory.read(run).model for run in ready.values()):
        raise InputError(f"'{place.name}' has no finished version yet. Wait for its training, or stop it.")
    top = PurePosixPath(place.name)
    try:
        with replacing(file) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(str(top / PART), (place / PART).read_text("utf-8") if is_part else "{}")
            for source, inside in _travelling(place, ready):
                archive.write(source, str(top / inside))
    except OSError as error:
        raise InputError(f"'{place.name}' could not be packed ({error}). Is the disk full?") from error
    return file


def _travelling(place: Path, versions: dict[str, Path]) -> Iterator[tuple[Path, PurePosixPath]]:
    """Files of a part, with their places in it."""
    for root, inside in ((place / MARKS, PurePosixPath(MARKS)), *((run, PurePosixPath(name))
                                                                 for name, run in versions.items())):
        for source in sorted(root.rglob("*")):
            to = inside / source.relative_to(root).as_posix()
            if source.is_file() and _belongs(PurePosixPath("part", to)):
                yield source, to


def _belongs(place: PurePosixPath) -> bool:
    """Whether a part has such a file. The first part of `place` is the part's name."""
    _, *inside = place.parts
    if any(name.startswith(".") for name in inside):
        return False
    match inside:
        case [only]:
            return only == PART
        case [folder, "marks.json"]:
            return folder == MARKS
        case [folder, _, _] if folder == MARKS:
            return is_photo(place)
        case [_, name]:
            return name in _FILES or name.startswith("weights.")
        case [_, folder, *_, name]:
            return folder in (PHOTOS, STRANGEST) and (is_photo(place) or name == LAYOUT)
    return False


def unpack(archive: Path, models_dir: Path) -> Path:
    """Bring a part in from a zip that `pack` wrote, and return its folder. If its name is taken, it gets a
    number.

    Raises `InputError` for anything else than such a zip, before the part appears.
    """
    with TemporaryDirectory(dir=models_dir, prefix=".unpacked-") as scratch:
        part = _extracted(archive, Path(scratch))
        _check(part, archive)
        return part.rename(models_dir / _free_name(part.name, models_dir))


def _extracted(archive: Path, scratch: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {place_of(member, archive.name): member for member in opened.infolist()
                       if not member.is_dir()}
            members = {place: member for place, member in members.items() if _belongs(place)}
            tops = {place.parts[0] for place in members if place.parts[1:] == (PART,)}
            if len(tops) != 1:
                raise InputError(f"{archive.name} holds no part. Choose a zip that 'Export the part' made.")
            members = {place: member for place, member in members.items() if place.parts[0] in tops}
            refuse_too_large(list(members.values()), archive.name, scratch, MOST_FILES, MOST_BYTES)
            for place, member in members.items():
                extract(opened, member, scratch / place)
                _date(scratch / place, member)
    except _ERRORS as error:
        raise InputError(f"{archive.name} could not be unpacked ({error}). Is the disk full? If not, export "
                         "the part again.") from error
    return scratch / tops.pop()


def _date(file: Path, member: zipfile.ZipInfo) -> None:
    """Versions are listed by the dates of their files."""
    with suppress(ValueError, OverflowError):
        then = min(time.mktime((*member.date_time, 0, 0, -1)), time.time())
        os.utime(file, (then, then))


def _check(part: Path, archive: Path) -> None:
    runs = [folder for folder in part.iterdir() if folder.is_dir() and folder.name != MARKS]
    for run in runs:
        _check_events(run)
        _check_order(run)
        for file in (run / directory.MODEL, run / directory.CHECKPOINT):
            if file.is_file():
                model_file.read_header(file)
        if (config := run / directory.CONFIG).is_file():
            Config.from_json(config.read_text(encoding="utf-8"))
        if (outcome := run / directory.OUTCOME).is_file():
            Outcome.read(outcome)
    if not any(directory.read(run).model for run in runs):
        raise InputError(f"{archive.name} holds a part without a model.")
    marks = Marks(part / MARKS)
    for mark in marks.history():
        if not mark.is_plain:
            raise InputError(f"{archive.name} holds a mark that this app did not write.")
        marks.photo(mark)
        marks.mask(mark)


def _check_events(run: Path) -> None:
    """Keep the lines that a training could have written; without any, the run would not be listed."""
    file = run / directory.EVENTS
    then = file.stat() if file.is_file() else None
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if then else []
    kept = [line for line in lines if _is_event(line)]
    kept = kept or [json.dumps({"event": "finished", "time": 0})]
    write_text(file, "".join(f"{line}\n" for line in kept))
    if then:
        os.utime(file, (then.st_mtime, then.st_mtime))


def _is_event(line: str) -> bool:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(values, dict) or not isinstance(values.get("event"), str):
        return False
    texts = {"event", "message", "name"}
    return all(isinstance(value, str) if key in texts else isinstance(value, (int, float)) or value is None
               for key, value in values.items())


def _check_order(run: Path) -> None:
    """An order may name only photos and weights that came with it."""
    if not (run / directory.ORDER).is_file():
        return
    if not is_kept(run / PHOTOS):
        (run / directory.ORDER).unlink()
        return
    order = Order.read(run)
    weights = order.weights if order.weights and Path(order.weights).parent == run else None
    order = replace(order, photos=(PHOTOS,), weights=weights and Path(weights).name, device=None)
    write_text(run / directory.ORDER, json.dumps(asdict(order)))


def _free_name(name: str, models_dir: Path) -> str:
    for number in range(1, 1000):
        with suppress(InputError):
            return directory.free_name(name if number == 1 else f"{name} ({number})", models_dir)
    raise InputError(f"'{name}' can't be a name here. Rename the zip's folder.")
