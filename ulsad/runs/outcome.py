"""A training's result: scores of held-out good photos and of test photos, if any."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulsad.detector.criterion import Criterion, Interval, clopper_pearson
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.evaluation import metrics
from ulsad.evaluation.evaluation import MAPS
from ulsad.photos.datasets import GOOD, LabelledPhoto
from ulsad.photos.files import write_text
from ulsad.photos.images import Skipped


class Scores(NamedTuple):
    """One photo's scores (Eq. 10), in the order of `evaluation.MAPS`; global is NaN without that branch."""

    combined: float
    local: float
    global_: float


class Tested(NamedTuple):
    """One labelled test photo."""

    name: str
    kind: str  # "good", or the kind of its defect
    group: str | None  # "logical" or "structural", where known
    seen_in: str  # "training" or "held-out" if the model was made with this very photo, else ""
    scores: Scores


class Auroc(NamedTuple):
    value: float
    interval: Interval  # 95 %, bootstrap over the photos


class Above(NamedTuple):
    """How many of `of` photos lie above a threshold."""

    photos: int
    of: int

    @property
    def interval(self) -> Interval:
        """95 % Clopper-Pearson interval of the true share."""
        return clopper_pearson(*self)


@dataclass(frozen=True)
class Outcome:
    """A new model's scores of its held-out good photos and of test photos.

    The criterion comes from the held-out photos alone; test photos are only measured against it.
    """

    criterion: Criterion
    held_out: tuple[Scores, ...]
    tested: tuple[Tested, ...] = ()
    skipped: tuple[str, ...] = ()  # why test photos could not be read

    @property
    def good(self) -> tuple[Scores, ...]:
        """Scores of the good test photos."""
        return tuple(photo.scores for photo in self.tested if photo.kind == GOOD)

    @property
    def defects(self) -> tuple[Scores, ...]:
        return tuple(photo.scores for photo in self.tested if photo.kind != GOOD)

    @property
    def kinds(self) -> list[str]:
        """The kinds of defects."""
        return sorted({photo.kind for photo in self.tested} - {GOOD})

    @property
    def is_against_held_out(self) -> bool:
        """Whether `aurocs` uses the held-out good photos, because there are no good test photos.

        The networks were not trained on these, but quantiles and thresholds come from them. The result is
        too optimistic by an unknown amount.
        """
        return not self.good

    @cached_property
    def aurocs(self) -> dict[str, Auroc]:
        """Defects vs. good photos, by map; empty without defects, no "global" without that branch."""
        if not self.defects:
            return {}
        good, defects = np.array(self.good or self.held_out), np.array(self.defects)
        scores, labels = np.concatenate([good, defects]), np.repeat([False, True], [len(good), len(defects)])
        return {name: Auroc(metrics.auroc(column, labels), metrics.bootstrap(column, labels)[0])
                for name, column in zip(MAPS, scores.T, strict=True) if not np.isnan(column).any()}

    def above(self, threshold: float, kind: str | None = None) -> Above:
        """Test photos of a kind above a threshold; the kind may be "good", and None means all defects."""
        scores = [photo.scores.combined for photo in self.tested
                  if (photo.kind != GOOD if kind is None else photo.kind == kind)]
        return Above(sum(score > threshold for score in scores), len(scores))

    def write(self, file: Path) -> None:
        """As JSON, NaN as null; an existing file is replaced only when complete. Raises `InputError`."""
        values = {"criterion": self.criterion.to_dict(), "held_out": [_plain(one) for one in self.held_out],
                  "tested": [[*photo[:-1], _plain(photo.scores)] for photo in self.tested],
                  "skipped": self.skipped}
        try:
            write_text(file, json.dumps(values, allow_nan=False))
        except OSError as error:
            raise InputError(f"{file} could not be written ({error}). "
                             "Is the disk full, or the folder protected?") from error

    @classmethod
    def read(cls, file: Path) -> Outcome:
        """Read what `write` wrote. Raises `InputError` for a missing, damaged or foreign file."""
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            return cls(Criterion.from_dict(values["criterion"]), tuple(map(_scores, values["held_out"])),
                       tuple(Tested(name, kind, group, seen_in, _scores(scores))
                             for name, kind, group, seen_in, scores in values["tested"]),
                       tuple(values["skipped"]))
        except OSError as error:
            raise InputError(f"{file} can't be read ({error}).") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"{file} is damaged, or not the result of a training ({error}).") from error


def judge(
    detector: Ulsad, test: Sequence[LabelledPhoto] = (),
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> Outcome:
    """Score test photos, if any, at the model's own α and β. Maps are not kept."""
    calibration, levels = detector.calibration, (detector.config.alpha, detector.config.beta)
    criterion = Criterion.suggested(calibration, *levels)
    tested, skipped = [], []
    results = detector.predict_many(photo.path for photo in test)
    for done, (photo, result) in enumerate(zip(test, results, strict=True), start=1):
        if isinstance(result, Skipped):
            skipped.append(result.reason)
        else:
            scores = criterion.scores(calibration, [result.frontier])[0]
            tested.append(Tested(photo.path.name, photo.kind, photo.group, detector.seen_in(result),
                                 Scores(*map(float, scores))))
        on_photo(done, len(test))
    held_out = tuple(Scores(*map(float, row)) for row in calibration.held_out_scores(*levels))
    return Outcome(criterion, held_out, tuple(tested), tuple(skipped))


def _plain(scores: Scores) -> list[float | None]:
    return [None if math.isnan(score) else score for score in scores]


def _scores(values: list[float | None]) -> Scores:
    return Scores(*(math.nan if value is None else float(value) for value in values))
