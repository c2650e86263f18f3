"""Several trainings that take turns, so that all have come equally far whenever they are stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Lock

import torch
from torch import Tensor

from ulsad.compute import distributed
from ulsad.compute.workers import in_parallel
from ulsad.method.member import prefix_of
from ulsad.method.training import Step, Training

AT_ONCE = 2  # turns of each training that are taken before the first of them is reported


def side_by_side(trainings: int, device: torch.device) -> int:
    """How many of these trainings take a step at the same time, each on a core of its own. Where there are no
    more cores than trainings, that is faster than all cores on one step after the other."""
    cores = torch.get_num_threads()
    pays = 1 < cores <= trainings and distributed.size() == 1 and device.type == "cpu"
    return cores if pays else 1


class _Running:
    """A training's steps, each taken when the one before is done."""

    def __init__(self, training: Training) -> None:
        self.steps, self.lock = iter(training), Lock()

    def step(self) -> Step | None:
        with self.lock:
            return next(self.steps, None)


class Turns:
    """The trainings of a model's members as one training, whose steps are those of all together.

    Training number i takes every k-th step, starting with i. `planned` is the number of all steps, which may
    be raised to go on; None under a time budget.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        """A number of steps is divided among the trainings; with epochs, each has as many as it would have
        alone."""
        self.trainings = trainings
        planned = trainings[0].config.steps
        if planned is None and trainings[0].planned is not None:
            planned = sum(training.planned or 0 for training in trainings)
        self.planned = planned

    @property
    def done(self) -> int:
        return sum(training.done for training in self.trainings)

    def __iter__(self) -> Iterator[Step]:
        """Raises `Diverged` as `Training` does. When a step is yielded, later ones may have been taken."""
        count = len(self.trainings)
        for training in self.trainings:
            training.planned = self.planned and math.ceil(self.planned / count)
        running = [_Running(training) for training in self.trainings]
        at_once = AT_ONCE * count if side_by_side(count, self.trainings[0].device) > 1 else 1
        while self.planned is None or self.done < self.planned:
            done = self.done
            end = (done // at_once + 1) * at_once
            end = end if self.planned is None else min(end, self.planned)
            steps = list(in_parallel(_Running.step, (running[i % count] for i in range(done, end))))
            for i, step in enumerate(steps, done + 1):
                if step is None:
                    return
                yield replace(step, step=i, steps=self.planned or max(i, count * step.steps))

    def state(self) -> dict[str, Tensor]:
        """The states of all, see `Training.state`."""
        return {f"{prefix_of(i)}{name}": value for i, training in enumerate(self.trainings)
                for name, value in training.state().items()}

    def restore(self, state: dict[str, Tensor], done: int) -> None:
        """Resume from a `state` after `done` steps; the networks must already have their weights."""
        for i, training in enumerate(self.trainings):
            prefix = prefix_of(i)
            mine = {name.removeprefix(prefix): value for name, value in state.items()
                    if name.startswith(prefix) and (prefix or not name.startswith("member"))}
            training.restore(mine, len(range(i, done, len(self.trainings))))
