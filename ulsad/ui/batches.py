"""The photos that visitors have open, on the server: the browser holds a key.

A scored photo costs about ten kilobytes here, and a thumbnail on the disk.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from ulsad import rendering
from ulsad.archives import extract_photos
from ulsad.batch import Batch
from ulsad.detector import Ulsad
from ulsad.errors import InputError
from ulsad.images import SUFFIXES, Skipped, find_images
from ulsad.ui import library

MOST_PHOTOS = 50_000  # over all visitors, about half a gigabyte; the newest batch is always kept
THUMBNAIL = 96  # px

Named = tuple[Path, str]  # a photo and the name that people know it by


@dataclass(frozen=True)
class Request:
    """Photos that somebody wants to see; no two requests are equal."""

    photos: tuple[Named, ...]
    chosen: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class OpenBatch:
    """What one visitor looks at. Its detector may ignore places that the shared one doesn't."""

    model: str
    request: Request
    detector: Ulsad
    folder: Path  # thumbnails, and photos as browsers can show them
    previous: str | None  # the batch that this one took the place of; something may still be drawing it
    batch: Batch = field(default_factory=lambda: Batch((), ()))
    added: list[Named] = field(default_factory=list)  # probes
    stopping: bool = False
    is_new: bool = True  # its model's own settings are still to be shown

    def ignore(self, ignored: np.ndarray | None) -> None:
        """Leave places out of maps, scores and quantiles; runs no network."""
        self.detector = self.detector.ignoring(ignored)
        calibration = self.detector.calibration
        self.batch = replace(self.batch, predictions=tuple(
            replace(prediction, calibration=calibration) for prediction in self.batch.predictions))

    def add(self, name: str, photo: Image.Image) -> int:
        """Score one more photo, which exists nowhere else; return its index."""
        path = Path(tempfile.mkdtemp(dir=folder())) / "probe.png"
        photo.save(path)
        prediction = self.detector.predict(path)
        name = _told_apart([*self.batch.names, name])[-1]
        self.added.append((path, name))
        self.batch = Batch((*self.batch.names, name), (*self.batch.predictions, prediction),
                           self.batch.skipped)
        return len(self.batch) - 1

    def photo(self, index: int) -> Image.Image:
        return library.photo(str(self.batch.predictions[index].path))

    def thumbnail(self, index: int) -> Path:
        return self._picture(index, "small", THUMBNAIL)

    def picture(self, index: int) -> Path:
        """The whole photo as every browser shows it: its own size, upright, 8 bits."""
        return self._picture(index, "whole", None)

    def reference(self, index: int) -> tuple[Path, str]:
        """The good photo that a photo resembles most, and its name."""
        chosen = self.batch.predictions[index].reference
        place = self.folder / f"reference-{chosen}.jpg"
        if not place.exists():
            place.write_bytes(self.detector.references.jpegs[chosen])
        return place, self.detector.references.names[chosen]

    def _picture(self, index: int, kind: str, side: int | None) -> Path:
        place = self.folder / f"{kind}-{index}.jpg"
        if not place.exists():
            photo = self.photo(index)
            photo = rendering.fit_within(photo, side) if side else photo
            photo.save(place, quality=80 if side else 95, subsampling=2 if side else 0)
        return place


_open: dict[str, OpenBatch] = {}  # oldest first


def is_open(key: str | None, model: str, request: Request) -> bool:
    """Whether a batch holds what is asked for already."""
    return key in _open and (_open[key].model, _open[key].request) == (model, request)


def begun(model: str, models_dir: Path, request: Request, before: str | None = None) -> str:
    """The key of a new, empty batch under a model. Raises `InputError` when the model can't be opened."""
    key, detector = uuid.uuid4().hex, library.detector(model, models_dir)
    _open[key] = OpenBatch(model, request, detector, Path(tempfile.mkdtemp(dir=folder())), before)
    if before in _open and _open[before].request == request:  # another model: probes come along
        _open[key].added = list(_open[before].added)
    return key


def recalled(key: str | None) -> OpenBatch:
    """Raises `InputError` when the batch had to make room for newer ones."""
    if key not in _open:
        raise InputError("These photos are no longer in memory. Open them again.")
    return _open[key]


def score(key: str) -> Iterator[int]:
    """Score what a batch was begun for, and say after each photo how many are done."""
    opened, names, predictions, skipped = recalled(key), [], [], []
    photos = [*opened.request.photos, *opened.added]
    shown = _told_apart([name.encode(errors="replace").decode() for _, name in photos])
    results = opened.detector.predict_many(path for path, _ in photos)
    for done, ((path, _), name, result) in enumerate(zip(photos, shown, results, strict=False), start=1):
        if isinstance(result, Skipped):
            skipped.append(Skipped(path, result.reason.replace(str(path), name)))
        else:
            names.append(name)
            predictions.append(result)
            result.frontier  # noqa: B018  computed while there is a progress bar to watch
        yield done
        if opened.stopping:
            break
    opened.batch = Batch(tuple(names), tuple(predictions), tuple(skipped))
    if opened.previous in _open:
        forget(_open[opened.previous].previous)
    while len(_open) > 1 and sum(len(other.batch) for other in _open.values()) > MOST_PHOTOS:
        forget(next(iter(_open)))


def forget(key: str | None) -> None:
    if gone := _open.pop(key, None):
        shutil.rmtree(gone.folder, ignore_errors=True)
        forget(gone.previous)


def photos_of(sources: Sequence[str]) -> list[Named]:
    """Photos, and what is in zips and folders. Sources that hold none are said and left out.

    Raises `InputError` when that leaves nothing.
    """
    found, problems = [], []
    for source in map(Path, sources):
        try:
            found += _photos_of(source)
        except InputError as error:
            problems.append(str(error).replace(str(source), source.name))
    if not found:
        raise InputError("\n".join(problems) or "There are no photos in it.")
    for problem in problems:
        gr.Warning(escape(problem), title="Left out", duration=None)
    return found


def _photos_of(source: Path) -> list[Named]:
    if source.suffix.lower() == ".zip":
        root = Path(tempfile.mkdtemp(dir=folder()))
        return [(path, path.relative_to(root).as_posix()) for path in extract_photos(source, root)]
    if source.is_dir():
        return [(path, path.relative_to(source).as_posix()) for path in find_images(source)]
    return [(source, source.name)]


def _told_apart(names: Sequence[str]) -> list[str]:
    """The same names, a second one of a kind with (2) behind it."""
    taken: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for name in names:
        free = name
        while free in taken:
            counts[name] += 1
            free = f"{name} ({counts[name] + 1})"
        taken[free] = None
    return list(taken)


def bare(name: str) -> str:
    """A photo's name without folders and without the ending of its file, fit to be part of a file's name."""
    path = Path(name)
    return (path.stem if path.suffix.lower() in SUFFIXES else path.name)[:80]


@cache
def _folder_of_this_process() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="ulsad-inspect-")  # emptied when the app ends


def folder() -> Path:
    """Everything below may be read by the browser."""
    return Path(_folder_of_this_process().name)


def address(file: Path) -> str:
    """Where the browser finds a file below `folder`."""
    return f"gradio_api/file={file.as_posix()}"
