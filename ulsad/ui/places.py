"""Temporary folders of this process: one that the browser may read and one that it may not."""

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

COPIES = 16  # kept copies of other files; the browser fetches one immediately, and gradio copies most itself

_copies: OrderedDict[tuple[Path, int], Path] = OrderedDict()


@cache
def _folder(name: str) -> tempfile.TemporaryDirectory:
    sweep(Path(tempfile.gettempdir()), f"ulsad-{name}-")
    return tempfile.TemporaryDirectory(prefix=f"ulsad-{name}-{process()}-")


def process() -> str:
    """A name for this process, unique among machines that share a disk."""
    return f"{socket.gethostname()}-{os.getpid()}"


def sweep(parent: Path, prefix: str = "") -> None:
    """Remove the folders, named by `process`, of killed processes of this machine."""
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
    except OSError:  # another user's process
        return True
    return True


def shown() -> Path:
    """Anybody who knows a file's address can fetch it from here."""
    return Path(_folder("shown").name)


def allowed() -> list[str]:
    """The only folders that the browser may fetch files from, besides gradio's own copies."""
    return [str(shown())]


def private() -> Path:
    """Nothing in here can be fetched."""
    return Path(_folder("private").name)


def new(parent: Path) -> Path:
    """A new folder with a name that nobody can guess."""
    return Path(tempfile.mkdtemp(dir=parent))


def address(file: Path) -> str:
    """The address of a file below `shown`, relative to the page."""
    return f"gradio_api/file={file.as_posix()}"


def copy_of(file: Path) -> Path:
    """A current copy of a file below `shown`: gradio serves only from there, and must not serve the models
    directory. Raises `OSError` when the file is gone or the disk is full."""
    key = file, file.stat().st_mtime_ns
    if key not in _copies:
        _copies[key] = link_or_copy(file, new(shown()) / file.name)
        while len(_copies) > COPIES:
            shutil.rmtree(_copies.popitem(last=False)[1].parent, ignore_errors=True)
    _copies.move_to_end(key)
    return _copies[key]
