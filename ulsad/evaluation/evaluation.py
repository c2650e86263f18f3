"""Run a detector on a labelled set and compute metrics of its local, global and combined maps.

The metrics are in `metrics`; this module selects what they are computed over. Pixel metrics are computed at
the network's resolution, over good photos and defective photos with masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulsad.compute.frontier import frontiers
from ulsad.detector import spreadsheet
from ulsad.detector.criterion import FALSE_REJECT, threshold_at
from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.evaluation import metrics
from ulsad.method.calibration import Calibration
from ulsad.photos.datasets import GOOD, LOGICAL, STRUCTURAL, LabelledPhoto, read_mask
from ulsad.photos.images import Skipped

MAPS = ("combined", "local", "global")
NEAREST = "nearest"  # a nearest-neighbour search beside them
ROWS = (*MAPS, NEAREST)

OnPhoto = Callable[[int, int], None]


class Beside(NamedTuple):
    """A nearest-neighbour search on the same n photos."""

    scores: np.ndarray  # (n,)
    maps: np.ndarray  # float32 (n, s, s)


@dataclass(frozen=True)
class Evaluation:
    """Raw maps of n labelled photos, so that every α and β can be tried without running a network."""

    photos: tuple[LabelledPhoto, ...]
    skipped: tuple[Skipped, ...]  # unreadable photos, not counted anywhere
    raw_local: np.ndarray  # float32 (n, s, s)
    raw_global: np.ndarray | None
    calibration: Calibration
    alpha: float
    beta: float
    strange: int = 0  # number of photos unlike the training photos, see `Prediction.is_strange`
    nearest: Beside | None = None  # the nearest-neighbour search, see `nearest`

    @property
    def names(self) -> tuple[str, ...]:
        """Those of `ROWS` that there are."""
        missing = {"global": self.raw_global is None, NEAREST: self.nearest is None}
        return tuple(name for name in ROWS if not missing.get(name))

    def scores_of(self, name: str) -> np.ndarray:
        """(n,): scores of one of `names`."""
        if name == NEAREST:
            assert self.nearest is not None  # only called for `names`
            return self.nearest.scores
        return self.scores()[:, MAPS.index(name)]

    @cached_property
    def labels(self) -> np.ndarray:
        """bool (n,), True for a defect."""
        return np.array([not photo.is_good for photo in self.photos])

    @cached_property
    def _frontiers(self) -> tuple[np.ndarray, ...]:
        return frontiers(self.raw_local, self.raw_global)

    def scores(self, alpha: float | None = None, beta: float | None = None) -> np.ndarray:
        """(n, 3): combined, local and global score of every photo (Eq. 10); NaN without a global branch."""
        return self.calibration.scores(self._frontiers, *self._levels(alpha, beta))

    def held_out_scores(self, alpha: float | None = None, beta: float | None = None) -> np.ndarray:
        """(m, 3): the same for the held-out good photos, which set the thresholds."""
        return self.calibration.held_out_scores(*self._levels(alpha, beta))

    def maps(self, name: str, alpha: float | None = None, beta: float | None = None) -> np.ndarray:
        """Maps of all photos, (n, s, s), of one of `names`; raw except the combined ones."""
        if name == "local":
            return self.raw_local
        if name == "global":
            assert self.raw_global is not None  # only called for maps that the model has
            return self.raw_global
        if name == NEAREST:
            assert self.nearest is not None
            return self.nearest.maps
        normalise = self.calibration.normalisation(*self._levels(alpha, beta))
        return normalise(self.raw_local, self.raw_global).combined

    @cached_property
    def marked(self) -> np.ndarray:
        """Indices of photos with known pixel labels: good ones, and defects with masks."""
        return np.array([i for i, photo in enumerate(self.photos) if photo.is_good or photo.masks])

    @cached_property
    def masks(self) -> np.ndarray | None:
        """Masks of the `marked` photos, bool (len(marked), s, s); None if no defect has a mask."""
        size = self.raw_local.shape[1]
        masks = np.array([read_mask(self.photos[i].masks, size) for i in self.marked])
        return masks if masks.any() else None

    def pixel_metrics(self, name: str) -> metrics.PixelMetrics | None:
        """Pixel metrics of one map at the default α and β; None without masks."""
        if self.masks is None:
            return None
        chosen = {kind: kept[self.marked] for kind, kept in subsets(self.photos).items()}
        return metrics.pixel_metrics(self.maps(name)[self.marked], self.masks, subsets=chosen)

    def beside(self, results: Iterable[tuple[float, np.ndarray]]) -> Evaluation:
        """The same, with the score and map of every photo from `NearestNeighbours.score_each`."""
        scores, maps = zip(*results, strict=True)
        return replace(self, nearest=Beside(np.array(scores), np.array(maps)))

    def _levels(self, alpha: float | None, beta: float | None) -> tuple[float, float]:
        return self.alpha if alpha is None else alpha, self.beta if beta is None else beta


def evaluate(
    detector: Ulsad, photos: Sequence[LabelledPhoto], on_photo: OnPhoto = lambda done, total: None
) -> Evaluation:
    """Run a detector over labelled photos. Raises `InputError` when none of them can be read."""
    results = []
    for result in detector.predict_many(photo.path for photo in photos):
        results.append(result)
        on_photo(len(results), len(photos))
    return gathered(detector, photos, results)


def gathered(
    detector: Ulsad, photos: Sequence[LabelledPhoto], results: Sequence[Prediction | Skipped]
) -> Evaluation:
    """An evaluation from the results of `predict_many` for these photos, in the same order."""
    kept = [(photo, result) for photo, result in zip(photos, results, strict=True)
            if not isinstance(result, Skipped)]
    skipped = tuple(result for result in results if isinstance(result, Skipped))
    if not kept:
        raise InputError("None of the test photos could be read:\n"
                         + "\n".join(item.reason for item in skipped[:5]))
    raw = [np.array([getattr(result, name) for _, result in kept]) for name in ("raw_local", "raw_global")]
    return Evaluation(tuple(photo for photo, _ in kept), skipped, raw[0],
                      None if kept[0][1].raw_global is None else raw[1],
                      detector.calibration, detector.config.alpha, detector.config.beta,
                      sum(result.is_strange for _, result in kept))


def subsets(photos: Sequence[LabelledPhoto]) -> dict[str, np.ndarray]:
    """The photos for each AUROC, as bool (n,): all; logical and structural; and every kind.

    Each subset contains all good photos. Logical and structural are left out if unknown; a kind is left out
    if it repeats another subset: a single kind, or MVTec LOCO's two.
    """
    good = np.array([photo.is_good for photo in photos])
    groups = {name: good | mask for name in (LOGICAL, STRUCTURAL)
              if (mask := np.array([photo.group == name for photo in photos])).any()}
    names = sorted({photo.kind for photo in photos} - {GOOD})
    kinds = {name: good | np.array([photo.kind == name for photo in photos]) for name in names}
    wider = {"all": np.ones(len(photos), bool)} | groups
    return wider | {name: mask for name, mask in kinds.items()
                    if not any(np.array_equal(mask, other) for other in wider.values())}


def summarise(evaluation: Evaluation, false_reject: float = FALSE_REJECT) -> dict[str, Any]:
    """Every metric of every map as plain JSON values; NaN if the set lacks what a metric needs.

    The threshold of the operating point comes from the held-out good photos, never from the test photos. The
    nearest-neighbour search has no operating point, as the held-out photos are not in the model.
    """
    held_out = evaluation.held_out_scores()
    return {
        "photos": {name: int(chosen.sum()) for name, chosen in subsets(evaluation.photos).items()},
        "good": int((~evaluation.labels).sum()),
        "held_out": len(held_out),
        "false_reject": false_reject,
        "skipped": [item.reason for item in evaluation.skipped],
        "strange": evaluation.strange,
        "maps": {name: _of_scores(evaluation, name) | _of_pixels(evaluation.pixel_metrics(name))
                 | (_at_threshold(evaluation, name, held_out[:, MAPS.index(name)], false_reject)
                    if name != NEAREST else {})
                 for name in evaluation.names},
    }


def _of_scores(evaluation: Evaluation, name: str) -> dict[str, Any]:
    labels, scores = evaluation.labels, evaluation.scores_of(name)
    auroc_interval, precision_interval = metrics.bootstrap(scores, labels)
    f1, at = metrics.best_f1(scores, labels)
    return {
        "auroc": {name: metrics.auroc(scores[chosen], labels[chosen])
                  for name, chosen in subsets(evaluation.photos).items()},
        "auroc_interval": auroc_interval,
        "average_precision": metrics.average_precision(scores, labels),
        "average_precision_interval": precision_interval,
        "best_f1": {"f1": f1, "threshold": at},
    }


def _at_threshold(
    evaluation: Evaluation, name: str, held_out: np.ndarray, false_reject: float
) -> dict[str, Any]:
    threshold = threshold_at(held_out, false_reject)
    point = metrics.operating_point(evaluation.scores_of(name), evaluation.labels, threshold)
    return {"operating_point": point._asdict()}


def _of_pixels(result: metrics.PixelMetrics | None) -> dict[str, Any]:
    if result is None:
        return {}
    return {"pixel_auroc": result.auroc, "pixel_auroc_interval": result.auroc_interval,
            "aupro": result.aupro, "aupro_interval": result.aupro_interval, "aupro_of": result.aupro_of,
            "aupimo": result.aupimo, "aupimo_interval": result.aupimo_interval}


def write_scores(file: Path, evaluation: Evaluation) -> None:
    """Write a CSV with a row per photo: path, kind, combined, local and global score."""
    with spreadsheet.Writer(file) as table:
        table.row(["path", "kind", "score", "local_score", "global_score"])
        for photo, scores in zip(evaluation.photos, evaluation.scores(), strict=True):
            table.row([photo.path.as_posix(), photo.kind, *(round(float(score), 6) for score in scores)])
