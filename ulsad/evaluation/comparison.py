"""Compare Ulsad, its local branch alone, a patch bank, and the paper's baselines on the same photos."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ulsad.compute.memory import peak_memory_mb
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.evaluation import metrics, nearest
from ulsad.evaluation.baselines import BASELINES, Outcome, check_baselines, run_baseline
from ulsad.evaluation.evaluation import evaluate, subsets
from ulsad.evaluation.paper_tables import percent
from ulsad.evaluation.tables import Cell, Table
from ulsad.method.config import Config
from ulsad.photos.datasets import LOGICAL, STRUCTURAL, Category, read_mask

ULSAD, NEAREST = "ulsad", "nearest"
OWN: dict[str, dict[str, Any]] = {  # by name: settings that differ
    ULSAD: {},
    "dfr": {"global_target": "none", "lambda_l": 0.0, "local_metric": "plain", "relative_maps": False,
            "nearest_patches": 0},
    NEAREST: {},
}
METHODS = (*OWN, *BASELINES)


def check_methods(methods: Iterable[str]) -> None:
    """Raise `InputError` for an unknown method, or if anomalib is needed but not installed."""
    if others := [method for method in methods if method not in OWN]:
        check_baselines(others)


def run_method(
    method: str, category: Category, config: Config, weights: Path | None, device: str | None, minutes: float
) -> Outcome:
    """Train on a category's good photos and score its test photos, in a separate process."""
    if method not in OWN:
        return run_baseline(method, category, weights, backbone=config.backbone,
                            image_size=config.image_size, seed=config.seed, minutes=minutes,
                            white_level=config.white_level)
    config = replace(config, **OWN[method])
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_run_own, method, category, config, weights, device).result()
    except (InputError, BrokenProcessPool) as error:
        return Outcome(method, config.backbone, None, None, math.nan, math.nan, str(error))


def _run_own(
    method: str, category: Category, config: Config, weights: Path | None, device: str | None
) -> Outcome:
    started = time.monotonic()
    run = _run_nearest if method == NEAREST else _run_ulsad
    scores, maps, note = run(category, config, weights, device)
    return Outcome(method, config.backbone, scores, maps, time.monotonic() - started, peak_memory_mb(), note)


def _run_ulsad(
    category: Category, config: Config, weights: Path | None, device: str | None
) -> tuple[np.ndarray, np.ndarray, str]:
    detector = Ulsad.fit(category.train, config, category.held_out or None, weights, device)
    evaluation = evaluate(detector, category.test)
    if evaluation.skipped:
        raise InputError(evaluation.skipped[0].reason)
    return evaluation.scores()[:, 0], evaluation.maps("combined"), f"{detector.record['steps']} steps"


def _run_nearest(
    category: Category, config: Config, weights: Path | None, device: str | None
) -> tuple[np.ndarray, np.ndarray, str]:
    bank = nearest.NearestNeighbours.fit(category.train, config, category.held_out or None, weights, device)
    scores, maps = bank.score([photo.path for photo in category.test])
    return scores, maps, f"{len(bank.patches)} patches"


def comparison_tables(category: Category, outcomes: Sequence[Sequence[Outcome]]) -> tuple[Table, Table]:
    """The outcomes of each method, with one or more seeds, as two tables: a row per method, and a row per
    kind of defect. In percent, with seconds for training and scoring, and peak memory of the process."""
    methods = [_Method.of(category, seeds) for seeds in outcomes]
    return _methods_table(category, methods), _kinds_table(category, methods)


@dataclass(frozen=True)
class _Method:
    """One method's outcomes; `scores` is empty if a seed could not run, `pixels` also without masks."""

    seeds: Sequence[Outcome]
    scores: list[np.ndarray]
    pixels: list[metrics.PixelMetrics]

    @classmethod
    def of(cls, category: Category, seeds: Sequence[Outcome]) -> _Method:
        scores = [outcome.scores for outcome in seeds if outcome.scores is not None]
        maps = [outcome.maps for outcome in seeds if outcome.maps is not None]
        if len(scores) < len(seeds):
            return cls(seeds, [], [])
        return cls(seeds, scores, _pixels(category, maps))

    @property
    def name(self) -> str:
        return self.seeds[0].method


def _pixels(category: Category, maps: Sequence[np.ndarray]) -> list[metrics.PixelMetrics]:
    """Pixel metrics of each seed's maps; empty without masks."""
    marked = [i for i, photo in enumerate(category.test) if photo.is_good or photo.masks]
    masks = np.array([read_mask(category.test[i].masks, maps[0].shape[1]) for i in marked])
    if not masks.any():
        return []
    chosen = {name: kept[marked] for name, kept in subsets(category.test).items()}
    return [metrics.pixel_metrics(of_seed[marked], masks, subsets=chosen) for of_seed in maps]


def _methods_table(category: Category, methods: Sequence[_Method]) -> Table:
    names = ("image AUROC", LOGICAL, STRUCTURAL, "pixel AUROC", "AUPRO", "AUPIMO")
    columns = ("method", "backbone", *names, "seconds", "MB", "note")
    rows = tuple((method.name, method.seeds[0].backbone, *_metrics(category, method),
                  _whole([outcome.seconds for outcome in method.seeds]),
                  _whole([outcome.memory_mb for outcome in method.seeds]), _note(method.seeds))
                 for method in methods)
    good = sum(photo.is_good for photo in category.test)
    seeds = len(methods[0].seeds)
    spread = ("one seed; brackets: 95 %, bootstrap over the test photos" if seeds == 1 else
              f"{seeds} seeds; ±: sample standard deviation over them")
    kept_back = "" if category.held_out else f"; {', '.join(OWN)} hold out a share of the training photos"
    note = (f"{len(category.train)} good training photos, {good} good and {len(category.test) - good} "
            f"defective test photos, the same for all methods{kept_back}. Percent, {spread}.")
    return Table(f"Methods on {category.name}", columns, rows, note).without_empty_columns()


def _metrics(category: Category, method: _Method) -> tuple[Cell, ...]:
    """Image AUROC of all, logical and structural defects, and pixel metrics; NaN if not available."""
    if not method.scores:
        return (math.nan,) * 6
    labels, chosen = _labels(category), subsets(category.test)
    image = [percent([metrics.auroc(scores[chosen[name]], labels[chosen[name]]) for scores in method.scores],
                     metrics.bootstrap(method.scores[0][chosen[name]], labels[chosen[name]])[0])
             if name in chosen else math.nan for name in ("all", LOGICAL, STRUCTURAL)]
    pixels = method.pixels
    if not pixels:
        return (*image, *(math.nan,) * 3)
    return (*image, percent([one.auroc for one in pixels], pixels[0].auroc_interval),
            percent([one.aupro for one in pixels], pixels[0].aupro_interval),
            percent([one.aupimo for one in pixels], pixels[0].aupimo_interval))


def _kinds_table(category: Category, methods: Sequence[_Method]) -> Table:
    """Image AUROC and AUPRO of each kind of defect vs. all good photos, with columns for each method."""
    labels = _labels(category)
    columns = ("kind", "photos", *(f"{metric} {method.name}" for metric in ("AUROC", "AUPRO")
                                   for method in methods))
    rows = []
    for kind, kept in subsets(category.test).items():
        image = [percent([metrics.auroc(scores[kept], labels[kept]) for scores in method.scores])
                 if method.scores else None for method in methods]
        place = [percent([one.aupro_of[kind] for one in method.pixels]) if method.pixels else None
                 for method in methods]
        rows.append((kind, int((labels & kept).sum()), *image, *place))
    return Table(f"Methods on {category.name} by kind of defect", columns, tuple(rows),
                 "Percent. AUROC: of photos.").without_empty_columns()


def _labels(category: Category) -> np.ndarray:
    return np.array([not photo.is_good for photo in category.test])


def _note(seeds: Sequence[Outcome]) -> str:
    """Why a seed could not run, or else the last seed's note."""
    return next((outcome.note for outcome in seeds if outcome.scores is None), seeds[-1].note)


def _whole(values: Sequence[float]) -> int | None:
    """The mean, rounded; None if the system did not report a value."""
    mean = math.fsum(values) / len(values)
    return None if math.isnan(mean) else round(mean)
