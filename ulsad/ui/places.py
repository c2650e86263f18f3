"""Folders of this process, emptied when the app ends: one that the browser may read, one that it may not."""

from __future__ import annotations

import glob
import os
import re
import shutil
import socket
import tempfile
from collections import OrderedDict
from functools import cache
from pathlib import Path

from ulsad.photos.files import link_or_copy

COPIES = 16  # of files from elsewhere; the browser fetches one at once, and gradio makes its own of most

_copies: OrderedDict[tuple[Path, int], Path] = OrderedDict()


@cache
def _folder(name: str) -> tempfile.TemporaryDirectory:
    sweep(Path(tempfile.gettempdir()), f"ulsad-{name}-")
    return tempfile.TemporaryDirectory(prefix=f"ulsad-{name}-{process()}-")


def process() -> str:
    """A name for this process among those that may share a disk."""
    return f"{socket.gethostname()}-{os.getpid()}"


def sweep(parent: Path, prefix: str = "") -> None:
    """Remove what processes of this machine that were killed have left: folders named by `process`."""
    mine = re.compile(rf"{re.escape(prefix + socket.gethostname())}-(\d+)(-|$)")
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        found = mine.match(folder.name)
        if found and not _is_alive(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


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
