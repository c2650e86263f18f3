"""When a part passes: how maps are combined, the thresholds, and what they imply for good parts.

Numpy and scipy only. Scores are (n, 3) throughout: combined, local, global (Eq. 10); global is NaN for a
model without that branch.
"""

from __future__ import annotations

import math
import zlib
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaincinv, stdtrit  # scipy.stats would take most of a second to load

from ulsad.method.calibration import Calibration, Combination

FALSE_REJECT = 0.05  # false rejects: the share of good parts expected above a suggested threshold
SURER = 0.2  # of that share may fail rather than need a review
STRANGE = 0.05  # probability that one of n photos of a normal distribution is called strange
SET_ASIDE = 0.2  # the same, for those that don't set a threshold
MOST_STRANGE = 6  # one of so many photos may be
MARGIN = 0.1  # of a gap between scores that a threshold keeps away from them
PASS, REVIEW, FAIL = "pass", "review", "fail"
LOCAL, GLOBAL, BOTH, NEITHER = "local", "global", "both", "neither"
LINES = ("review", "fail", "local", "global_")  # the thresholds of a criterion


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Criterion:
    """A part passes up to `review`, fails above `fail`, and needs a manual review in between.

    A branch *fired* if its own score is above its own threshold. That says which branch found the photo
    anomalous, not what is wrong with the part: each branch can also detect the other's kind of defect.
    """

    alpha: float
    beta: float
    combine: Combination
    review: float
    fail: float
    local: float
    global_: float
    ignored: str = ""  # areas left out of maps and scores, see `packed`

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < self.beta <= 1:
            raise ValueError(f"α must be below β, both from 0 to 1, not {self.alpha:g} and {self.beta:g}")
        if not self.review <= self.fail:
            raise ValueError(f"'review' must not be above 'fail', {self.review:g} > {self.fail:g}")

    @classmethod
    def suggested(
        cls, calibration: Calibration, alpha: float, beta: float, combine: Combination | None = None,
        false_reject: float = FALSE_REJECT,
    ) -> Criterion:
        """A criterion from the held-out good photos alone, never from the photos to be judged.

        A share `false_reject` of future good parts is expected above `review`, and a fifth of that above
        `fail`; see `threshold_at`. The branches' own thresholds are set in the same way as `review`.
        """
        held_out = calibration.held_out_scores(alpha, beta, combine)
        review, local, global_ = (threshold_at(column, false_reject) for column in held_out.T)
        fail = max(review, threshold_at(held_out[:, 0], false_reject * SURER))
        return cls(alpha, beta, combine or calibration.combine, review, fail, local, global_)

    def scores(self, calibration: Calibration, frontiers: list[np.ndarray]) -> np.ndarray:
        """Scores (n, 3) of n photos under this criterion's α, β and combination."""
        return calibration.scores(frontiers, self.alpha, self.beta, self.combine)

    def verdicts(self, scores: np.ndarray) -> np.ndarray:
        """PASS, REVIEW or FAIL for each row of scores (n, 3)."""
        return np.select([scores[:, 0] > self.fail, scores[:, 0] > self.review], [FAIL, REVIEW], PASS)

    def fired(self, scores: np.ndarray) -> np.ndarray:
        """LOCAL, GLOBAL, BOTH or NEITHER for each row of scores (n, 3)."""
        local, global_ = scores[:, 1] > self.local, scores[:, 2] > self.global_  # NaN never fires
        return np.select([local & global_, local, global_], [BOTH, LOCAL, GLOBAL], NEITHER)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored in a model file."""
        return asdict(self) | {"global_": None if math.isnan(self.global_) else self.global_}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Criterion:
        global_ = math.nan if values["global_"] is None else values["global_"]
        return cls(**values | {"combine": Combination(**values["combine"]), "global_": global_})


def threshold_at(held_out_scores: np.ndarray, false_reject: float) -> float:
    """A threshold above which at most a share `false_reject` of future good parts is expected.

    Of n held-out good photos and a further one, each is as likely to have any rank of its score. So the r-th
    highest of the n is exceeded with probability r / (n + 1), whatever the distribution, and the threshold is
    the one with the largest r that the share allows. If it allows none, as n + 1 < 1 / `false_reject`, it is
    `normal_limit`, but at least the highest score. For a share of 0 it is the highest score.

    A few good photos that are nothing like the others would raise the threshold above most defects. So
    `strange` ones only use up their part of the share, and the others set the limit for the rest of it. One
    may do so even where its part, 1 / (n + 1), is up to twice the share.
    """
    count, ordered = len(held_out_scores), np.sort(held_out_scores)[::-1]
    if not false_reject or count < 2:
        return float(ordered[0])
    allowed = int((count + 1) * false_reject + 1e-9)
    apart = min(len(strange(held_out_scores, SET_ASIDE)), allowed or round((count + 1) * false_reject))
    if apart:
        others, left = ordered[apart:], false_reject - apart / (count + 1)
        limit = normal_limit(others, max(left, false_reject * SURER))
        return limit if apart < allowed else max(limit, float(others[0]))
    if allowed:
        return float(ordered[allowed - 1])
    return max(normal_limit(held_out_scores, false_reject), float(ordered[0]))


def normal_limit(scores: np.ndarray, share: float) -> float:
    """The upper prediction limit for normally distributed scores: mean + t s √(1 + 1/n), with Student's t of
    n − 1 degrees of freedom. A further score lies above it with probability `share`."""
    count = len(scores)
    spread = scores.std(ddof=1) * np.sqrt(1 + 1 / count)
    return float(scores.mean() + stdtrit(count - 1, 1 - share) * spread)


def dividing(good: np.ndarray, defects: np.ndarray, near: float) -> float:
    """The threshold with the fewest mistakes, which are good photos above it and defects not above it.

    Of several, the one nearest to `near`, but a tenth of the gap away from the scores beside it. Scores (n,)
    and (m,), at least one in all.
    """
    scores = np.unique(np.concatenate([good, defects]))
    low, high = np.append(-np.inf, scores), np.append(scores, np.inf)  # the gaps
    mistakes = (good[:, None] > low).sum(axis=0) + (defects[:, None] <= low).sum(axis=0)
    margin = (scores[-1] - scores[0]) * MARGIN
    margins = np.concatenate([[margin], MARGIN * np.diff(scores), [margin]])
    nearest = np.clip(near, low + margins, high - margins)[mistakes == mistakes.min()]
    return float(nearest[np.abs(nearest - near).argmin()])


def strange(held_out_scores: np.ndarray, level: float = STRANGE) -> np.ndarray:
    """Indices of the good photos whose scores are far above all others, highest first: int (k,).

    Each lies above `normal_limit` of all photos that are not strange, at a share of `level` divided by the
    number of photos. At most a sixth of them are.
    """
    order = np.argsort(-held_out_scores, kind="stable")
    ordered = held_out_scores[order]
    for k in range(len(ordered) // MOST_STRANGE, 0, -1):
        if ordered[k - 1] > normal_limit(ordered[k:], level / len(ordered)):
            return order[:k]
    return order[:0]


@cache
def clopper_pearson(successes: int, trials: int) -> Interval:
    """The exact 95 % interval of a share; [0, 1] without trials."""
    if not trials:
        return Interval(0.0, 1.0)
    low = betaincinv(successes, trials - successes + 1, 0.025) if successes else 0.0
    high = betaincinv(successes + 1, trials - successes, 0.975) if successes < trials else 1.0
    return Interval(float(low), float(high))


@cache
def photos_for(successes: int, trials: int, most: float) -> int | None:
    """How many trials would have an upper limit of at most `most`, see `clopper_pearson`, if the share of
    successes stays what it is; None if that takes more than 10,000 trials."""
    counts = np.arange(trials, 10_001)
    hits = np.round(successes / trials * counts)
    enough = counts[betaincinv(hits + 1, counts - hits, 0.975) <= most]
    return int(enough[0]) if len(enough) else None


def packed(mask: np.ndarray | None) -> str:
    """A bool mask (s, s) as a short text; "" if nothing is marked."""
    if mask is None or not mask.any():
        return ""
    return f"{len(mask)}:{b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()}"


def unpacked(text: str) -> np.ndarray | None:
    """The mask from a text made by `packed`. Raises `ValueError` for other texts."""
    if not text:
        return None
    side, _, content = text.partition(":")
    try:
        bits = np.unpackbits(np.frombuffer(zlib.decompress(b64decode(content)), np.uint8))
    except zlib.error as error:
        raise ValueError(f"not a mask ({error})") from error
    return bits[: int(side) ** 2].reshape(int(side), int(side)).astype(bool)


def rejected(held_out_scores: np.ndarray, threshold: float) -> tuple[int, Interval]:
    """How many of n held-out good photos lie above a threshold, and the 95 % interval of the true share.

    The interval is Clopper-Pearson's. Its upper end also holds if the threshold is one of these scores: of
    n + 1 exchangeable scores each is as likely to have any rank.
    """
    count = int((held_out_scores > threshold).sum())
    return count, clopper_pearson(count, len(held_out_scores))


def promise(held_out_scores: np.ndarray, criterion: Criterion) -> str:
    """What n held-out good photos imply for future good parts: two sentences for each threshold."""
    sentences = []
    for name, threshold in (("review", criterion.review), ("fail", criterion.fail)):
        count, interval = rejected(held_out_scores, threshold)
        sentences.append(f"{count} of {len(held_out_scores)} held-out good photos score above '{name}'. "
                         f"With 95 % confidence, at most {interval.high:.1%} of all good parts do.")
    return " ".join(sentences)
