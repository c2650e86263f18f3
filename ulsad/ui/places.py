"""Folders of this process, emptied when the app ends: one that the browser may read, one that it may not."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from functools import cache
from pathlib import Path

from ulsad.files import link_or_copy

COPIES = 16  # of files from elsewhere; the browser fetches one at once, and gradio makes its own of most

_copies: OrderedDict[tuple[Path, int], Path] = OrderedDict()


@cache
def _folder(name: str) -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix=f"ulsad-{name}-")


def shown() -> Path:
    """Everything below may be fetched by whoever knows its address."""
    return Path(_folder("shown").name)


def private() -> Path:
    """Nothing below can be fetched."""
    return Path(_folder("private").name)


def new(parent: Path) -> Path:
    """A new folder with a name that nobody can guess."""
    return Path(tempfile.mkdtemp(dir=parent))


def address(file: Path) -> str:
    """Where the browser finds a file below `shown`, seen from the page."""
    return f"gradio_api/file={file.as_posix()}"


def copy_of(file: Path) -> Path:
    """A file from elsewhere, as it is now, below `shown`: gradio serves from few places, and a models
    directory must not be one of them. Raises `OSError` when the file is gone or the disk is full."""
    key = file, file.stat().st_mtime_ns
    if key not in _copies:
        _copies[key] = link_or_copy(file, new(shown()) / file.name)
        while len(_copies) > COPIES:
            shutil.rmtree(_copies.popitem(last=False)[1].parent, ignore_errors=True)
    _copies.move_to_end(key)
    return _copies[key]
