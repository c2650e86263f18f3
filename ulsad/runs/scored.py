"""Which photos a model has scored on which day: a log beside the model, one JSON object per line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.photos.files import rest_of_line
from ulsad.runs.directory import SCORED, companion

MOST = 2**24  # bytes that are read, the last ones: 180,000 photos, in about a second
_AT_ONCE = 1000  # lines; json is three times as fast with many of them as with each by itself
_writing = Lock()


class Scored(NamedTuple):
    """One photo on one day."""

    day: str  # when it was scored, as in 2026-11-28
    digest: str  # of the photo, see `images.digest`
    score: float  # combined, under the model's own settings
    strangeness: float  # see `Prediction.strangeness`


@dataclass(frozen=True)
class Log:
    """All photos that one model has scored. It is appended to, never rewritten."""

    file: Path

    def read(self) -> list[Scored]:
        """The last photos in the log, oldest first, each once a day; beyond `MOST` bytes, not all.

        Lines damaged by a full disk or a kill are left out, and a log that can't be read is empty.
        """
        return list({(photo.day, photo.digest): photo for photo in _parsed(self._lines())}.values())

    def add(self, photos: Iterable[Scored]) -> list[Scored]:
        """Log photos, except those that were logged on the same day; return what the log then holds.

        Nobody has to stop scoring photos because of a log: if it can't be written, it isn't. Threads may log
        at the same time.
        """
        with _writing:
            before = self.read()
            known = {(photo.day, photo.digest) for photo in before}
            new = {(photo.day, photo.digest): photo for photo in photos
                   if (photo.day, photo.digest) not in known and _is_sound(photo)}
            with suppress(OSError):
                self._append(list(new.values()))
        return [*before, *new.values()]

    def append(self, photos: Iterable[Scored]) -> None:
        """Log photos without a look at those that are logged; `read` lists each once a day all the same.

        If the log can't be written, it isn't, as with `add`.
        """
        with _writing, suppress(OSError):
            self._append([photo for photo in photos if _is_sound(photo)])

    def _append(self, photos: list[Scored]) -> None:
        if not photos:
            return
        lines = "".join(f"{json.dumps(photo._asdict())}\n" for photo in photos)
        with open(self.file, "a+b") as file:
            file.write(f"{rest_of_line(file)}{lines}".encode())

    def _lines(self) -> list[bytes]:
        try:
            with open(self.file, "rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - MOST)
                file.seek(start)
                lines = file.read(MOST).split(b"\n")
        except OSError:
            return []
        return lines[1:] if start else lines  # the first one has lost its beginning


def beside(model_file: Path) -> Log:
    """The log of a model, given by its file, see `directory.companion`."""
    return Log(companion(model_file, SCORED))


def today(model: Ulsad, predictions: Iterable[Prediction]) -> list[Scored]:
    """What is logged of photos that a model has scored just now, without those that it was made with.

    Scores are under the model's own settings, also if areas were ignored for the predictions.
    """
    new = [prediction for prediction in predictions if not model.seen_in(prediction)]
    # The frontier is found already, but perhaps without the areas that somebody ignores.
    frontiers = [prediction.frontier if prediction.calibration is model.calibration
                 else replace(prediction, calibration=model.calibration).frontier for prediction in new]
    scores = model.calibration.scores(frontiers, model.config.alpha, model.config.beta)[:, 0].tolist()
    day = date.today().isoformat()
    return [Scored(day, prediction.digest, round(score, 6), round(prediction.strangeness, 6))
            for prediction, score in zip(new, scores, strict=True)]


def _parsed(lines: list[bytes]) -> Iterator[Scored]:
    written = [line for line in lines if line.strip()]
    for i in range(0, len(written), _AT_ONCE):
        together = written[i : i + _AT_ONCE]
        values = _json(b"[" + b",".join(together) + b"]")
        for value in map(_json, together) if values is None else values:
            with suppress(TypeError, ValueError, OverflowError):
                photo = Scored(**value)
                if _is_sound(photo):
                    yield photo


def _json(text: bytes) -> Any:
    """None for a damaged text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_sound(photo: Scored) -> bool:
    """Raises `TypeError`, `ValueError` or `OverflowError` for some that aren't."""
    date.fromisoformat(photo.day)
    return isinstance(photo.digest, str) and math.isfinite(photo.score) and math.isfinite(photo.strangeness)
