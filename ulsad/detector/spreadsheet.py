"""CSV that spreadsheets show as it was meant and run nothing of, and that programs read back to the letter.

UTF-8 with a byte-order mark, without which spreadsheets garble names in other alphabets. Texts stand in
quotes, so that a semicolon divides nothing where spreadsheets expect one. A text that would run as a formula
has an apostrophe before it, and so has one that begins with an apostrophe: drop the first one to undo it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Self, TextIO

Cell = str | int | float | None

ENCODING = "utf-8-sig"
ESCAPE = "'"
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what OWASP lists

_writer = partial(csv.writer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


class Writer:
    """A CSV file that grows row by row. Bytes of file names that are no UTF-8 are kept as they are."""

    def __init__(self, file: Path | str) -> None:
        self._opened = open(file, "w", newline="", encoding=ENCODING,  # noqa: SIM115
                            errors="surrogateescape")
        self._writer = _writer(self._opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def row(self, cells: Iterable[Cell]) -> None:
        self._writer.writerow(map(escaped, cells))

    def rows(self, rows: Iterable[Iterable[Cell]]) -> None:
        for row in rows:
            self.row(row)


def write(rows: Iterable[Iterable[Cell]], opened: TextIO) -> None:
    """The same into a file that is open as text."""
    _writer(opened).writerows(map(escaped, row) for row in rows)


def read(file: Path | str) -> list[list[str | float]]:
    """The rows of a file that `Writer` wrote, as they were given; every number comes back as a float."""
    with open(file, newline="", encoding=ENCODING, errors="surrogateescape") as opened:
        return [[original(cell) for cell in row] for row in csv.reader(opened, quoting=csv.QUOTE_NONNUMERIC)]


def escaped(cell: Cell) -> Cell:
    if isinstance(cell, str) and cell.startswith((*_FORMULAS, ESCAPE)):
        return ESCAPE + cell
    return cell


def original(cell: str | float) -> str | float:
    """Undoes `escaped`."""
    return cell.removeprefix(ESCAPE) if isinstance(cell, str) else cell
