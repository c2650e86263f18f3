"""A day's verdicts: DAY/verdicts.csv, to which rows are added and which a kill may cut short."""

from __future__ import annotations

import codecs
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import groupby
from pathlib import Path

from ulsad.detector import spreadsheet
from ulsad.line.verdict import COLUMNS, Verdict

TABLE = "verdicts.csv"
LAST = 2**20  # bytes of a table in which rows that may have been written are looked for


def add_rows(folder: Path, verdicts: Sequence[Verdict], *, perhaps_again: bool = False) -> None:
    """Add verdicts, in the order of their time, to the tables of their days; on return they are on the disk.

    Several threads and processes may add rows. `perhaps_again`: after a kill some may be there already, and
    those are left out. Raises `OSError`, and then the table is as before, except for earlier days.
    """
    for day, of_day in groupby(verdicts, key=lambda verdict: verdict.day):
        (folder / day).mkdir(parents=True, exist_ok=True)
        rows = [spreadsheet.encoded(verdict.row()) for verdict in of_day]
        with open(folder / day / TABLE, "a+b", buffering=0) as table, _for_itself(table):
            last, end = _last_rows(table), table.seek(0, os.SEEK_END)
            header = b"" if end else codecs.BOM_UTF8 + spreadsheet.encoded(COLUMNS)
            new = header + b"".join(row for row in rows if not (perhaps_again and row in last))
            try:
                if table.write(new) != len(new):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(table.fileno())
            except OSError:
                table.truncate(end)
                raise


@contextmanager
def _for_itself(table: FileIO) -> Iterator[None]:
    """Keep other processes out; where the system has no such locks, only their first rows could collide."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    fcntl.flock(table, fcntl.LOCK_EX)  # until it is closed
    yield


def _last_rows(table: FileIO) -> set[bytes]:
    """The rows at the end of a table, after removing one that was cut short."""
    start = max(0, table.seek(0, os.SEEK_END) - LAST)
    table.seek(start)
    whole, newline, cut_short = table.read().rpartition(b"\n")
    if cut_short:
        table.truncate(start + len(whole + newline))
    return set((whole + newline).splitlines(keepends=True))
