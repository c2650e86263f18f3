"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A place to write to, beside `file`; what is there takes its place when the block ends well.

    Otherwise it is removed, and `file` stays as it was: a full disk or a kill never harms what was there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")  # a name that nobody takes for the real thing
    try:
        yield partial
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """UTF-8; what can't be encoded, as in names of files that are not UTF-8, becomes a question mark."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")
