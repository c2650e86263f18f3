"""The photos that visitors have open, on the server: the browser holds a key.

A scored photo costs about ten kilobytes here, and a thumbnail on the disk.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ulsad import rendering
from ulsad.archives import extract_photos
from ulsad.batch import Batch
from ulsad.detector import Ulsad
from ulsad.errors import InputError
from ulsad.images import Skipped, find_images
from ulsad.ui import library

MOST_PHOTOS = 50_000  # over all visitors, about half a gigabyte; the newest batch is always kept
THUMBNAIL = 96  # px


@dataclass
class OpenBatch:
    """What one visitor looks at. Its detector may ignore places that the shared one doesn't."""

    model: str
    request: str  # what was asked for, so that it isn't done twice
    detector: Ulsad
    folder: Path  # thumbnails, and photos as browsers can show them
    batch: Batch = field(default_factory=lambda: Batch((), ()))
    stopping: bool = False

    def ignore(self, ignored: np.ndarray | None) -> None:
        """Leave places out of maps, scores and quantiles; runs no network."""
        self.detector = self.detector.ignoring(ignored)
        calibration = self.detector.calibration
        self.batch = replace(self.batch, predictions=tuple(
            replace(prediction, calibration=calibration) for prediction in self.batch.predictions))

    def add(self, name: str, photo: Image.Image) -> int:
        """Score one more photo, which exists nowhere else; return its index."""
        path = self.folder / f"{uuid.uuid4().hex}.png"
        photo.save(path)
        self._append(name, self.detector.predict(path))
        return len(self.batch) - 1

    def _append(self, name: str, prediction) -> None:
        self.batch = Batch((*self.batch.names, name), (*self.batch.predictions, prediction),
                           self.batch.skipped)

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


def is_open(key: str | None, model: str, request: str) -> bool:
    """Whether a batch holds what is asked for already."""
    return key in _open and (_open[key].model, _open[key].request) == (model, request)


def begun(model: str, models_dir: Path, request: str) -> str:
    """The key of a new, empty batch under a model. Raises `InputError` when the model can't be opened."""
    key = uuid.uuid4().hex
    _open[key] = OpenBatch(model, request, library.detector(model, models_dir),
                           Path(tempfile.mkdtemp(dir=folder())))
    return key


def recalled(key: str | None) -> OpenBatch:
    """Raises `InputError` when the batch had to make room for newer ones."""
    if key not in _open:
        raise InputError("These photos are no longer in memory. Open them again.")
    return _open[key]


def score(key: str, photos: Sequence[tuple[Path, str]]) -> Iterator[int]:
    """Score (path, name) after (path, name) into a batch, and say after each how many are done."""
    opened, names, predictions, skipped = recalled(key), [], [], []
    results = opened.detector.predict_many(path for path, _ in photos)
    for done, ((path, name), result) in enumerate(zip(photos, results, strict=False), start=1):
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
    _make_room()


def _make_room() -> None:
    while len(_open) > 1 and sum(len(opened.batch) for opened in _open.values()) > MOST_PHOTOS:
        forget(next(iter(_open)))


def forget(key: str | None) -> None:
    if gone := _open.pop(key, None):
        shutil.rmtree(gone.folder, ignore_errors=True)


def photos_of(files: Sequence[str], into: Path) -> list[tuple[Path, str]]:
    """(path, name) of dropped photos and of the photos in dropped zips and folders, sorted by name."""
    found = []
    for file in map(Path, files):
        if file.suffix.lower() == ".zip":
            root = Path(tempfile.mkdtemp(dir=into))
            found += [(path, path.relative_to(root).as_posix()) for path in extract_photos(file, root)]
        elif file.is_dir():
            found += [(path, path.relative_to(file).as_posix()) for path in find_images(file)]
        else:
            found.append((file, file.name))
    return found


@cache
def _folder_of_this_process() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="ulsad-inspect-")  # emptied when the app ends


def folder() -> Path:
    """Everything below may be read by the browser."""
    return Path(_folder_of_this_process().name)


def address(file: Path) -> str:
    """Where the browser finds a file below `folder`."""
    return f"gradio_api/file={file.as_posix()}"
