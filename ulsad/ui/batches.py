"""The photos that visitors have open. They are kept on the server; the browser only holds a key.

A scored photo costs about ten kilobytes here, and a thumbnail on the disk.
"""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ulsad.detector import rendering
from ulsad.detector.batch import Batch
from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.photos.images import SUFFIXES, Skipped, Square, digest
from ulsad.runs import drift, scored
from ulsad.runs.drift import Day, Expected
from ulsad.runs.marks import Mark, Marks
from ulsad.runs.scored import Log, Scored
from ulsad.ui import library, places

MOST_PHOTOS = 50_000  # of all visitors together, about half a gigabyte; the newest batch is always kept
THUMBNAIL = 96  # px
SMALL_QUALITY = 80  # of thumbnails, as JPEG

Named = tuple[Path, str]  # a photo's file and the name shown to the user


@dataclass(frozen=True)
class Request:
    """Photos that a visitor wants to see; every request is unique."""

    photos: tuple[Named, ...]
    chosen: int | None = None  # the photo to show first; None: the strangest
    dropped: bool = False  # whether they come from Inspect's own slot
    is_own: bool = False  # whether they are the model's own photos, or the demo's
    is_logged: bool = False  # whether they are of parts as they come, not of the demo or of a test set
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class OpenBatch:
    """The photos one visitor looks at. Its detector may ignore areas that the shared detector doesn't."""

    model: str
    request: Request
    detector: Ulsad
    folder: Path  # of thumbnails and of photos in a format that browsers can show
    previous: str | None  # the batch that this one replaced; the browser may still be drawing it
    marks: Marks
    log: Log
    own: Ulsad  # the shared detector
    said: list[str] = field(default_factory=list)  # digests of the photos marked here, in order, for undo
    marked: dict[str, Mark] = field(default_factory=dict)  # by the photos' digests, as of the last look
    days: list[Day] = field(default_factory=list)  # of photos scored with this model, as of the last look
    batch: Batch = field(default_factory=lambda: Batch((), ()))
    added: list[Named] = field(default_factory=list)  # probes
    known: dict[Path, Prediction] = field(default_factory=dict)  # scores to reuse
    stopping: bool = False
    is_unseen: bool = True  # not shown yet, so the strangest photo comes first
    is_new: bool = True  # the sliders don't show its model's settings yet

    def ignore(self, ignored: np.ndarray | None) -> None:
        """Leave areas out of maps, scores and quantiles; runs no network."""
        self.detector = self.detector.ignoring(ignored)
        calibration = self.detector.calibration
        self.batch = replace(self.batch, predictions=tuple(
            replace(prediction, calibration=calibration) for prediction in self.batch.predictions))

    def look_at_marks(self) -> None:
        self.marked = {mark.digest: mark for mark in self.marks.read()}

    @cached_property
    def expected(self) -> Expected:
        """What days are compared with."""
        return Expected.of(self.own)

    def look_at_days(self, new: Sequence[Scored] = ()) -> None:
        """Log new photos, and compare the days in the log with the model's good photos. Takes a second for
        a hundred thousand photos in the log."""
        defects = {mark.digest for mark in self.marked.values() if not mark.is_good}
        self.days = drift.days(self.log.add(new), self.expected, defects)

    def scored_today(self) -> list[Scored]:
        """The photos to log: none that the model knows, no probes, and nothing of the demo or a test set."""
        if not self.request.is_logged:
            return []
        probes = {path for path, _ in self.added}
        return scored.today(self.own, (prediction for prediction in self.batch.predictions
                                       if prediction.path not in probes))

    def add(self, name: str, photo: Image.Image) -> int:
        """Score one more photo, given as an image rather than a file; return its index."""
        path = places.new(places.private()) / "probe.png"
        photo.save(path)
        prediction = self.detector.predict(path)
        name = unique_names([*self.batch.names, name])[-1]
        self.added.append((path, name))
        self.batch = Batch((*self.batch.names, name), (*self.batch.predictions, prediction),
                           self.batch.skipped)
        return len(self.batch) - 1

    def strangest(self, criterion: Criterion) -> int:
        """Index of the photo with the highest score."""
        return int(self.batch.scores(criterion)[:, 0].argmax())

    def strangest_photos(self, most: int) -> list[Named]:
        """Up to `most` photos, highest scores first, under the model's own settings."""
        config = self.detector.config
        scores = self.batch.scores(Criterion.suggested(self.detector.calibration, config.alpha, config.beta))
        order = (-scores[:, 0]).argsort(kind="stable")[:most]
        return [(self.batch.predictions[i].file, self.batch.names[i]) for i in order]

    def photo(self, index: int, at_least: int | None = None) -> Image.Image:
        """See `read_photo` for `at_least`."""
        return library.photo(str(self.batch.predictions[index].file), self.detector.config.white_level,
                             at_least)

    def thumbnail(self, index: int) -> Path:
        """As kept while the photo was scored; of reused scores, from its file."""
        place = self._small(self.batch.predictions[index].digest)
        if not place.exists():
            photo = rendering.fit_within(self._photo_or_grey(index, THUMBNAIL), THUMBNAIL)
            photo.save(place, quality=SMALL_QUALITY)
        return place

    def keep_thumbnail(self, square: Square) -> None:
        """So that the file need not be decoded again for it."""
        scale = min(1.0, THUMBNAIL / max(square.size))
        height, width = (max(1, round(side * scale)) for side in square.size)
        picture = Image.fromarray(square.pixels.permute(1, 2, 0).numpy())
        with suppress(OSError):  # the disk is full: then it is tried again when it is shown
            picture.resize((width, height)).save(self._small(digest(square.pixels)), quality=SMALL_QUALITY)

    def _small(self, of: str) -> Path:
        return self.folder / f"small-{of}.jpg"

    def picture(self, index: int) -> Path:
        """The photo in a format that every browser can show: original size, upright, 8 bits."""
        place = self.folder / f"whole-{index}.jpg"
        if not place.exists():
            self._photo_or_grey(index).save(place, quality=95, subsampling=0)
        return place

    def reference(self, index: int) -> tuple[Path, str]:
        """The most similar good photo, and its name."""
        chosen = self.batch.predictions[index].reference
        place = self.folder / f"reference-{chosen}.jpg"
        if not place.exists():
            place.write_bytes(self.detector.references.jpegs[chosen])
        return place, self.detector.references.names[chosen]

    def _photo_or_grey(self, index: int, at_least: int | None = None) -> Image.Image:
        """A grey image where the file is gone, for example just removed from the slot: its maps remain."""
        try:
            return self.photo(index, at_least)
        except InputError:
            height, width = self.batch.predictions[index].size
            return Image.new("RGB", (width, height), "grey")


_open: dict[str, OpenBatch] = {}  # oldest first


def is_open(key: str | None, model: str, request: Request) -> bool:
    """Whether a batch already holds the requested photos under this model."""
    return key in _open and (_open[key].model, _open[key].request) == (model, request)


def is_known(key: str | None) -> bool:
    """Whether a batch is still in memory."""
    return key in _open


def is_same(key: str | None, request: Request) -> bool:
    """Whether this request opened the batch, perhaps under another model."""
    return key in _open and _open[key].request == request


def begun(model: str, models_dir: Path, request: Request, before: str | None = None) -> str:
    """Create an empty batch and return its key. Raises `InputError` when the model can't be opened.

    If it shares photos with the previous batch, it keeps that batch's probes. Under the same model it also
    keeps settings, ignored areas and the scores of dropped photos (other files may have changed since).
    """
    key, detector = uuid.uuid4().hex, library.detector(model, models_dir)
    opened = _open[key] = OpenBatch(model, request, detector, places.new(places.shown()), before,
                                    library.marks_of(model, models_dir), library.log_of(model, models_dir),
                                    detector)
    opened.look_at_marks()
    earlier = _open.get(before) if before else None
    if earlier and earlier.model == model:
        opened.said = list(earlier.said)
    if earlier and set(earlier.request.photos) & set(request.photos):
        opened.added = list(earlier.added)
        if earlier.model == model and earlier.detector.branches is detector.branches:
            opened.detector, opened.is_new = earlier.detector, False
            opened.known = {prediction.file: prediction for prediction in earlier.batch.predictions
                            if prediction.file.is_relative_to(places.private())}
    return key


def recalled(key: str | None) -> OpenBatch:
    """Raises `InputError` when the batch was dropped in favour of newer ones, or isn't scored yet."""
    if key is None:
        raise InputError("The photos are still being scored. Wait a moment and try again.")
    if key not in _open:
        raise InputError("These photos are no longer in memory. Open them again.")
    return _open[key]


def score(key: str) -> Iterator[int]:
    """Score a new batch's photos; yield the number done after each photo."""
    opened, names, predictions, skipped = recalled(key), [], [], []
    photos = [*opened.request.photos, *opened.added]
    shown = unique_names([name.encode(errors="replace").decode() for _, name in photos])
    results = opened.detector.predict_many((path for path, _ in photos if path not in opened.known),
                                           opened.keep_thumbnail)
    for done, ((path, _), name) in enumerate(zip(photos, shown, strict=True), start=1):
        result = opened.known.get(path) or next(results)
        if isinstance(result, Skipped):
            skipped.append(Skipped(path, result.reason.replace(str(path), name)))
        else:
            names.append(name)
            predictions.append(result)
            result.frontier  # noqa: B018  computed now, while the progress bar is shown
        yield done
        if opened.stopping:
            break
    opened.batch = Batch(tuple(names), tuple(predictions), tuple(skipped))
    opened.look_at_days(opened.scored_today())
    if opened.previous in _open:
        forget(_open[opened.previous].previous)
    while len(_open) > 1 and sum(len(other.batch) for other in _open.values()) > MOST_PHOTOS:
        forget(next(iter(_open)))


def abandon(key: str) -> None:
    """Drop a batch that is still being scored; the batch it would have replaced stays."""
    if gone := _open.pop(key, None):
        shutil.rmtree(gone.folder, ignore_errors=True)


def forget(key: str | None) -> None:
    if key and (gone := _open.pop(key, None)):
        shutil.rmtree(gone.folder, ignore_errors=True)
        forget(gone.previous)


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names made unique: a repeated name gets (2), (3), … appended."""
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
    """A photo's name without folders and suffix, usable as part of a file name."""
    path = Path(name)
    plain = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return plain.encode(errors="replace")[:160].decode(errors="ignore")
