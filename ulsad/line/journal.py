"""What a watched folder has come to: each photo's verdict is written down once, whatever happens.

A verdict first goes into a database, in one transaction. Its other traces follow from that entry, and each of
them can be made again without harm: the JSON, the row in the day's table, the photo's move. An entry is done
once all are there; after a kill, those that are not done are finished.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self

from ulsad.errors import InputError
from ulsad.line.arrivals import Arrival
from ulsad.line.day_table import add_rows
from ulsad.line.verdict import Basis, Verdict
from ulsad.photos.files import replacing

JOURNAL = "journal.sqlite"

_CREATE = """CREATE TABLE IF NOT EXISTS photos (
    key TEXT PRIMARY KEY, entry TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0)"""


class Entry(NamedTuple):
    """A photo with its verdict, and where its traces are: paths relative to the journal's folder."""

    arrival: Arrival
    verdict: Verdict
    json: str  # DAY/NAME.json
    photo: str | None  # VERDICT/NAME, where the photo is moved to; None: it stays


@dataclass
class Journal:
    """The journal of one folder of results. Only one process at a time can open it."""

    folder: Path  # of results
    watched: Path
    _database: sqlite3.Connection

    @classmethod
    def open(cls, folder: Path, watched: Path) -> Self:
        """Raises `InputError` if another process has it open, or if it can't be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(folder / JOURNAL, timeout=0.5, isolation_level=None)
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN EXCLUSIVE")
            database.execute(_CREATE)
            database.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            if "locked" in str(error):
                raise InputError(f"Another process is writing to {folder}. Stop it first, or choose another "
                                 "folder with --out.") from error
            raise InputError(f"{folder} can't be written ({error}). Choose another folder.") from error
        return cls(folder, watched, database)

    def close(self) -> None:
        self._database.close()

    def knows(self, arrival: Arrival) -> bool:
        """Whether the photo has a verdict."""
        found = self._database.execute("SELECT 1 FROM photos WHERE key = ?", [arrival.key])
        return found.fetchone() is not None

    def planned(self, judged: Sequence[tuple[Arrival, Verdict]], moves: bool) -> list[Entry]:
        """Where the traces of verdicts will be: under each photo's name, or NAME-2, … if that is taken."""
        taken: set[str] = set()
        entries = []
        for arrival, verdict in judged:
            entry = next(entry for entry in _candidates(arrival, verdict, moves)
                         if entry.json.casefold() not in taken and not self._is_taken(entry))
            taken.add(entry.json.casefold())
            entries.append(entry)
        return entries

    def _is_taken(self, entry: Entry) -> bool:
        return any((self.folder / place).exists() for place in (entry.json, entry.photo) if place)

    def enter(self, entries: Sequence[Entry], basis: Basis) -> None:
        """Write verdicts with their basis down for good. Raises `sqlite3.OperationalError`, and then none is
        written."""
        values = [(entry.arrival.key, json.dumps(_plain(entry, basis))) for entry in entries]
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT INTO photos (key, entry) VALUES (?, ?)", values)
            self._database.execute("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def finish(self) -> None:
        """Make the traces of all entries that are not done, some perhaps for the second time.

        Raises `OSError` or `sqlite3.OperationalError`, for example on a full disk; call it again later.
        """
        found = self._database.execute(
            "SELECT key, entry FROM photos WHERE done = 0 ORDER BY rowid").fetchall()
        if not found:
            return
        entries = [_of_plain(json.loads(text)) for _, text in found]
        for (_, text), entry in zip(found, entries, strict=True):
            self._write_json(entry, text)
        add_rows(self.folder, [entry.verdict for entry in entries], perhaps_again=True)
        for entry in entries:
            self._move(entry)
        # A photo that was moved can't arrive again, so its entry is no longer needed.
        done = [([key], entry.photo) for (key, _), entry in zip(found, entries, strict=True)]
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("DELETE FROM photos WHERE key = ?", [key for key, moved in done if moved])
        self._database.executemany("UPDATE photos SET done = 1 WHERE key = ?",
                                   [key for key, moved in done if not moved])
        self._database.execute("COMMIT")

    def _write_json(self, entry: Entry, text: str) -> None:
        file = self.folder / entry.json
        file.parent.mkdir(parents=True, exist_ok=True)
        plain = json.loads(text)
        left_at = self.watched.absolute() / entry.arrival.name
        shown = {**plain["verdict"], "photo": entry.photo or str(left_at), "judged_by": plain["basis"]}
        with replacing(file) as partial, open(partial, "w", encoding="utf-8") as opened:
            json.dump(shown, opened, indent=1)
            os.fsync(opened.fileno())

    def _move(self, entry: Entry) -> None:
        if entry.photo is None:
            return
        source, target = self.watched / entry.arrival.name, self.folder / entry.photo
        if not is_still(source, entry.arrival):
            return  # it was moved already, or somebody replaced it, and the new one is another photo
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(source, target)
        except OSError:  # on another disk, or the source is protected
            with replacing(target) as partial:
                shutil.copy2(source, partial)
                with open(partial, "rb+") as opened:
                    os.fsync(opened.fileno())
            source.unlink()


def _candidates(arrival: Arrival, verdict: Verdict, moves: bool) -> Iterator[Entry]:
    name = PurePosixPath(arrival.name)
    for number in count(1):
        free = name if number == 1 else name.with_name(f"{name.stem}-{number}{name.suffix}")
        moved_to = f"{verdict.verdict}/{free}" if moves else None
        yield Entry(arrival, verdict, f"{verdict.day}/{free}.json", moved_to)


def is_still(file: Path, arrival: Arrival) -> bool:
    """Whether a file is there and has not changed since it was seen."""
    try:
        found = os.stat(file)
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns, found.st_ino) == arrival[1:]


def _plain(entry: Entry, basis: Basis) -> dict[str, Any]:
    return {"arrival": entry.arrival, "verdict": entry.verdict.to_dict(), "json": entry.json,
            "photo": entry.photo, "basis": basis.to_dict()}


def _of_plain(values: dict[str, Any]) -> Entry:
    return Entry(Arrival(*values["arrival"]), Verdict.from_dict(values["verdict"]), values["json"],
                 values["photo"])
