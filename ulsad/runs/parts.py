"""A part: what a user inspects, with every version of its model, in one folder that can be copied elsewhere.

part.json  which version is in use, and which was before
marks/     what people said of the part's photos, see `marks`
VERSION/   a run directory, with its photos and its model
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ulsad.errors import InputError
from ulsad.photos.files import write_text
from ulsad.runs import directory
from ulsad.runs.directory import MARKS, PART
from ulsad.runs.events import EVENTS

_BECOMING = ".becoming-a-part."  # begins the hidden name of a folder that `adopt` has not finished
_LONGEST = 60  # bytes of the reason in a version's name


def new_version(models_dir: Path, name: str, why: str = "") -> Path:
    """A new, empty run directory: the next version of the part `name`, which is made if there is none.

    A run of that name becomes the part's first version. `why` is added to the version's name. Without a name,
    the part is named by the date. Raises `InputError` for a name that a part can't have.
    """
    there = {run.name: run for run in directory.all_runs(models_dir) if directory.part_of(run) is None} | {
        part.name: part for part in all_parts(models_dir)}
    part = there.get(name.strip())
    if part is None:
        part = _made(models_dir / directory.free_name(name, models_dir))
    elif (part / EVENTS).is_file():
        part = adopt(part).parent
    return _next(part, why)


def give_up(version: Path) -> None:
    """Remove a new version that did not come about, and its part if it was the first."""
    shutil.rmtree(version, ignore_errors=True)
    part = version.parent
    if {file.name for file in part.iterdir()} == {PART}:
        shutil.rmtree(part, ignore_errors=True)


def _made(part: Path) -> Path:
    part.mkdir(parents=True)
    write_text(part / PART, "{}")
    return part


def _next(part: Path, why: str) -> Path:
    while True:
        version = part / f"version {1 + _highest(part)}{f', {_cut(why)}' if why else ''}"
        try:
            version.mkdir()
            return version
        except FileExistsError:  # somebody else was faster
            continue


def _highest(part: Path) -> int:
    """The highest number that a version has, or had before it was deleted: numbers are not used again."""
    found = [re.match(r"version (\d{1,9})", folder.name) for folder in part.iterdir() if folder.is_dir()]
    last = _read(part).get("last")
    return max([last if isinstance(last, int) else 0, *(int(match[1]) for match in found if match)])


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST].decode(errors="ignore")


def all_parts(models_dir: Path) -> list[Path]:
    """The parts' folders, sorted by name; links are ignored."""
    return sorted({part for run in directory.all_runs(models_dir) if (part := directory.part_of(run))})


def named(models_dir: Path, name: str | None) -> Path:
    """A part by name, found by comparing names, never by building a path.

    Raises `InputError` where there is none.
    """
    for part in all_parts(models_dir):
        if part.name == name:
            return part
    raise InputError(f"There is no part '{name}'. Choose one from the list.")


def versions(part: Path) -> list[Path]:
    """The run directories of a part, newest first."""
    return directory.all_runs(part)


def in_use(part: Path) -> Path | None:
    """The version that judges the part's photos: the chosen one, or else the newest with a model."""
    ready = [version for version in versions(part) if directory.read(version).model]
    chosen = _read(part).get("in_use")
    return next((version for version in ready if version.name == chosen), ready[0] if ready else None)


def before(part: Path) -> Path | None:
    """The version that was in use before the one that is now, if it is still there."""
    name, now = _read(part).get("before"), in_use(part)
    return next((version for version in versions(part) if version.name == name and version != now
                 and directory.read(version).model), None)


def use(version: Path) -> None:
    """Put a version in the place of the one in use. Raises `InputError` where it has no model."""
    part = directory.part_of(version)
    if part is None or directory.read(version).model is None:
        raise InputError(f"'{version.name}' has no model yet. Choose another version.")
    now, said = in_use(part), _read(part)
    if now != version:
        _write(part, said | {"in_use": version.name, "before": now.name if now else None})
    elif "in_use" not in said:
        _write(part, said | {"in_use": version.name})


def _read(part: Path) -> dict[str, Any]:
    """What part.json says; nothing for a damaged one, as a version can be chosen again."""
    try:
        values = json.loads((part / PART).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _write(part: Path, values: dict[str, Any]) -> None:
    write_text(part / PART, json.dumps(values))


def rename(part: Path, name: str) -> Path:
    """Rename a part. Raises `InputError` for a name that is taken or invalid, and while it is training."""
    _refuse_live(part)
    return part.rename(part.with_name(directory.free_name(name, part.parent)))


def rename_version(version: Path, name: str) -> Path:
    """Rename a version, which stays in use if it was. Raises `InputError`, see `directory.rename`."""
    part, old = directory.part_of(version), version.name
    renamed = directory.rename(version, name)
    if part and old in (said := _read(part)).values():
        _write(part, {key: renamed.name if value == old else value for key, value in said.items()})
    return renamed


def delete(part: Path) -> None:
    """Remove a part with all its versions, photos and marks. Raises `InputError` while it is training."""
    _refuse_live(part)
    directory.remove(part)


def delete_version(version: Path) -> None:
    """Remove one version; with the last one, the part. In the place of the one in use comes the one that was
    before. Raises `InputError` while it is training."""
    part = directory.part_of(version)
    if part is None:
        directory.delete(version)
    elif versions(part) == [version]:
        delete(part)
    else:
        last, earlier = _highest(part), before(part)
        if in_use(part) == version:
            said = {"in_use": earlier.name} if earlier else {}
        else:
            said = {key: value for key, value in _read(part).items() if value != version.name}
        directory.delete(version)
        _write(part, said | {"last": last})


def _refuse_live(part: Path) -> None:
    if not part.is_dir():
        raise InputError(f"There is no part '{part.name}' any more.")
    for version in versions(part):
        if directory.read(version).is_live:
            raise InputError(f"'{part.name}' is still training. Stop it first.")


def adopt(run: Path) -> Path:
    """Make a part of a run that is by itself: the run becomes its first version, and is returned.

    Raises `InputError` while the run is training.
    """
    if directory.part_of(run):
        return run
    if directory.read(run).is_live:
        raise InputError(f"'{run.name}' is still training. Stop it first.")
    part = run.with_name(_BECOMING + run.name)
    part.mkdir(exist_ok=True)  # a killed process may have left it
    run.rename(part / "version 1")
    return _completed(part) / "version 1"


def tidy(models_dir: Path) -> None:
    """Finish what a killed process left of `adopt` and of deleting."""
    for part in models_dir.glob(f"{_BECOMING}*"):
        if (part / "version 1").is_dir():
            _completed(part)
    for folder in (*models_dir.glob(f"{directory.DELETED}*"), *models_dir.glob(f"*/{directory.DELETED}*")):
        shutil.rmtree(folder, ignore_errors=True)


def _completed(part: Path) -> Path:
    if (marks := part / "version 1" / MARKS).is_dir():
        marks.rename(part / MARKS)
    _write(part, {"in_use": "version 1"})
    return part.rename(part.with_name(free_like(part.name.removeprefix(_BECOMING), part.parent)))


def free_like(name: str, models_dir: Path) -> str:
    """The name, or with a number behind it if that is taken. Raises `InputError` if it can't be a name."""
    for number in range(2, 1000):
        if not directory.can_be_a_name(name):
            break
        with suppress(InputError):
            return directory.free_name(name if number == 2 else f"{name} ({number - 1})", models_dir)
    raise InputError(f"'{name}' can't be the name of a part. Choose another one.")
