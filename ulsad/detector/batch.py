"""Many photos under one model: scores, verdicts and which branch fired, for any criterion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ulsad.detector.criterion import FAIL, PASS, REVIEW, Criterion
from ulsad.detector.prediction import Prediction
from ulsad.photos.images import Skipped

# What `Ulsad.seen_in` says, for people.
SEEN = {"training": "the model was trained on this photo, so its score means little",
        "held-out": "a good photo of the model, held out in training: its score helped to set the thresholds"}


class Judged(NamedTuple):
    """One photo under a criterion."""

    score: float
    local_score: float
    global_score: float  # NaN without a global branch
    verdict: str
    fired: str


@dataclass(frozen=True)
class Batch:
    """Photos that were scored together, with the names shown to the user."""

    names: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    skipped: tuple[Skipped, ...] = ()  # photos that could not be read

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def frontiers(self) -> list[np.ndarray]:
        return [prediction.frontier for prediction in self.predictions]

    def judged(self, criterion: Criterion) -> list[Judged]:
        """Every photo under a criterion, in the order of the batch."""
        scores = self.scores(criterion)
        return [Judged(combined, local, global_, verdict, fired)
                for (combined, local, global_), verdict, fired in
                zip(scores.tolist(), criterion.verdicts(scores).tolist(), criterion.fired(scores).tolist(),
                    strict=True)]

    def scores(self, criterion: Criterion) -> np.ndarray:
        """(n, 3): combined, local and global score of every photo."""
        if not self.predictions:
            return np.empty((0, 3))
        return criterion.scores(self.predictions[0].calibration, self.frontiers)


def tally(verdicts: Sequence[str]) -> dict[str, int]:
    """How many pass, need a review, and fail."""
    counts = Counter(verdicts)
    return {verdict: counts[verdict] for verdict in (PASS, REVIEW, FAIL)}


def strange_photos_warning(strange: int, photos: int) -> str:
    """A warning to show before the results of `photos` photos; "" if none is strange."""
    if not strange:
        return ""
    looks = "looks" if strange == 1 else "look"
    return (f"{strange:,} of {photos:,} photos {looks} like none of the good photos that the model was "
            "trained on, so their scores mean little. Is it the right model?")
