"""A part as one zip, to take to another machine and to bring in from one.

What comes in may be made by anybody: only files that a part has are unpacked, and what they say is checked.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from ulsad.detector import model_file
from ulsad.errors import InputError
from ulsad.method.config import Config
from ulsad.photos.archives import extract, place_of, refuse_too_large
from ulsad.photos.files import replacing, write_text
from ulsad.photos.images import is_photo
from ulsad.photos.intake import LAYOUT, is_kept
from ulsad.runs import directory, events, parts
from ulsad.runs.directory import MARKS, PART, PHOTOS, STRANGEST
from ulsad.runs.marks import Marks
from ulsad.runs.outcome import Outcome
from ulsad.runs.process import Order
from ulsad.runs.turned import Comparison

MOST_FILES, MOST_BYTES = 200_000, 64 * 2**30

_FILES = {directory.ORDER, directory.CONFIG, events.EVENTS, directory.PREVIEW, directory.CHECKPOINT,
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
        with replacing(file) as partial, zipfile.ZipFile(
                partial, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            archive.writestr(str(top / PART), (place / PART).read_text("utf-8") if is_part else "{}")
            for source, inside in _travelling(place, ready):
                archive.write(source, str(top / inside))
    except OSError as error:
        raise InputError(f"'{place.name}' could not be packed ({error}). Is the disk full?") from error
    except UnicodeEncodeError as error:
        name = error.object.encode(errors="replace").decode()
        raise InputError(f"A zip can't hold a file with the name '{name}'. Rename it first.") from error
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
        case [version, name]:
            return version != MARKS and (name in _FILES or name.startswith("weights."))
        case [version, folder, *_, name]:
            return version != MARKS and folder in (PHOTOS, STRANGEST) and (is_photo(place) or name == LAYOUT)
    return False


def unpack(archive: Path, models_dir: Path) -> Path:
    """Bring a part in from a zip that `pack` wrote, and return its folder. If its name is taken, it gets a
    number.

    Raises `InputError` for anything else than such a zip, before the part appears.
    """
    with TemporaryDirectory(dir=models_dir, prefix=".unpacked-") as scratch:
        part = _extracted(archive, Path(scratch))
        try:
            _check(part, archive)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = str(error).replace(f"{scratch}/", "")
            raise InputError(f"{archive.name} can't be brought in: {reason}") from error
        return part.rename(models_dir / parts.free_like(part.name, models_dir))


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
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive.name} is no zip, or damaged. Export the part again.") from error
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
    folders = [folder for folder in part.iterdir() if folder.is_dir() and folder.name != MARKS]
    runs = [folder for folder in folders if (folder / events.EVENTS).is_file()]
    for folder in folders:
        if folder not in runs:  # no run, so nobody would see it
            shutil.rmtree(folder)
    for run in runs:
        if not directory.can_be_a_name(run.name):
            raise InputError(f"no version can be called '{run.name[:50]} …'.")
        _check_events(run)
        _check_order(run)
        for file in (run / directory.MODEL, run / directory.CHECKPOINT):
            if file.is_file():
                model_file.read_header(file)
        if (config := run / directory.CONFIG).is_file():
            Config.from_json(config.read_text(encoding="utf-8"))
        if (outcome := run / directory.OUTCOME).is_file():
            Outcome.read(outcome)
        if (compared := run / directory.TURNED).is_file():
            Comparison.read(compared)
    if not any([directory.read(run).model for run in runs]):
        raise InputError("it holds a part without a model.")
    marks = Marks(part / MARKS)
    for mark in marks.history():
        marks.photo(mark)
        marks.mask(mark)


def _check_events(run: Path) -> None:
    """Keep the lines that a training could have written, and the date, by which versions are ordered."""
    file = run / events.EVENTS
    then, lines = file.stat().st_mtime, file.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if events.parsed(line)] or [
        json.dumps({"event": "finished", "time": 0})]
    write_text(file, "".join(f"{line}\n" for line in kept))
    os.utime(file, (then, then))


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
