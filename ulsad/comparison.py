"""Ulsad, its local branch alone, and the paper's baselines on the same photos, in one table."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ulsad import metrics
from ulsad.baselines import BASELINES, Outcome, check_baselines, peak_memory_mb, run_baseline
from ulsad.config import Config
from ulsad.datasets import Category, read_mask
from ulsad.detector import Ulsad
from ulsad.errors import InputError
from ulsad.evaluation import evaluate
from ulsad.tables import MeanInterval, Table

OWN = {"ulsad": {}, "dfr": {"global_target": "none", "lambda_l": 0.0}}  # by name: settings that differ
METHODS = (*OWN, *BASELINES)


def check_methods(methods: Iterable[str]) -> None:
    """Raise `InputError` for an unknown method, or when anomalib is needed and not installed."""
    if others := [method for method in methods if method not in OWN]:
        check_baselines(others)


def run_method(
    method: str, category: Category, config: Config, weights: Path | None, device: str | None, minutes: float
) -> Outcome:
    """Train on a category's good photos and score its test photos, in a process of its own."""
    if method not in OWN:
        return run_baseline(method, category, weights, backbone=config.backbone,
                            image_size=config.image_size, seed=config.seed, minutes=minutes)
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
    detector = Ulsad.fit(category.train, config, category.held_out or None, weights, device)
    evaluation = evaluate(detector, category.test)
    if evaluation.skipped:
        raise InputError(evaluation.skipped[0].reason)
    return Outcome(method, config.backbone, evaluation.scores()[:, 0], evaluation.maps("combined"),
                   time.monotonic() - started, peak_memory_mb(), f"{detector.record['steps']} steps")


def comparison_table(category: Category, outcomes: Sequence[Outcome]) -> Table:
    """One row a method; percent, seconds for training and scoring, peak memory of its process."""
    columns = ("method", "backbone", "image AUROC", "pixel AUROC", "AUPRO", "seconds", "MB", "note")
    rows = tuple((outcome.method, outcome.backbone, *_metrics(category, outcome), _whole(outcome.seconds),
                  _whole(outcome.memory_mb), outcome.note) for outcome in outcomes)
    good = sum(photo.is_good for photo in category.test)
    note = (f"{len(category.train)} good photos to train on, {good} good and {len(category.test) - good} "
            "defective ones to test on, the same for all. Percent, one seed; brackets: 95 %, bootstrap over "
            "the test photos.")
    return Table(f"Methods on {category.name}", columns, rows, note).without_empty_columns()


def _metrics(category: Category, outcome: Outcome) -> tuple[MeanInterval | float, ...]:
    if outcome.scores is None:
        return (math.nan,) * 3
    labels = np.array([not photo.is_good for photo in category.test])
    interval, _ = metrics.bootstrap(outcome.scores, labels)
    image = _percent(metrics.auroc(outcome.scores, labels), interval)
    marked = [i for i, photo in enumerate(category.test) if photo.is_good or photo.masks]
    masks = np.array([read_mask(category.test[i].masks, outcome.maps.shape[1]) for i in marked])
    if not masks.any():
        return image, math.nan, math.nan
    pixels = metrics.pixel_metrics(outcome.maps[marked], masks)
    return (image, _percent(pixels.auroc, pixels.auroc_interval),
            _percent(pixels.aupro, pixels.aupro_interval))


def _percent(value: float, interval: metrics.Interval) -> MeanInterval:
    return MeanInterval(100 * value, 100 * interval.low, 100 * interval.high)


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else round(value)
