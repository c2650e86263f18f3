"""A verdict on one photo, and what it is based on: enough to compute it again later, see `verify`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ulsad.detector.criterion import Criterion
from ulsad.detector.spreadsheet import Cell

COLUMNS = ("path", "score", "local_score", "global_score", "verdict", "fired", "seen_in", "notes", "time",
           "sha256", "basis")
UNREADABLE = "unreadable"  # the verdict on a file that is no readable photo; its notes say why
SCORED = ("score", "local_score", "global_score")
DIGITS = 6  # decimals of the scores in a table


@dataclass(frozen=True)
class Basis:
    """All that decides about a verdict except the photo: the model, the criterion, and the program."""

    model: str  # the file's name
    model_sha256: str  # of the file
    backbone_sha256: str  # of the backbone's weights, which are not in the file
    criterion: str  # its name; "" if it was suggested from the held-out good photos
    settings: dict[str, Any]  # `Criterion.to_dict`
    ulsad: str  # versions
    torch: str

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits, other ones for everything that differs."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the id among them."""
        return {"id": self.id, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Basis:
        """Raises `TypeError` for other values."""
        return cls(**{name: value for name, value in values.items() if name != "id"})

    @property
    def values(self) -> Criterion:
        """The criterion. Raises `KeyError`, `TypeError` or `ValueError` if the settings are not one's."""
        return Criterion.from_dict(self.settings)


class Verdict(NamedTuple):
    """One photo under one basis."""

    path: str  # the photo's name as given, with its folders
    score: float  # combined, Eq. 10; NaN if unreadable
    local_score: float  # likewise
    global_score: float  # NaN without a global branch, too
    verdict: str  # pass, review, fail or unreadable
    fired: str  # local, global, both or neither
    seen_in: str  # see `Ulsad.seen_in`
    notes: tuple[str, ...]
    time: str  # ISO 8601 with the offset from UTC
    sha256: str  # of the photo's file, or of its pixels if there is none
    basis: str  # `Basis.id`

    @property
    def day(self) -> str:
        """YYYY-MM-DD."""
        return self.time[:10]

    def row(self) -> list[Cell]:
        """The cells of `COLUMNS`."""
        scores = ["" if math.isnan(score) else round(score, DIGITS) for score in self[1:4]]
        return [self.path, *scores, *self[4:7], " ".join(self.notes), *self[8:]]

    @classmethod
    def from_row(cls, cells: Sequence[Any]) -> Verdict:
        """The opposite of `row`. Raises `ValueError` if the cells are not those of `COLUMNS`."""
        if len(cells) != len(COLUMNS):
            raise ValueError(f"a verdict has {len(COLUMNS)} cells, not {len(cells)}")
        score, local, whole = (math.nan if score == "" else float(score) for score in cells[1:4])
        notes = (str(cells[7]),) if cells[7] else ()
        verdict, fired, seen_in = map(str, cells[4:7])
        time, sha256, basis = map(str, cells[8:])
        return cls(str(cells[0]), score, local, whole, verdict, fired, seen_in, notes, time, sha256, basis)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a score that does not exist is None."""
        scores = {name: None if math.isnan(value := getattr(self, name)) else value for name in SCORED}
        return self._asdict() | scores | {"notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verdict:
        """The opposite of `to_dict`. Raises `KeyError` or `TypeError` for other values."""
        scores = {name: math.nan if values[name] is None else values[name] for name in SCORED}
        return cls(**values | scores | {"notes": tuple(values["notes"])})
