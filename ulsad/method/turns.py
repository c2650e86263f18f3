"""Several trainings that take turns, so that all have come equally far whenever they are stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from ulsad.method.member import prefix_of
from ulsad.method.training import Step, Training


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
        """Raises `Diverged` as `Training` does."""
        count = len(self.trainings)
        for training in self.trainings:
            training.planned = self.planned and math.ceil(self.planned / count)
        running = [iter(training) for training in self.trainings]
        while self.planned is None or self.done < self.planned:
            step = next(running[self.done % count], None)
            if step is None:
                return
            yield replace(step, step=self.done, steps=self.planned or max(self.done, count * step.steps))

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
