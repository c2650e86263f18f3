"""Fit a detector on photos of good parts: prepare, train, calibrate, report progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ulsad.compute import distributed
from ulsad.compute.frontier import frontiers
from ulsad.compute.rows import Rows, batches
from ulsad.detector.calibrating import calibrate, raw_maps
from ulsad.detector.photo_sets import Photos
from ulsad.detector.preparation import Prepared, preparing
from ulsad.detector.references import References
from ulsad.detector.snapshot import Parts
from ulsad.detector.standstill import Standstill, advice, first_look
from ulsad.errors import InputError
from ulsad.method.bank import FITTED_ON
from ulsad.method.branches import BATCH, Branches, describe
from ulsad.method.config import Config
from ulsad.method.training import Diverged, Step, Training
from ulsad.method.turns import Turns

Model = TypeVar("Model")

CHECKPOINT, GLIMPSE = 10.0, 3.0  # minimum seconds between two checkpoints, between two glimpses
SHARE = 20  # the pause is also at least this many times the time that one takes
A_PHOTO = 0.04  # seconds that a checkpoint is expected to take for each held-out photo, until one is measured
ROUGHLY = 8  # photos that a glimpse is fitted on; it is calibrated on half as many


class TrainingDiverged(InputError):
    """The losses became NaN or infinite, so training stopped; earlier checkpoints are still valid."""


@dataclass(frozen=True)
class Progress:
    """Progress of a fit: `phase` is 'reading', 'features', 'training' or 'calibrating'."""

    phase: str
    done: int
    total: int
    step: Step | None = None  # losses and time left, while training


class Fitted(NamedTuple):
    """The parts of a detector, at the end of training or during it."""

    parts: Parts
    record: dict[str, Any]
    optimiser: dict[str, Tensor]  # see `Training.state`


@dataclass(frozen=True)
class Watch(Generic[Model]):
    """Callbacks of a fit.

    `on_progress` is called after every step. Once `should_stop()` is true, training stops and the current
    networks are calibrated as the result. `on_checkpoint` receives a complete model from time to time; save
    it immediately, because training continues with the same networks. `on_glimpse` receives a rough model,
    calibrated on few photos, every few seconds. Each takes at most a twentieth of the time.
    """

    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False
    on_checkpoint: Callable[[Model], None] | None = None
    on_glimpse: Callable[[Model], None] | None = None

    def made_of(self, built: Callable[[Fitted], Model]) -> Watch[Fitted]:
        """The same callbacks for `Fitted`, from which `built` makes the model."""
        def wrapped(function: Callable[[Model], None] | None) -> Callable[[Fitted], None] | None:
            return function and (lambda fitted: function(built(fitted)))

        return Watch(self.on_progress, self.should_stop, wrapped(self.on_checkpoint),
                     wrapped(self.on_glimpse))


class _Occasionally:
    """Runs an action after so many seconds `first`, then at most every `seconds`, less often if it would take
    more than its share of time."""

    def __init__(self, action: Callable[[Turns, int], None] | None, seconds: float, first: float = 0.0
                 ) -> None:
        self.action, self.seconds, self.cost = action, seconds, 0.0
        self.due = time.monotonic() + first

    def __call__(self, training: Turns, planned: int) -> None:
        began = time.monotonic()
        if self.action is None or began < self.due or distributed.rank() > 0:
            return
        self.action(training, planned)
        ended = time.monotonic()
        self.cost = ended - began
        self.due = ended + max(self.seconds, SHARE * self.cost)


@dataclass
class Fit:
    """One training from photos to `Fitted`. See `Ulsad.fit` for the inputs."""

    config: Config
    watch: Watch[Fitted]
    earlier: Fitted | None  # to resume from
    started: float = field(default_factory=time.monotonic)
    prepared: Prepared = field(init=False)
    references: References = field(init=False)
    standstill: Standstill | None = field(init=False, default=None)
    _fitted: tuple[tuple[int, int], Branches] | None = field(init=False, default=None)

    def run(self, photos: Photos, held_out: Photos | None, weights: Path | str | None, device: str | None,
            scratch: Path | None) -> Fitted:
        """Raises `InputError` and `TrainingDiverged`."""
        with preparing(photos, held_out, self.config, weights, device, self._count, scratch) as prepared:
            self.prepared, self.references = prepared, _references(prepared)
            if prepared.branches.config.stop_when_still:
                looks = self.earlier.record.get("looks", []) if self.earlier else []
                self.standstill = Standstill.of(prepared.held_out.images, self.config.seed,
                                                prepared.made_from is not None, dict(looks))
            try:
                return self._train()
            except Diverged as error:
                raise TrainingDiverged(
                    f"Training stopped: its losses are no longer finite ({error}). Lower the learning rate "
                    f"(now {self.config.learning_rate:g}).") from error

    def _train(self) -> Fitted:
        watch, prepared = self.watch, self.prepared
        budget = self.config.minutes  # with a budget, checkpoint early to know how long the end will take
        expected = SHARE * A_PHOTO * len(prepared.held_out.paths)
        checkpoints = _Occasionally(self._checkpoint if watch.on_checkpoint or budget else None, CHECKPOINT,
                                    first=0.0 if budget else max(CHECKPOINT, expected))
        glimpses = _Occasionally(self._glimpse if watch.on_glimpse else None, GLIMPSE)

        def time_used() -> float:
            assert budget is not None  # with a fixed number of steps this is not called
            return self.seconds / max(60 * budget - 1.2 * checkpoints.cost, 1e-9)

        branches = prepared.branches
        data = prepared.data.to_gpu(branches.mean.device)
        training = Turns([
            Training(member.networks, data, member.config, branches.extractor.normalise, time_used,
                     prepared.rows_of(i)) for i, member in enumerate(branches.members)])
        if self.earlier:
            self._go_on(training, self.earlier)
        step = None
        for step in self._steps(training):
            watch.on_progress(Progress("training", step.step, step.steps, step))
            glimpses(training, step.steps)
            checkpoints(training, step.steps)
            if distributed.anyone(watch.should_stop()):
                break
        if training.done == 0:
            raise InputError(f"Preparing the photos used up all of the {self.config.minutes:g} minutes. "
                             "Allow more time.")
        held_out = len(prepared.held_out.paths)
        self._count("calibrating", 0, held_out)
        result = self._exact(training, step.steps if step else training.done)
        result.record["self_made"] = self._self_made(result.parts, training.done)
        self._count("calibrating", held_out, held_out)
        return result

    def _steps(self, training: Turns) -> Iterator[Step]:
        """The planned steps; with `stop_when_still`, only as many of them as pay, in doubling stages."""
        if self.standstill is None or training.planned is None:
            yield from training
            return
        most, first = training.planned, first_look(len(training.trainings))
        for end in (2 * first * 2**k for k in count()):
            training.planned = min(end, most)
            for step in training:
                if step.step == first:
                    self._look(self.standstill, training)
                yield step
            if training.done > training.planned:
                continue  # resumed after the end of this stage
            if training.done > first:
                self._look(self.standstill, training)
            if training.done == most or not self.standstill.pays:
                return

    def _look(self, standstill: Standstill, training: Turns) -> None:
        """The first of several processes looks; the others hear of it."""
        if distributed.rank() == 0:
            standstill.look(training.done, self._branches(training.done, FITTED_ON))
        standstill.looks[training.done] = distributed.from_first(standstill.looks.get(training.done, 1.0))

    def _self_made(self, parts: Parts, steps: int) -> list[float]:
        """Combined scores of good photos with self-made defects, if the last step was followed by a look."""
        standstill, config = self.standstill, parts.branches.config
        if standstill is None or standstill.last is None or steps not in standstill.looks:
            return []
        points = frontiers(*raw_maps(parts.branches, standstill.last))
        return parts.calibration.scores(points, config.alpha, config.beta)[:, 0].tolist()

    @property
    def seconds(self) -> float:
        """Time since the fit began, plus the time before an interruption."""
        before = self.earlier.record["seconds"] if self.earlier else 0.0
        return before + time.monotonic() - self.started

    def _count(self, phase: str, done: int, total: int) -> None:
        self.watch.on_progress(Progress(phase, done, total))

    def _go_on(self, training: Turns, earlier: Fitted) -> None:
        before, now = earlier.record["digests"], _digests(self.prepared)
        if before != now:
            raise InputError("The photos differ from those that this training began with, so it can't be "
                             "resumed. Put the original photos back, or start a new training.")
        for mine, theirs in zip(self.prepared.branches.members, earlier.parts.branches.members, strict=True):
            mine.networks.load_state_dict(theirs.networks.state_dict())
        training.restore(earlier.optimiser, earlier.record["steps"])

    def _checkpoint(self, training: Turns, planned: int) -> None:
        fitted = self._exact(training, planned)
        if self.watch.on_checkpoint:
            self.watch.on_checkpoint(fitted)

    def _glimpse(self, training: Turns, planned: int) -> None:
        fitted = self._as_fitted(training, planned, ROUGHLY, ROUGHLY // 2)
        if self.watch.on_glimpse:
            self.watch.on_glimpse(fitted)

    def _exact(self, training: Turns, planned: int) -> Fitted:
        return self._as_fitted(training, planned, FITTED_ON, len(self.prepared.held_out.paths))

    def _as_fitted(self, training: Turns, planned: int, fitted_on: int, held_out: int) -> Fitted:
        """Fitted on so many photos, and calibrated on the first so many held-out ones."""
        prepared = self.prepared
        branches = self._branches(training.done, fitted_on)
        made_from, features = prepared.made_from, None
        if made_from is not None:  # the held-out photos are the training photos
            made_from, features = made_from[:held_out], prepared.features
        distances = held_out_distances(branches, prepared.held_out.images[:held_out], made_from,
                                       None if features is None else features[:held_out])
        return Fitted(Parts(branches, calibrate(branches, distances), distances, self.references),
                      self._record(training.done, planned), training.state())

    def _branches(self, steps: int, fitted_on: int) -> Branches:
        """The branches as they are after these steps; a look and the model made right after it share them."""
        asked = steps, fitted_on
        if self._fitted is None or self._fitted[0] != asked:
            prepared = self.prepared
            self._fitted = asked, prepared.branches.fitted(prepared.good.images, fitted_on,
                                                           features=prepared.features)
        return self._fitted[1]

    def _record(self, steps: int, planned: int) -> dict[str, Any]:
        """The record of a model: which photos set the weights and the quantiles, and how training went."""
        prepared = self.prepared
        skipped = {item.path: item for item in prepared.good.skipped + prepared.held_out.skipped}
        return {
            "train": [path.name for path in prepared.good.paths],
            "held_out": [path.name for path in prepared.held_out.paths],
            "folds": len(prepared.branches.members),
            "skipped": [item.reason for item in skipped.values()],
            "notes": self._notes(steps),
            "digests": _digests(prepared),
            "copies": len(prepared.data.images) - len(prepared.good.paths),
            "steps": steps,
            "planned_steps": planned,
            "looks": sorted(self.standstill.looks.items()) if self.standstill else [],
            "seconds": round(self.seconds, 1),
            "created": time.strftime("%Y-%m-%d %H:%M:%S"),
            "versions": {name: version(name) for name in ("torch", "torchvision", "numpy")},
        }

    def _notes(self, steps: int) -> list[str]:
        """Notes on all photos, without repetitions.

        A resumed training takes from the earlier one how the white level was found.
        """
        before = self.earlier.record.get("notes", []) if self.earlier else []
        found = [str(self.prepared.white)] if self.prepared.white else []
        if self.standstill and steps == self.config.steps:
            found += filter(None, [advice(self.standstill.looks, steps)])
        return list(dict.fromkeys(before + found + self.prepared.good.notes + self.prepared.held_out.notes))


def held_out_distances(
    branches: Branches, images: Rows, made_from: Sequence[int] | None = None, features: Tensor | None = None
) -> np.ndarray:
    """Distances of held-out good photos, float32 (n, b, g, g), see `Branches.analyse`.

    Raises `Diverged` if they are not finite.
    """
    distances = branches.analyse(images, made_from, features).distances
    if not np.isfinite(distances).all():
        raise Diverged("the maps of the held-out photos are not finite")
    return distances


def _references(prepared: Prepared) -> References:
    good = prepared.good.paths  # training images begin with these; augmented copies follow
    descriptors = torch.cat([describe(batch) for batch in batches(prepared.data.features, BATCH)])
    config = prepared.branches.config
    return References.chosen(good, descriptors[: len(good)].numpy(), config.seed, config.white_level)


def _digests(prepared: Prepared) -> dict[str, list[str]]:
    return {"train": prepared.good.digests, "held_out": prepared.held_out.digests}
