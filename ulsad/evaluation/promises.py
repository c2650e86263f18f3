"""Do thresholds keep what they promise with few good photos, and are defects among these pointed out?

Each trial trains on some of a category's good photos, drawn with the seed, and looks at its labelled test
photos. Its scores are stored as JSON, so that no trial is run twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ulsad.detector.criterion import rejected, threshold_at
from ulsad.detector.detector import Ulsad
from ulsad.detector.fitting import Watch
from ulsad.errors import InputError
from ulsad.evaluation.tables import Table, mean_std
from ulsad.evaluation.trials import TrialStore
from ulsad.method.config import Config
from ulsad.photos.datasets import Category
from ulsad.photos.files import link_or_copy, write_text
from ulsad.photos.images import Skipped, digest, read_square

SHARES = (0.05, 0.1)  # of good parts that may lie above the threshold
FIRST_THREE = 3
LEFT_OVER = 60  # good photos that are neither trained on nor test photos; so many of them are scored


@dataclass(frozen=True)
class Scores:
    """Combined scores of one trial's photos, and the seconds that its training took."""

    held_out: dict[str, float]  # good photos, by their `images.digest`
    left_over: tuple[float, ...]  # further good photos from the same folder, see `left_over`
    good: tuple[float, ...]  # test photos
    defects: tuple[float, ...]
    seconds: float


def cut(category: Category, photos: int, seed: int) -> Category:
    """The category with so many of its good photos to train on, drawn with the seed, and none held out
    separately. Raises `InputError` if it has fewer."""
    return replace(category, train=_drawn(category.train, photos, seed), held_out=())


def left_over(category: Category, trained: Category, seed: int) -> tuple[Path, ...]:
    """Good photos of the category that were not trained on, at most `LEFT_OVER`, drawn with the seed.

    They differ from those trained on by chance alone, which test photos need not.
    """
    rest = tuple(sorted({*category.train, *category.held_out} - set(trained.train)))
    return _drawn(rest, min(len(rest), LEFT_OVER), seed)


def planted(
    category: Category, photos: int, seed: int, defects: int, folder: Path
) -> tuple[Category, tuple[Path, ...]]:
    """The same, but so many of the photos are test photos with a defect, and which.

    They are linked into a folder, as `Ulsad.fit` refuses a data set's test photos.
    """
    rest = cut(category, photos - defects, seed)
    drawn = _drawn(tuple(photo.path for photo in category.test if not photo.is_good), defects, seed)
    bad = tuple(folder / f"{number}-{path.name}" for number, path in enumerate(drawn))
    folder.mkdir(parents=True, exist_ok=True)
    for path, place in zip(drawn, bad, strict=True):
        if not place.exists():
            link_or_copy(path, place)
    return replace(rest, train=(*rest.train, *bad)), bad


def _drawn(paths: tuple[Path, ...], count: int, seed: int) -> tuple[Path, ...]:
    if len(paths) < count:
        raise InputError(f"There are only {len(paths)} photos to draw {count} from. Ask for fewer.")
    drawn = np.random.default_rng(seed).permutation(len(paths))[:count]
    return tuple(paths[i] for i in sorted(drawn))


def trial(
    store: TrialStore, category: Category, config: Config, further: Sequence[Path] = (), tests: bool = True
) -> Scores:
    """Train on a category, and score further good photos and, unless `tests` is False, its test photos; from
    the store if it is there."""
    photos = [f"{path.name} {path.stat().st_size}" for path in (*category.train, *further)]
    key = hashlib.sha256(f"{config.to_json()} {photos} {tests}".encode()).hexdigest()[:10]
    file = store.folder / category.name / f"{len(category.train)}-photos-seed-{config.seed}-{key}.json"
    if file.exists():
        return Scores(**json.loads(file.read_text(encoding="utf-8")))
    store.on_trial(f"{category.name}, {len(category.train)} photos, seed {config.seed}")
    detector = Ulsad.fit(category.train, config, None, store.weights, store.device,
                         watch=Watch(store.on_progress))
    held_out = detector.calibration.held_out_scores(config.alpha, config.beta)[:, 0].tolist()
    good, defects = (_scored(detector, [photo.path for photo in category.test if photo.is_good is is_good])
                     if tests else () for is_good in (True, False))
    scores = Scores(dict(zip(detector.record["digests"]["held_out"], held_out, strict=True)),
                    _scored(detector, further), good, defects, detector.record["seconds"])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(vars(scores)))
    return scores


def _scored(detector: Ulsad, paths: Sequence[Path]) -> tuple[float, ...]:
    """Raises `InputError` when a photo can't be read."""
    scores = []
    for result in detector.predict_many(paths):
        if isinstance(result, Skipped):
            raise InputError(result.reason)
        scores.append(float(result.score))
    return tuple(scores)


@dataclass(frozen=True)
class Kept:
    """What became of one promise: shares of photos above the threshold, from 0 to 1."""

    most: float  # as shown: with 95 % confidence, at most this share of good parts
    left_over: float | None  # of further good photos from the same folder, None if there are none
    good: float  # of good test photos
    defects: float  # of defects


def kept(scores: Scores, share: float) -> Kept:
    """The threshold for this share of false rejects, against further photos."""
    held_out = np.array(list(scores.held_out.values()))
    threshold = threshold_at(held_out, share)
    _, interval = rejected(held_out, threshold)

    def above(of: Sequence[float]) -> float:
        return float((np.array(of) > threshold).mean())

    return Kept(interval.high, above(scores.left_over) if scores.left_over else None, above(scores.good),
                above(scores.defects))


def ranks(scores: Scores, photos: Sequence[Path], config: Config) -> list[int]:
    """The rank of each of these photos among all held-out ones, strangest first, from 1; without those that
    were not held out."""
    order = sorted(scores.held_out, key=lambda name: -scores.held_out[name])
    squares = (read_square(path, config.image_size, config.white_level, config.decoded_side)
               for path in photos)
    names = [digest(square.pixels) for square in squares if not isinstance(square, Skipped)]
    return sorted(order.index(name) + 1 for name in names if name in scores.held_out)


def promise_row(name: str, photos: int, share: float, trials: Sequence[Scores]) -> tuple:
    """One row of `promise_table`, for several seeds."""
    each = [kept(scores, share) for scores in trials]

    def against(shares: Sequence[float | None]) -> tuple:
        pairs = [(rejected, one.most) for rejected, one in zip(shares, each, strict=True)
                 if rejected is not None]
        if not pairs:
            return "–", "–"
        return (mean_std([100 * rejected for rejected, _ in pairs]),
                f"{sum(rejected <= most for rejected, most in pairs)} of {len(pairs)}")

    return (name, photos, f"{share:.0%}", mean_std([100 * one.most for one in each]),
            *against([one.left_over for one in each]), *against([one.good for one in each]),
            mean_std([100 * one.defects for one in each]), mean_std([scores.seconds for scores in trials]))


def promise_table(rows: Sequence[tuple]) -> Table:
    return Table(
        "Do thresholds keep their promise?",
        ("set", "photos", "target", "shown: at most", "rejected: left over", "kept: left over",
         "rejected: test", "kept: test", "detected", "seconds"), tuple(rows),
        "The share of good parts that is shown beside a threshold for this target, 'with 95 % confidence, "
        "at most'. The share that lies above it: of good photos left over from training, which differ from "
        f"those trained on by chance alone (at most {LEFT_OVER}), and of good test photos; and how often "
        "this is not more than was shown. Of defects, the share above the threshold. Percent, mean ± "
        "standard deviation over seeds, each with other photos.")


def planted_table(rows: Sequence[tuple]) -> Table:
    return Table(
        "Are defects among the good photos pointed out?",
        ("set", "photos", "defects among them", "their ranks", "all in the first three"), tuple(rows),
        "The ranks of the defects among all held-out photos, strangest first, for each seed; a dash stands "
        "for one that was not held out.")


def planted_row(name: str, photos: int, defects: int, found: Sequence[list[int]]) -> tuple:
    """One row of `planted_table`, from the ranks of the defects for several seeds."""
    texts = (", ".join(map(str, [*one, *["–"] * (defects - len(one))])) for one in found)
    first = sum(len(one) == defects and max(one) <= FIRST_THREE for one in found)
    return name, photos, defects, "; ".join(texts), f"{first} of {len(found)}"
