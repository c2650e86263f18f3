"""A trial: train on a category's good photos, test on its labelled ones, store the result.

A store is a folder with a folder for each trial: STORE/CATEGORY/seed-N-KEY with config.json,
model.safetensors, and result-KEY.json with scores-KEY.csv. Existing results are reused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ulsad.detector.criterion import FALSE_REJECT
from ulsad.detector.detector import Ulsad
from ulsad.detector.fitting import Progress, Watch
from ulsad.errors import InputError
from ulsad.evaluation.evaluation import Evaluation, evaluate, summarise, write_scores
from ulsad.evaluation.nearest import NearestNeighbours
from ulsad.method.config import CALIBRATION, Config
from ulsad.photos.datasets import Category
from ulsad.photos.files import write_text

MODEL = "model.safetensors"

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class TrialStore:
    """Where trials are stored, and settings for running them."""

    folder: Path
    weights: Path | None = None
    device: str | None = None
    false_reject: float = FALSE_REJECT  # share of good parts expected above the threshold
    on_progress: OnProgress = lambda progress: None
    on_trial: Callable[[str], None] = lambda name: None  # called before a new trial
    nearest: bool = False  # also search the nearest good patches


def run_trial(store: TrialStore, category: Category, config: Config) -> dict[str, Any]:
    """The result of one trial, see `evaluation.summarise`; from the store if it is there."""
    folder = trial_folder(store.folder, category, config)
    file = folder / f"result-{_key(_aftermath(config), store.false_reject, store.nearest)}.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    store.on_trial(f"{category.name}, seed {config.seed}")
    detector = trained(store, category, config)
    evaluation = evaluated(store, detector, category)
    result = summarise(evaluation, store.false_reject) | {
        "category": category.name, "seed": config.seed, "config": json.loads(config.to_json()),
        "seconds": detector.record["seconds"], "train": len(detector.record["train"])}
    write_scores(file.with_name(file.name.replace("result", "scores")).with_suffix(".csv"), evaluation)
    write_text(file, json.dumps(result, indent=1))
    return result


def trained(store: TrialStore, category: Category, config: Config) -> Ulsad:
    """The trial's detector: loaded, or trained and saved. No test photo is opened here."""
    folder = trial_folder(store.folder, category, config)
    if not (folder / MODEL).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
        detector = Ulsad.fit(category.train, _training(config), category.held_out or None, store.weights,
                             store.device, watch=Watch(store.on_progress))
        detector.save(folder / MODEL)
    # Always load it, so that the tested model is the one in the file.
    detector = Ulsad.load(folder / MODEL, store.weights, store.device)
    if _aftermath(config) == _aftermath(detector.config):
        return detector
    return detector.recalibrated(held_out_photos(category, detector), **_aftermath(config))


def held_out_photos(category: Category, detector: Ulsad) -> list[Path]:
    """The photos that set a detector's quantiles. Raises `InputError` if they can't be identified by name."""
    if category.held_out:
        return list(category.held_out)
    names = set(detector.record["held_out"])
    found = [path for path in category.train if path.name in names]
    if len(found) != len(detector.record["held_out"]):
        raise InputError(f"{category.name}: the held-out photos can't be found again, because several photos "
                         "have the same name or some are gone. Train again.")
    return found


def evaluated(store: TrialStore, detector: Ulsad, category: Category) -> Evaluation:
    """Raw maps of a category's test photos. Raises `InputError` for the nearest patches of a model without
    any."""
    search = NearestNeighbours.of(detector) if store.nearest else None
    evaluation = evaluate(detector, category.test,
                          lambda done, total: store.on_progress(Progress("testing", done, total)))
    if search is None:
        return evaluation
    return evaluation.beside(search.score_each([photo.path for photo in evaluation.photos]))


def trial_folder(root: Path, category: Category, config: Config) -> Path:
    """A trial's folder, which depends on the photos and the training settings."""
    photos = [f"{path.name} {path.stat().st_size}" for path in (*category.train, *category.held_out)]
    tested = [f"{photo.path.name} {photo.kind} {photo.group}" for photo in category.test]
    settings = {name: value for name, value in asdict(config).items() if name not in CALIBRATION}
    key = _key(settings, photos, tested)
    return root / category.name / f"seed-{config.seed}-{key}"


def _training(config: Config) -> Config:
    """The configuration with defaults for all settings that do not affect training."""
    return replace(config, **{name: getattr(Config(), name) for name in CALIBRATION})


def _aftermath(config: Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in CALIBRATION}


def _key(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]
