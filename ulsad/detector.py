"""`Ulsad`: fit on good photos, predict anomaly maps, save, load. No unfitted object exists."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ulsad import model_file
from ulsad.backbones import load_backbone
from ulsad.branches import BATCH, Branches, describe
from ulsad.calibration import Calibration
from ulsad.config import CALIBRATION, Config
from ulsad.criterion import Criterion
from ulsad.errors import InputError
from ulsad.images import Skipped, digest, read_image, to_rgb, to_square
from ulsad.maps import resample
from ulsad.prediction import Prediction
from ulsad.preparation import (
    Photos,
    PhotoSet,
    Prepared,
    check_enough,
    choose_device,
    prepare,
    read_photos,
)
from ulsad.references import References
from ulsad.snapshot import Parts, combination, rebuilt, tensors_of
from ulsad.training import Diverged, Step, steps_of, train


class TrainingDiverged(InputError):
    """The losses became NaN or infinite, so training stopped; earlier checkpoints are good."""


@dataclass(frozen=True)
class Progress:
    """Where a `fit` is: `phase` is 'reading', 'features', 'training' or 'calibrating'."""

    phase: str
    done: int
    total: int
    step: Step | None = None  # losses and time left, while training


class Ulsad:
    """A trained detector, made by `Ulsad.fit` or `Ulsad.load`.

    detector = Ulsad.fit("photos/good")
    prediction = detector.predict("photo.jpg")
    prediction.score, prediction.combined_map.shape
    """

    def __init__(
        self, branches: Branches, calibration: Calibration, held_out: np.ndarray, references: References,
        record: dict[str, Any], criteria: dict[str, Criterion] | None = None,
    ) -> None:
        self.branches = branches
        self.calibration = calibration
        self.held_out = held_out  # float32 (n, b, g, g): distances of the held-out good photos
        self.references = references
        self.record = record  # what it was trained on, and how far; plain JSON values
        self.criteria = criteria or {}  # by name

    @property
    def config(self) -> Config:
        return self.branches.config

    @classmethod
    def fit(
        cls,
        photos: Photos,
        config: Config | None = None,
        held_out: Photos | None = None,
        weights: Path | str | None = None,
        device: str | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        should_stop: Callable[[], bool] = lambda: False,
        on_checkpoint: Callable[[Ulsad], None] | None = None,
        checkpoint_every: int = 100,
    ) -> Ulsad:
        """Train on good photos: a folder, or a list of files.

        The quantiles of Eq. 9 come from `held_out`, or from a seeded share of `photos` that training
        never sees. `weights`: see `load_backbone`. Unreadable photos are skipped and listed in
        `record`. Once `should_stop()` is true, the state so far is calibrated and returned. Every
        `checkpoint_every` steps `on_checkpoint` receives a complete detector, to be saved at once:
        training goes on with the same networks.

        Raises `InputError` (too few photos, missing weights, …) and `TrainingDiverged`.
        """
        started = time.time()
        config = config or Config()

        def on_count(phase: str, done: int, total: int) -> None:
            on_progress(Progress(phase, done, total))

        prepared = prepare(photos, held_out, config, weights, device, on_count)
        planned = steps_of(config, len(prepared.data.images))
        references = _references(prepared)

        def as_detector(steps: int) -> Ulsad:
            branches = prepared.branches.fitted(prepared.data.images)
            distances = _held_out_distances(branches, prepared.held_out)
            return cls(branches, _calibrate(branches, distances), distances, references,
                       _record(prepared, steps, planned, started))

        def on_step(step: Step) -> None:
            on_progress(Progress("training", step.step, step.steps, step))
            if on_checkpoint and step.step % checkpoint_every == 0 and step.step < planned:
                on_checkpoint(as_detector(step.step))

        try:
            steps = train(prepared.branches.networks, prepared.data, config,
                          prepared.branches.extractor.normalise, on_step, should_stop)
            held_out = len(prepared.held_out.paths)
            on_count("calibrating", 0, held_out)
            detector = as_detector(steps)
            on_count("calibrating", held_out, held_out)
            return detector
        except Diverged as error:
            raise TrainingDiverged(
                f"Training stopped: its losses are no longer finite ({error}). Lower the learning rate "
                f"(now {config.learning_rate:g}), or set precision to float32.") from error

    def predict(self, photo: Path | str | Image.Image | np.ndarray) -> Prediction:
        """The raw maps of one photo: a file, a Pillow image, or uint8 (H, W) or (H, W, 3).

        Raises `InputError` when it cannot be read.
        """
        path = Path(photo) if isinstance(photo, (str, Path)) else None
        return self._predict([(path, to_rgb(photo) if path is None else read_image(path))])[0]

    def predict_many(self, paths: Iterable[Path]) -> Iterator[Prediction | Skipped]:
        """The same for many files, in order; one that cannot be read comes back as `Skipped`."""
        remaining = iter(paths)
        while chunk := list(islice(remaining, BATCH)):
            results = [_try_to_read(path) for path in chunk]
            images = [(path, image) for path, image in zip(chunk, results, strict=True)
                      if not isinstance(image, Skipped)]
            predictions = iter(self._predict(images) if images else [])
            yield from (image if isinstance(image, Skipped) else next(predictions) for image in results)

    def _predict(self, images: list[tuple[Path | None, Image.Image]]) -> list[Prediction]:
        squares = torch.stack([to_square(image, self.config.image_size) for _, image in images])
        distances, descriptors = self.branches.analyse(squares)
        nearest = self.references.nearest(descriptors)
        return [
            Prediction(path, (image.height, image.width), distances[i], self.branches.resampling,
                       self.calibration, self.config.alpha, self.config.beta, int(nearest[i]),
                       digest(squares[i]))
            for i, (path, image) in enumerate(images)
        ]

    def recalibrated(self, held_out: Photos, **changes: Any) -> Ulsad:
        """The same networks with the quantiles of these good photos, which they must not have seen.

        `changes` are settings of `config.CALIBRATION`, which only the maps' aftermath uses. Takes seconds.
        Raises `InputError` for other settings and fewer than two readable photos.
        """
        if other := set(changes) - set(CALIBRATION):
            raise InputError(f"{', '.join(sorted(other))} can't be changed without a new training.")
        config = replace(self.config, **changes)
        photos = read_photos(held_out, config, lambda *counts: None)
        check_enough(photos, minimum=2)
        branches = replace(self.branches, config=config)
        record = self.record | {
            "held_out": [path.name for path in photos.paths],
            "digests": self.record["digests"] | {"held_out": _digests(photos)}}
        distances = _held_out_distances(branches, photos)
        calibration = _calibrate(branches, distances, self.calibration.ignored)
        return Ulsad(branches, calibration, distances, self.references, record)

    def seen_in(self, prediction: Prediction) -> str:
        """"training" or "held-out" when the model was made with this very photo, else ""."""
        digests = self.record["digests"]
        if prediction.digest in digests["train"]:
            return "training"
        return "held-out" if prediction.digest in digests["held_out"] else ""

    def ignoring(self, ignored: np.ndarray | None) -> Ulsad:
        """The same detector without these pixels in maps, scores and quantiles: bool (s, s); None: with all.

        Raises `InputError` when nothing is left to look at.
        """
        if ignored is not None and ignored.all():
            raise InputError("Everything is marked to be ignored. Leave something to look at.")
        ignored = None if ignored is None or not ignored.any() else ignored
        return Ulsad(self.branches, _calibrate(self.branches, self.held_out, ignored), self.held_out,
                     self.references, self.record, self.criteria)

    def with_criterion(self, name: str, criterion: Criterion) -> Ulsad:
        """The same detector with one more criterion to be saved with it; one of the same name is replaced."""
        return Ulsad(self.branches, self.calibration, self.held_out, self.references, self.record,
                     self.criteria | {name: criterion})

    def save(self, path: Path | str) -> None:
        """Write the model as one safetensors file; an existing one is replaced only when complete."""
        header = {
            "config": self.config.to_json(),
            "weights_hash": self.branches.extractor.weights_hash,
            "record": self.record,
            "criteria": {name: criterion.to_dict() for name, criterion in self.criteria.items()},
            "references": self.references.names,
        }
        parts = Parts(self.branches, self.calibration, self.held_out, self.references)
        model_file.write(path, tensors_of(parts), header)

    @classmethod
    def load(cls, path: Path | str, weights: Path | str | None = None, device: str | None = None) -> Ulsad:
        """Read a model; the backbone's weights are found as in `load_backbone` and must be the same.

        Raises `InputError` for a damaged or foreign file and for other backbone weights.
        """
        tensors, header = model_file.read(path)
        if not {"config", "weights_hash", "record", "criteria", "references"} <= set(header):
            raise InputError(f"{path}: its header is damaged. Copy it again from where it was made.")
        config = Config.from_json(header["config"])
        extractor = load_backbone(config, weights).to(choose_device(device))
        if extractor.weights_hash != header["weights_hash"]:
            raise InputError(f"{path} was trained with other weights of {config.backbone} (hash "
                             f"{header['weights_hash'][:12]}…, found {extractor.weights_hash[:12]}…). "
                             "Give the weights file it was trained with.")
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise InputError(f"{path}: damaged, some of its values are no numbers. "
                             "Copy it again from where it was made.")
        try:
            parts = rebuilt(config, extractor, tensors, tuple(header["references"]))
            criteria = {name: Criterion.from_dict(values) for name, values in header["criteria"].items()}
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{path}: its tensors do not fit its own configuration "
                             f"({str(error)[:150]} …).") from error
        return cls(*parts, header["record"], criteria)


def _references(prepared: Prepared) -> References:
    good = prepared.good.paths  # the first of the training images; copies follow
    descriptors = describe(prepared.data.features[: len(good)]).numpy()
    return References.chosen(good, descriptors, prepared.branches.config.seed)


def _held_out_distances(branches: Branches, held_out: PhotoSet) -> np.ndarray:
    distances = branches.analyse(held_out.images).distances
    if not np.isfinite(distances).all():
        raise Diverged("the maps of the held-out photos are not finite")
    return distances


def _calibrate(
    branches: Branches, distances: np.ndarray, ignored: np.ndarray | None = None
) -> Calibration:
    raw = resample(distances, branches.resampling)
    global_ = raw[:, 1] if raw.shape[1] > 1 else None
    return Calibration.of(raw[:, 0], global_, combination(branches.config), ignored)


def _record(prepared: Prepared, steps: int, planned: int, started: float) -> dict[str, Any]:
    """What set the weights and what set the quantiles, for whoever asks later."""
    skipped = {item.path: item for item in prepared.good.skipped + prepared.held_out.skipped}
    return {
        "train": [path.name for path in prepared.good.paths],
        "held_out": [path.name for path in prepared.held_out.paths],
        "skipped": [item.reason for item in skipped.values()],
        "digests": {"train": _digests(prepared.good), "held_out": _digests(prepared.held_out)},
        "copies": len(prepared.data.images) - len(prepared.good.paths),
        "steps": steps,
        "planned_steps": planned,
        "seconds": round(time.time() - started, 1),
        "created": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": {name: version(name) for name in ("torch", "torchvision", "timm", "numpy")},
    }


def _digests(photos: PhotoSet) -> list[str]:
    return [digest(square) for square in photos.images]


def _try_to_read(path: Path) -> Image.Image | Skipped:
    try:
        return read_image(path)
    except InputError as error:
        return Skipped(path, str(error))
