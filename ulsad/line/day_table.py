"""A day's verdicts: DAY/verdicts.csv, to which rows are added and which a kill may cut short."""

from __future__ import annotations

import codecs
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from ulsad.detector import spreadsheet
from ulsad.line.verdict import COLUMNS, Verdict

TABLE = "verdicts.csv"
LAST = 2**20  # bytes of a table in which rows that may have been written are looked for


def add_rows(folder: Path, verdicts: Sequence[Verdict], *, perhaps_again: bool = False) -> None:
    """Add verdicts, in the order of their time, to the tables of their days; on return they are on the disk.

    `perhaps_again`: after a kill some may be there already, and those are left out. Raises `OSError`.
    """
    for day, of_day in groupby(verdicts, key=lambda verdict: verdict.day):
        (folder / day).mkdir(parents=True, exist_ok=True)
        with open(folder / day / TABLE, "a+b") as opened:
            if not opened.seek(0, os.SEEK_END):
                opened.write(codecs.BOM_UTF8 + spreadsheet.encoded(COLUMNS))
            last = _last_rows(opened)
            rows = (spreadsheet.encoded(verdict.row()) for verdict in of_day)
            opened.write(b"".join(row for row in rows if not (perhaps_again and row in last)))
            opened.flush()
            os.fsync(opened.fileno())


def _last_rows(table: BinaryIO) -> set[bytes]:
    """The rows at the end of a table, after removing one that was cut short."""
    start = max(0, table.seek(0, os.SEEK_END) - LAST)
    table.seek(start)
    whole, newline, cut_short = table.read().rpartition(b"\n")
    if cut_short:  # only then: another process may be adding rows
        table.truncate(start + len(whole + newline))
    return set((whole + newline).splitlines(keepends=True))
