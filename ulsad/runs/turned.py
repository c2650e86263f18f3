"""Two versions of a part's model on the same photos: which verdicts turned, for better or for worse."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from ulsad.detector.criterion import FAIL, PASS, REVIEW, Criterion
from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.photos.datasets import GOOD, LabelledPhoto
from ulsad.photos.files import write_text
from ulsad.photos.images import Skipped
from ulsad.photos.intake import Intake

MOST = 200  # photos, some 20 s on two cores; of more good ones, every second, third, …

_ORDER = (PASS, REVIEW, FAIL)


class Verdict(NamedTuple):
    verdict: str
    score: float


class Turned(NamedTuple):
    """A photo on which the versions differ."""

    name: str
    kind: str  # "good", or the kind of its defect
    before: Verdict
    after: Verdict

    @property
    def is_better(self) -> bool:
        """Good parts should pass, and defects should not."""
        went_up = _ORDER.index(self.after.verdict) > _ORDER.index(self.before.verdict)
        return went_up is (self.kind != GOOD)


@dataclass(frozen=True)
class Comparison:
    """A new version beside the one in use, each at the thresholds suggested for it."""

    before: str  # name of the version in use
    photos: int  # that both judged
    left_out: int  # photos that one of the two was trained on, so that its score means little
    turned: tuple[Turned, ...]

    @property
    def better(self) -> int:
        return sum(one.is_better for one in self.turned)

    @property
    def worse(self) -> int:
        return len(self.turned) - self.better

    def write(self, file: Path) -> None:
        """As JSON. Raises `OSError`."""
        write_text(file, json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Comparison:
        """Raises `InputError` for a missing or damaged file."""
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            turned = tuple(Turned(str(name), str(kind), _verdict(*before), _verdict(*after))
                           for name, kind, before, after in values["turned"])
            return cls(str(values["before"]), int(values["photos"]), int(values["left_out"]), turned)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{file} can't be read ({error}).") from error


def _verdict(verdict: str, score: float) -> Verdict:
    if verdict not in _ORDER:
        raise ValueError(f"no verdict '{verdict}'")
    return Verdict(verdict, float(score))


def compare(before: str, old: Ulsad, new: Ulsad, intake: Intake) -> Comparison:
    """Judge the photos of a training, good ones and known defects, by two versions.

    Cross-fitted models judge their own good photos by the networks that do not know them, so these count.
    """
    photos = _chosen(intake)
    judged, left_out = [], 0
    both = zip(photos, *(model.predict_many(photo.path for photo in photos) for model in (old, new)),
               strict=True)
    criteria = [Criterion.suggested(model.calibration, model.config.alpha, model.config.beta)
                for model in (old, new)]
    for photo, *results in both:
        if any(isinstance(result, Skipped) for result in results):
            continue
        if "training" in (old.seen_in(results[0]), new.seen_in(results[1])):
            left_out += 1
            continue
        judged.append(Turned(photo.path.name, photo.kind, *map(_judged, results, criteria)))
    return Comparison(before, len(judged), left_out,
                      tuple(one for one in judged if one.before.verdict != one.after.verdict))


def _chosen(intake: Intake) -> list[LabelledPhoto]:
    """All test photos, and as many good ones as `MOST` allows."""
    good = [*intake.held_out, *intake.good]
    step = max(1, -(-len(good) // max(MOST - len(intake.test), 1)))
    return [*intake.test[:MOST], *(LabelledPhoto(path, GOOD) for path in good[::step])]


def _judged(prediction: Prediction, criterion: Criterion) -> Verdict:
    scores = criterion.scores(prediction.calibration, [prediction.frontier])
    return Verdict(criterion.verdicts(scores)[0], round(float(scores[0, 0]), 4))


def sentence(found: Comparison) -> str:
    """What the comparison says in one sentence."""
    if not found.photos:
        return f"No photo could be judged by both this version and {found.before}."
    if not found.turned:
        return f"This version and {found.before} give the same verdicts on the same {found.photos} photos."
    stay = found.photos - len(found.turned)
    return (f"On the same {found.photos} photos, compared with {found.before}: {found.better} "
            f"{'verdict turns' if found.better == 1 else 'verdicts turn'} for the better, {found.worse} for "
            f"the worse, {stay} stay.")
