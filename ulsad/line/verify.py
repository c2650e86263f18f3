"""Compute verdicts again, from the photo and the model that they are based on, and compare."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import escape
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from ulsad.detector import spreadsheet
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.line.audit import bases
from ulsad.line.day_table import TABLE
from ulsad.line.job import JOB, SCORES, whole_lines
from ulsad.line.judge import Judge, sha256_of
from ulsad.line.verdict import COLUMNS, UNREADABLE, Basis, Verdict
from ulsad.photos.archives import named_photos
from ulsad.photos.files import place_inside

TOLERANCE = 1e-4  # of scores, absolute and relative: other processors round differently
AGREES, SCORE_DIFFERS, VERDICT_DIFFERS = "agrees", "the score differs", "the verdict differs"
PHOTO_MISSING, PHOTO_CHANGED = "the photo is missing", "the photo has changed"
NO_BASIS, NO_MODEL = "its basis is not listed", "the model is missing"
OTHER_MODEL = "the model is another one and gives another verdict"


class Recorded(NamedTuple):
    """A verdict as it was written down, and the table that it stands in."""

    verdict: Verdict
    table: Path


class Compared(NamedTuple):
    """A recorded verdict, and what came of computing it again."""

    recorded: Recorded
    outcome: str  # AGREES or one of the others
    again: Verdict | None  # None if it could not be computed


def tables(place: Path) -> list[Path]:
    """The tables of verdicts in a folder that `predict`, `watch` or `serve` wrote to, or the given one.

    Raises `InputError` if there is none.
    """
    if place.is_file():
        return [place]
    found = [table for table in (place / SCORES, *sorted(place.glob(f"*/{TABLE}"))) if table.is_file()]
    if not found:
        raise InputError(f"{place} holds no verdicts. Give a folder that 'predict', 'watch' or 'serve' wrote "
                         "to.")
    return found


def folder_of(table: Path) -> Path:
    """The folder that `predict`, `watch` or `serve` wrote to, of one of its tables."""
    return table.parent.parent if table.name == TABLE else table.parent


def sample(places: list[Path], size: int | None, seed: int) -> tuple[list[Recorded], int]:
    """`size` of all verdicts, each equally likely to be drawn, in their order; and how many there are in all.

    None: all. Raises `InputError` if a table is none of verdicts.
    """
    chance, total = random.Random(seed), 0
    drawn: list[tuple[int, Recorded]] = []
    for recorded in _recorded(places):
        total += 1
        if size is None or len(drawn) < size:
            drawn.append((total, recorded))
        elif (at := chance.randrange(total)) < size:
            drawn[at] = total, recorded
    return [recorded for _, recorded in sorted(drawn, key=lambda item: item[0])], total


def _recorded(places: list[Path]) -> Iterator[Recorded]:
    for table in places:
        with open(table, newline="", encoding=spreadsheet.ENCODING, errors="surrogateescape") as opened:
            try:
                rows = spreadsheet.rows_of(whole_lines(opened))
                if tuple(next(rows, ())) != COLUMNS:
                    raise ValueError("it has other columns")
                yield from (Recorded(Verdict.from_row(row), table) for row in rows)
            except ValueError as error:
                raise InputError(f"{table} is not a table of verdicts, or is damaged ({error}).") from error


@dataclass
class Verification:
    """Of verdicts in one folder. `photos` and `model` replace the recorded places."""

    folder: Path
    photos: Path | None = None
    model: Path | None = None
    weights: Path | None = None
    device: str | None = None
    scratch: Path | None = None  # for photos of a zip
    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)  # on models
    _judges: dict[str, Judge | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `InputError` if the given photos can't be found."""
        try:
            job = json.loads((self.folder / JOB).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            job = {}
        self.model = self.model or (Path(job["model"]) if "model" in job else None)
        self.photos = self.photos or (Path(job["photos"]) if "photos" in job else None)
        self._bases: Mapping[str, Basis] = bases(self.folder)
        self._named: dict[str, Path] | None = None

    def compare(self, recorded: Recorded) -> Compared:
        """Compute one verdict again. Raises `InputError` for a model file that can't be read."""
        compared = self._compared(recorded)
        self.counts[compared.outcome] += 1
        return compared

    def _compared(self, recorded: Recorded) -> Compared:
        verdict, photo = recorded.verdict, self._photo(recorded)
        if photo is None or not photo.is_file():
            return Compared(recorded, PHOTO_MISSING, None)
        if sha256_of(photo) != verdict.sha256:
            return Compared(recorded, PHOTO_CHANGED, None)
        if verdict.basis not in self._bases:
            return Compared(recorded, NO_BASIS, None)
        judge = self._judge(self._bases[verdict.basis])
        if judge is None:
            return Compared(recorded, NO_MODEL, None)
        again = _judged(judge, photo, verdict.path)
        outcome = _outcome(verdict, again, judge)
        if outcome != AGREES and judge.basis.model_sha256 != self._bases[verdict.basis].model_sha256:
            outcome = OTHER_MODEL
        return Compared(recorded, outcome, again)

    def _judge(self, basis: Basis) -> Judge | None:
        """With the recorded criterion; None if there is no model file."""
        if basis.id not in self._judges:
            self._judges[basis.id] = self._loaded(basis)
        return self._judges[basis.id]

    def _loaded(self, basis: Basis) -> Judge | None:
        if self.model is None or not self.model.is_file():
            place = self.model or basis.model
            self.remarks.append(f"The model {place} is missing. Give its file with --model.")
            return None
        sha256 = sha256_of(self.model)
        if sha256 != basis.model_sha256:
            self.remarks.append(
                f"{self.model} is not the file that judged: its SHA-256 is {sha256[:12]}…, that of the other "
                f"{basis.model_sha256[:12]}…. A criterion that was saved since also changes it.")
        detector = Ulsad.load(self.model, self.weights, self.device)
        return Judge.of(detector, basis.values, basis.model, sha256, basis.criterion)

    def _photo(self, recorded: Recorded) -> Path | None:
        try:
            place_inside(recorded.verdict.path)
        except InputError:  # no file has such a name, but a photo that was sent to a service may have any
            return None
        if recorded.table.name == TABLE and (place := _where_watch_put_it(recorded)):
            return place
        if self.photos is None or not self.photos.exists():
            return None
        if self.photos.is_dir():
            return self.photos / recorded.verdict.path
        if self._named is None:
            assert self.scratch is not None
            self._named = {name: path for path, name in named_photos(self.photos, self.scratch).items()}
        return self._named.get(recorded.verdict.path)


def _where_watch_put_it(recorded: Recorded) -> Path | None:
    """From the JSON beside the table that belongs to this verdict. It has the photo's name, or NAME-2, …"""
    day, name = recorded.table.parent, PurePosixPath(recorded.verdict.path)
    others = day.glob(f"{escape(str(name.with_suffix('')))}-*{escape(name.suffix)}.json")
    for file in chain([day / f"{name}.json"], others):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if (found.get("time"), found.get("sha256")) == (recorded.verdict.time, recorded.verdict.sha256):
            return day.parent / found["photo"]
    return None


def _judged(judge: Judge, photo: Path, name: str) -> Verdict:
    result = next(judge.verdicts({photo: name}))
    return result[0] if isinstance(result, tuple) else judge.unreadable(result, name)


def _outcome(verdict: Verdict, again: Verdict, judge: Judge) -> str:
    if UNREADABLE in (verdict.verdict, again.verdict):
        return AGREES if verdict.verdict == again.verdict else VERDICT_DIFFERS
    if not np.allclose(verdict[1:4], again[1:4], rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        return SCORE_DIFFERS
    criterion = judge.criterion
    is_close_call = np.isclose(again.score, (criterion.review, criterion.fail), TOLERANCE, TOLERANCE).any()
    return AGREES if verdict.verdict == again.verdict or is_close_call else VERDICT_DIFFERS
