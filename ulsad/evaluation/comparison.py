"""Compare Ulsad, its local branch alone, a patch bank, and the paper's baselines on the same photos."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
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
    bank = nearest.Bank.fit(category.train, config, category.held_out or None, weights, device)
    scores, maps = bank.score([photo.path for photo in category.test])
    return scores, maps, f"{len(bank.patches)} patches"


def comparison_table(category: Category, outcomes: Sequence[Sequence[Outcome]]) -> Table:
    """One row per method, from its outcomes with one or more seeds: percent, seconds for training and
    scoring, and peak memory of the process."""
    names = ("image AUROC", LOGICAL, STRUCTURAL, "pixel AUROC", "AUPRO", "AUPIMO")
    columns = ("method", "backbone", *names, "seconds", "MB", "note")
    rows = tuple((seeds[0].method, seeds[0].backbone, *_metrics(category, seeds),
                  _whole([outcome.seconds for outcome in seeds]),
                  _whole([outcome.memory_mb for outcome in seeds]), _note(seeds)) for seeds in outcomes)
    good = sum(photo.is_good for photo in category.test)
    seeds = len(outcomes[0])
    spread = ("one seed; brackets: 95 %, bootstrap over the test photos" if seeds == 1 else
              f"{seeds} seeds; ±: sample standard deviation over them")
    kept_back = "" if category.held_out else f"; {', '.join(OWN)} hold out a share of the training photos"
    note = (f"{len(category.train)} good training photos, {good} good and {len(category.test) - good} "
            f"defective test photos, the same for all methods{kept_back}. Percent, {spread}.")
    return Table(f"Methods on {category.name}", columns, rows, note).without_empty_columns()


def _metrics(category: Category, seeds: Sequence[Outcome]) -> tuple[Cell, ...]:
    """Image AUROC of all, logical and structural defects, and pixel metrics; NaN if not available."""
    scores = [outcome.scores for outcome in seeds if outcome.scores is not None]
    maps = [outcome.maps for outcome in seeds if outcome.maps is not None]
    if len(scores) < len(seeds):
        return (math.nan,) * 6
    labels = np.array([not photo.is_good for photo in category.test])
    chosen = subsets(category.test)
    image = [percent([metrics.auroc(of_seed[chosen[name]], labels[chosen[name]]) for of_seed in scores],
                     metrics.bootstrap(scores[0][chosen[name]], labels[chosen[name]])[0])
             if name in chosen else math.nan for name in ("all", LOGICAL, STRUCTURAL)]
    marked = [i for i, photo in enumerate(category.test) if photo.is_good or photo.masks]
    size = maps[0].shape[1]
    masks = np.array([read_mask(category.test[i].masks, size) for i in marked])
    if not masks.any():
        return (*image, *(math.nan,) * 3)
    pixels = [metrics.pixel_metrics(of_seed[marked], masks) for of_seed in maps]
    return (*image, percent([one.auroc for one in pixels], pixels[0].auroc_interval),
            percent([one.aupro for one in pixels], pixels[0].aupro_interval),
            percent([one.aupimo for one in pixels], pixels[0].aupimo_interval))


def _note(seeds: Sequence[Outcome]) -> str:
    """Why a seed could not run, or else the last seed's note."""
    return next((outcome.note for outcome in seeds if outcome.scores is None), seeds[-1].note)


def _whole(values: Sequence[float]) -> int | None:
    """The mean, rounded; None if the system did not report a value."""
    mean = math.fsum(values) / len(values)
    return None if math.isnan(mean) else round(mean)
