"""A thread that judges photos as they are handed in: several at a time where several wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import NamedTuple

import torch

from ulsad.detector.prediction import Prediction
from ulsad.line.audit import note_basis
from ulsad.line.current import CurrentJudge
from ulsad.line.day_table import add_rows
from ulsad.line.job import note_job
from ulsad.line.judge import Judge
from ulsad.line.verdict import Verdict
from ulsad.photos.images import Skipped

LOOKING = 1.0  # seconds between two looks whether the model was replaced, while no photo comes


class Judged(NamedTuple):
    """A photo's verdict, who gave it, and its maps; without maps if it could not be read."""

    judge: Judge
    verdict: Verdict
    prediction: Prediction | None


class _Photo(NamedTuple):
    file: Path
    name: str
    judged: Future[Judged]


@dataclass
class Judging:
    """Judges with one model, whose file may be replaced: photos at hand are finished with the old one.

    With `log`, a folder, every verdict is in the table of its day before it is given. `say` receives what the
    operator should know.
    """

    current: CurrentJudge
    log: Path | None = None
    say: Callable[[str], None] = lambda text: None
    _waiting: SimpleQueue[_Photo] = field(default_factory=SimpleQueue)
    _ending: Event = field(default_factory=Event)
    _trouble: str = ""  # why the log can't be written
    _thread: Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = Thread(target=self._run, name="judging", daemon=True)
        self._thread.start()

    def submit(self, file: Path, name: str) -> Future[Judged]:
        """Hand in a photo, which must stay until its verdict is there; a file that is no photo gets one, too.

        The future raises `OSError` if the verdict can't be logged.
        """
        photo = _Photo(file, name, Future())
        self._waiting.put(photo)
        return photo.judged

    def close(self) -> None:
        """Finish the photos that wait, then end."""
        self._ending.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether photos are judged."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            photos = self._next()
            if not photos and self._ending.is_set():
                return
            if told := self.current.renew():
                self.say(told)
            photos = [photo for photo in photos if photo.judged.set_running_or_notify_cancel()]
            if photos:
                self._answer(photos)

    def _next(self) -> list[_Photo]:
        """The photos that wait, oldest first, at most as many as are judged at the same time; none after a
        while without any."""
        extractor = self.current.judge.detector.branches.extractor
        most = extractor.at_once * (torch.get_num_threads() if extractor.on_cpu else 1)
        photos: list[_Photo] = []
        try:
            photos.append(self._waiting.get(timeout=LOOKING))
            while len(photos) < most:
                photos.append(self._waiting.get_nowait())
        except Empty:
            pass
        return photos

    def _answer(self, photos: Sequence[_Photo]) -> None:
        try:
            judged = self._judge(photos)
        except Exception as error:  # whatever it is: other photos still come
            if len(photos) > 1:
                for photo in photos:  # one of them was too much, the others are not to suffer for it
                    self._answer([photo])
            else:
                photos[0].judged.set_exception(error)
            return
        try:
            self._enter(judged)
        except Exception as error:
            for photo in photos:
                photo.judged.set_exception(error)
            return
        for photo, found in zip(photos, judged, strict=True):
            photo.judged.set_result(found)

    def _enter(self, judged: Sequence[Judged]) -> None:
        if self.log:
            before, self._trouble = self._trouble, ""
            try:
                _write(self.log, self.current.model, judged)
            except OSError as error:
                self._trouble = f"{self.log} can't be written ({error}). Until it can, no verdict is given."
                raise
            finally:
                if self._trouble != before:
                    self.say(self._trouble or f"{self.log} can be written again.")
        self.current.log_day(one.prediction for one in judged if one.prediction)

    def _judge(self, photos: Sequence[_Photo]) -> list[Judged]:
        judge = self.current.judge
        results = judge.verdicts({photo.file: photo.name for photo in photos})
        return [Judged(judge, judge.unreadable(result, photo.name), None) if isinstance(result, Skipped)
                else Judged(judge, *result) for photo, result in zip(photos, results, strict=True)]


def _write(log: Path, model: Path, judged: Sequence[Judged]) -> None:
    if not log.is_dir():  # at the beginning, or because somebody has removed it
        log.mkdir(parents=True, exist_ok=True)
        note_job(log, model)
    note_basis(log, judged[0].judge.basis)
    add_rows(log, [one.verdict for one in judged])
