"""CSV that spreadsheets display correctly without running formulas, and that programs can read back exactly.

UTF-8 with a byte-order mark, without which spreadsheets garble names in other alphabets. Texts are quoted, so
that a semicolon does not split a cell where spreadsheets use it as separator. A text that would run as a
formula, or that begins with an apostrophe, gets an apostrophe in front: drop the first one to undo this.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Self, TextIO

Cell = str | int | float | None

ENCODING = "utf-8-sig"
ESCAPE = "'"
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # OWASP's list

_writer = partial(csv.writer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


class Writer:
    """A CSV file, written row by row. Bytes in file names that are not UTF-8 are kept unchanged."""

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
    """Write rows into a file that is open as text."""
    _writer(opened).writerows(map(escaped, row) for row in rows)


def encoded(cells: Iterable[Cell]) -> bytes:
    """A row with its line break, for files that rows are appended to."""
    text = StringIO()
    write([cells], text)
    return text.getvalue().encode("utf-8", "surrogateescape")


def read(file: Path | str) -> list[list[str | float]]:
    """The original rows of a file that `Writer` wrote; every number is returned as a float."""
    with open(file, newline="", encoding=ENCODING, errors="surrogateescape") as opened:
        return list(rows_of(opened))


def rows_of(lines: Iterable[str]) -> Iterator[list[str | float]]:
    """The original rows, one by one. Raises `ValueError` for lines that are not such rows."""
    try:
        for row in csv.reader(lines, quoting=csv.QUOTE_NONNUMERIC):
            yield [original(cell) for cell in row]
    except csv.Error as error:
        raise ValueError(str(error)) from error


def escaped(cell: Cell) -> Cell:
    if isinstance(cell, str) and cell.startswith((*_FORMULAS, ESCAPE)):
        return ESCAPE + cell
    return cell


def original(cell: str | float) -> str | float:
    """Undoes `escaped`."""
    return cell.removeprefix(ESCAPE) if isinstance(cell, str) else cell
