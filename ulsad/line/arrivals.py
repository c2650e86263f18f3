"""Photos that arrive in a folder: which of them are complete."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ulsad.photos.images import is_photo


class Arrival(NamedTuple):
    """A photo's file, as it was seen."""

    name: str  # relative to the folder, with /
    size: int  # bytes
    modified: int  # ns
    number: int  # the file's own, on its disk

    @property
    def key(self) -> str:
        """Hexadecimal digits, other ones for every other photo, even under the same name."""
        return hashlib.sha256(os.fsencode("|".join(map(str, self)))).hexdigest()


class _Seen(NamedTuple):
    arrival: Arrival
    since: float  # monotonic seconds: unchanged since then


@dataclass
class Arrivals:
    """Looks at a folder now and then. A file that has not changed for `settle` seconds is complete."""

    folder: Path
    settle: float
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def look(self) -> list[Arrival]:
        """All complete photos that are there, oldest first. Raises `OSError` if the folder can't be read."""
        now, seen = time.monotonic(), {}
        for arrival in _photos(self.folder):
            before = self._seen.get(arrival.name)
            seen[arrival.name] = before if before and before.arrival == arrival else _Seen(arrival, now)
        self._seen = seen
        complete = [one.arrival for one in seen.values() if now - one.since >= self.settle]
        return sorted(complete, key=lambda arrival: (arrival.modified, arrival.name))

    @property
    def are_settling(self) -> bool:
        """Whether some photos were not complete at the last look."""
        now = time.monotonic()
        return any(now - one.since < self.settle for one in self._seen.values())

    def unchanged_for(self, arrival: Arrival) -> float:
        """Seconds since this file was first seen as it is; 0 if it has changed since the last look."""
        one = self._seen.get(arrival.name)
        return time.monotonic() - one.since if one and one.arrival == arrival else 0.0


def _photos(folder: Path) -> Iterator[Arrival]:
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = list(os.scandir(folder / below))
        except FileNotFoundError:
            if not below:
                raise
            continue  # gone since the folder above was listed
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    waiting.append(f"{name}/")
            elif is_photo(PurePosixPath(name)):
                with suppress(FileNotFoundError):  # likewise
                    found = os.stat(entry.path)
                    yield Arrival(name, found.st_size, found.st_mtime_ns, found.st_ino)
