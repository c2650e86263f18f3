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
from torch import Tensor

from ulsad import model_file
from ulsad.backbones import FeatureExtractor, load_backbone
from ulsad.branches import BATCH, Branches
from ulsad.calibration import Calibration, Combination, QuantileFunction
from ulsad.config import CALIBRATION, Config
from ulsad.errors import InputError
from ulsad.images import Skipped, read_image, to_rgb, to_square
from ulsad.networks import Networks
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

    def __init__(self, branches: Branches, calibration: Calibration, record: dict[str, Any]) -> None:
        self.branches = branches
        self.calibration = calibration
        self.record = record  # what it was trained on, and how far; plain JSON values

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

        def as_detector(steps: int) -> Ulsad:
            branches = prepared.branches.fitted(prepared.data.images)
            calibration = _calibrate(branches, prepared.held_out)
            return cls(branches, calibration, _record(prepared, steps, planned, started))

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
        local, global_ = self.branches.raw_maps(squares)
        return [
            Prediction(path, (image.height, image.width), local[i], None if global_ is None else global_[i],
                       self.calibration, self.config.alpha, self.config.beta)
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
        record = self.record | {"held_out": [path.name for path in photos.paths]}
        return Ulsad(branches, _calibrate(branches, photos), record)

    def save(self, path: Path | str) -> None:
        """Write the model as one safetensors file; an existing one is replaced only when complete."""
        header = {
            "config": self.config.to_json(),
            "weights_hash": self.branches.extractor.weights_hash,
            "record": self.record,
        }
        model_file.write(path, _tensors(self), header)

    @classmethod
    def load(cls, path: Path | str, weights: Path | str | None = None, device: str | None = None) -> Ulsad:
        """Read a model; the backbone's weights are found as in `load_backbone` and must be the same.

        Raises `InputError` for a damaged or foreign file and for other backbone weights.
        """
        tensors, header = model_file.read(path)
        if not {"config", "weights_hash", "record"} <= set(header):
            raise InputError(f"{path}: its header is damaged. Copy it again from where it was made.")
        config = Config.from_json(header["config"])
        extractor = load_backbone(config, weights).to(choose_device(device))
        if extractor.weights_hash != header["weights_hash"]:
            raise InputError(f"{path} was trained with other weights of {config.backbone} (hash "
                             f"{header['weights_hash'][:12]}…, found {extractor.weights_hash[:12]}…). "
                             "Give the weights file it was trained with.")
        try:
            branches, calibration = _rebuild(config, extractor, tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"{path}: its tensors do not fit its own configuration ({error}).") from error
        return cls(branches, calibration, header["record"])


def _calibrate(branches: Branches, held_out: PhotoSet) -> Calibration:
    local, global_ = branches.raw_maps(held_out.images)
    if not np.isfinite(local).all() or not (global_ is None or np.isfinite(global_).all()):
        raise Diverged("the maps of the held-out photos are not finite")
    return Calibration.of(local, global_, _combination(branches.config))


def _combination(config: Config) -> Combination:
    return Combination(config.combination, config.global_weight)


def _record(prepared: Prepared, steps: int, planned: int, started: float) -> dict[str, Any]:
    """What set the weights and what set the quantiles, for whoever asks later."""
    skipped = {item.path: item for item in prepared.good.skipped + prepared.held_out.skipped}
    return {
        "train": [path.name for path in prepared.good.paths],
        "held_out": [path.name for path in prepared.held_out.paths],
        "skipped": [item.reason for item in skipped.values()],
        "copies": len(prepared.data.images) - len(prepared.good.paths),
        "steps": steps,
        "planned_steps": planned,
        "seconds": round(time.time() - started, 1),
        "created": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": {name: version(name) for name in ("torch", "torchvision", "timm", "numpy")},
    }


def _tensors(detector: Ulsad) -> dict[str, Tensor]:
    branches, calibration = detector.branches, detector.calibration
    tensors = {f"networks.{name}": value for name, value in branches.networks.state_dict().items()}
    tensors |= {"mean": branches.mean, "std": branches.std,
                "quantiles.local": torch.from_numpy(calibration.local.values),
                "frontier.points": torch.from_numpy(np.concatenate(calibration.frontiers)),
                "frontier.sizes": torch.tensor([len(points) for points in calibration.frontiers])}
    if branches.whitening is not None:
        tensors["whitening"] = branches.whitening
    if branches.expected is not None:
        tensors["expected"] = torch.stack(branches.expected)
    if calibration.global_:
        tensors["quantiles.global"] = torch.from_numpy(calibration.global_.values)
    return tensors


def _rebuild(
    config: Config, extractor: FeatureExtractor, tensors: dict[str, Tensor]
) -> tuple[Branches, Calibration]:
    networks = Networks(config, extractor.channels, extractor.grid)
    prefix = "networks."
    networks.load_state_dict({name.removeprefix(prefix): value for name, value in tensors.items()
                              if name.startswith(prefix)})
    device = extractor.pixel_mean.device
    whitening = tensors["whitening"].to(device) if config.local_metric == "whitened" else None
    expected = tuple(tensors["expected"].to(device)) if config.relative_maps else None
    branches = Branches(config, extractor, networks.to(device), tensors["mean"].to(device),
                        tensors["std"].to(device), whitening, expected)
    points = tensors["frontier.points"].split(tensors["frontier.sizes"].tolist())
    global_ = tensors.get("quantiles.global")
    calibration = Calibration(
        QuantileFunction(tensors["quantiles.local"].numpy()),
        None if global_ is None else QuantileFunction(global_.numpy()),
        tuple(part.numpy() for part in points), _combination(config))
    return branches, calibration


def _try_to_read(path: Path) -> Image.Image | Skipped:
    try:
        return read_image(path)
    except InputError as error:
        return Skipped(path, str(error))
