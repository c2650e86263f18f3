"""A big job: many photos judged into one table, by one process or several, in one go or after interruptions.

Every process appends its rows to a part of its own. An interrupted job goes on with the photos that no part
has. At the end the parts are merged in the order of the photos, row by row, and removed.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from ulsad.detector import spreadsheet
from ulsad.detector.detector import UNFAMILIAR
from ulsad.line.verdict import COLUMNS, UNREADABLE, Verdict
from ulsad.photos.files import replacing, write_text

SCORES, SKIPPED, JOB = "scores.csv", "skipped.csv", "job.json"
PARTS = ".scores-"  # begins the names of parts


@dataclass
class Summary:
    """What came of a job."""

    scored: int = 0
    skipped: int = 0
    strange: int = 0  # photos unlike all good ones
    noted: int = 0  # photos with notes
    example: str = ""  # the first of them

    def count(self, verdict: Verdict) -> None:
        if verdict.verdict == UNREADABLE:
            self.skipped += 1
            return
        self.scored += 1
        self.strange += any(UNFAMILIAR in note for note in verdict.notes)
        if verdict.notes:
            self.noted += 1
            self.example = self.example or verdict.path


@dataclass(frozen=True)
class Job:
    """The photos of a job, in the order of its table, and the folder of its results."""

    folder: Path
    basis: str  # `Basis.id`: parts of another one belong to another job
    names: Sequence[str]

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob(f"{PARTS}{self.basis}-*"))

    def parts_of_others(self) -> list[Path]:
        """Of interrupted jobs with another model, criterion or version of the program."""
        return sorted(set(self.folder.glob(f"{PARTS}*")) - set(self.parts()))

    def judged(self) -> set[str]:
        """The names of photos that a part has."""
        wanted = set(self.names)
        return {verdict.path for part in self.parts() for verdict in _verdicts(part)} & wanted

    def open_part(self, process: int) -> BinaryIO:
        """A new part, to which `add` appends. Unbuffered: what is added survives a kill."""
        return open(self.folder / f"{PARTS}{self.basis}-{time.time_ns()}-{process}", "ab", buffering=0)

    def merge(self) -> Summary:
        """Write scores.csv, and skipped.csv if photos could not be read; remove the parts.

        Raises `OSError`.
        """
        summary, scores, skipped = Summary(), self.folder / SCORES, self.folder / SKIPPED
        with (replacing(scores) as partial, replacing(skipped) as others,
              spreadsheet.Writer(partial) as table, spreadsheet.Writer(others) as left_out):
            table.row(COLUMNS)
            left_out.row(("path", "reason"))
            for verdict in self._in_order():
                if verdict.verdict == UNREADABLE:
                    left_out.row((verdict.path, verdict.notes[0]))
                else:
                    table.row(verdict.row())
                summary.count(verdict)
        if not summary.skipped:
            skipped.unlink()
        for part in self.parts():
            part.unlink()
        return summary

    def _in_order(self) -> Iterator[Verdict]:
        """The verdicts of all parts, each photo's once. Every part is in the order of the photos already."""
        place = {name: i for i, name in enumerate(self.names)}

        def placed(part: Path) -> Iterator[tuple[int, Verdict]]:
            return ((place[verdict.path], verdict) for verdict in _verdicts(part) if verdict.path in place)

        merged = heapq.merge(*map(placed, self.parts()), key=lambda item: item[0])
        for _, same in groupby(merged, key=lambda item: item[0]):
            yield next(same)[1]


def add(part: BinaryIO, verdict: Verdict) -> None:
    """Raises `OSError`."""
    part.write(spreadsheet.encoded(verdict.row()))


def note_job(folder: Path, model: Path, photos: Path | None = None) -> None:
    """Where the model and the photos are, if it is known, for those who verify the verdicts.

    Raises `OSError`.
    """
    places = {"model": model, "photos": photos}
    write_text(folder / JOB, json.dumps({of: str(place.absolute()) for of, place in places.items() if place}))


def _verdicts(part: Path) -> Iterator[Verdict]:
    """Of one part, up to where a kill or a power cut has spoilt it: what comes after is judged again."""
    with open(part, newline="", encoding="utf-8", errors="surrogateescape") as opened, suppress(ValueError):
        for row in spreadsheet.rows_of(whole_lines(opened)):
            yield Verdict.from_row(row)


def whole_lines(lines: Iterable[str]) -> Iterator[str]:
    """Without a last one that a kill, a power cut or a full disk has cut short."""
    return (line for line in lines if line.endswith("\n"))
