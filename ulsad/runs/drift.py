"""Whether the good parts of a day still look as they did when the model was made.

Nobody says which photos of a day show good parts. So up to a fifth of them are taken for defects, and the
others are compared with good photos of the model.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import scipy

from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.runs.scored import Scored

DEFECTS = 0.2  # of a day's photos may show defects without a warning
# Probability at most that a day without drift is called one, for scores and for descriptors. So with photos
# of every working day less than one warning in two years is false. False ones come in a row, as all days are
# compared with the same good photos.
LEVEL = 0.001
# Fewer photos may all be defects, opened by somebody who wanted to see just these.
FEWEST = 20
MOST_DAYS = 30


class Quartiles(NamedTuple):
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Expected:
    """What is known of good photos, to compare days with."""

    # (n,): combined scores of the held-out good photos, under the model's own settings
    scores: np.ndarray
    # (k,): `References.own_strangeness`. These are photos that the model was trained on, but strangeness
    # comes from the backbone alone, which has learned from none of them.
    strangeness: np.ndarray
    review: float  # the threshold suggested under the same settings

    @classmethod
    def of(cls, detector: Ulsad) -> Expected:
        """Of a model as it was saved: without areas that a visitor ignores."""
        config, calibration = detector.config, detector.calibration
        return cls(calibration.held_out_scores(config.alpha, config.beta)[:, 0],
                   detector.references.own_strangeness,
                   Criterion.suggested(calibration, config.alpha, config.beta).review)


@dataclass(frozen=True)
class Day:
    """All photos of one day, except those left out by `days`."""

    day: str  # as in 2026-11-28
    count: int
    left_out: int
    scores: Quartiles
    strangeness: Quartiles
    is_higher: bool  # good parts score higher than the model's good photos
    is_stranger: bool  # they lie farther from the references than these from each other

    @property
    def is_enough(self) -> bool:
        """Whether there are enough photos to tell."""
        return self.count >= FEWEST

    @property
    def has_drifted(self) -> bool:
        return self.is_higher or self.is_stranger


def days(photos: Iterable[Scored], expected: Expected, defects: Collection[str] = ()) -> list[Day]:
    """The last `MOST_DAYS` days, oldest first.

    Photos whose digests are in `defects` are left out, and those that look like none of the good photos:
    probably somebody chose the wrong model for them. A day without other photos is missing.
    """
    by_day = {day: list(those) for day, those in
              groupby(sorted(photos, key=lambda photo: photo.day), lambda photo: photo.day)}
    found = (_day(day, by_day[day], expected, defects) for day in sorted(by_day)[-MOST_DAYS:])
    return [day for day in found if day]


def _day(day: str, photos: list[Scored], expected: Expected, defects: Collection[str]) -> Day | None:
    kept = [photo for photo in photos if photo.digest not in defects and photo.strangeness <= 1]
    if not kept:
        return None
    scores, strangeness = (np.array(values) for values in
                           zip(*((photo.score, photo.strangeness) for photo in kept)))
    return Day(day, len(kept), len(photos) - len(kept), quartiles(scores), quartiles(strangeness),
               has_risen(scores, expected.scores), has_risen(strangeness, expected.strangeness))


def quartiles(values: np.ndarray) -> Quartiles:
    return Quartiles(*map(float, np.quantile(values, [0.25, 0.5, 0.75])))


def has_risen(values: np.ndarray, good: np.ndarray) -> bool:
    """Whether a day's values (n,), a share of `DEFECTS` of which may be those of defects, are higher than
    those of good photos (m,): a one-sided Mann-Whitney test at `LEVEL`. False for fewer than `FEWEST`.

    Without the highest fifth, the i-th lowest value is at most the i-th lowest of the good parts, whichever
    photos show defects. So the test warns no more often than if it knew the good parts. Its p-value is from
    the normal approximation, which is too large in the tail for few good photos, and fast for many photos.
    """
    if len(values) < FEWEST or not len(good):
        return False
    rest = np.sort(values)[: len(values) - math.ceil(DEFECTS * len(values))]
    test = scipy.stats.mannwhitneyu(rest, good, alternative="greater", method="asymptotic")
    return bool(test.pvalue < LEVEL)
