"""Algorithm 1 over precomputed features, as an iterator over steps; no files, no printing."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import repeat

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ulsad.compute import distributed
from ulsad.compute.gpu import Recorded, fetched
from ulsad.compute.precision import autocast, tf32_convolutions
from ulsad.compute.rows import Rows, to_gpu
from ulsad.method.config import Config
from ulsad.method.equations import attention, attention_loss, local_global_loss, local_loss
from ulsad.method.networks import Networks, Outputs

Differentiate = Callable[[Tensor, Tensor | None], Tensor]  # photos, positions → losses

WARM_UP = 10  # steps in which the learning rate of an averaged training rises
RECENCY = 8  # η of `weight_of_step`: half of the weight is on the last 7 % of the steps
_LIVE = "live"


class Diverged(ArithmeticError):
    """The losses are no longer finite."""


def losses_of(
    outputs: Outputs, features: Tensor, target: Tensor | None, positions: Tensor | None, config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """L_pl, L_pg and L_lg of one batch (Eq. 1, 5, 6); zero if the configuration leaves one out.

    `target` (n, c*, q) holds A at the q `positions` k at which Eq. 5 is evaluated (None: at all). Without a
    target, L_pg^d of Table 3 replaces L_pg.
    """
    reconstruction, second, global_features = outputs.map(
        lambda output: output.to(torch.promote_types(output.dtype, torch.float32)))
    zero = features.new_zeros(())
    local = local_loss(reconstruction, features, config.lambda_l)
    if global_features is None:
        return local, zero, zero
    if target is not None:
        queries = _at(global_features.flatten(2), positions)
        whole = attention_loss(attention(features.flatten(2), queries), target, config.lambda_g)
    else:
        whole = attention_loss(global_features, features, config.lambda_g)
    if second is None:
        return local, whole, zero
    return local, whole, local_global_loss(second, global_features, config.lambda_g)


def _at(values: Tensor, positions: Tensor | None) -> Tensor:
    """Values (n, c, p) at the given positions; None: at all."""
    return values if positions is None else values.index_select(-1, positions.to(values.device))


def queries(positions: int, config: Config) -> Iterator[Tensor | None]:
    """Endless draws of `attention_queries` positions without replacement, or None for all positions. The
    expected value of Eq. 5 is the same as over all positions, at a fraction of the cost."""
    if config.attention_queries is None or config.attention_queries >= positions:
        yield from repeat(None)
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        yield torch.randperm(positions, generator=generator)[: config.attention_queries]


def weight_of_step(step: int) -> float:
    """The share of this step's weights in the mean of the weights so far, (η + 1) / (t + η).

    It is polynomial-decay averaging (Shamir and Zhang, 'Stochastic gradient descent for non-smooth
    optimization', 2013), so the mean is good after any number of steps.
    """
    return (RECENCY + 1) / (step + RECENCY)


@dataclass(frozen=True)
class TrainingData:
    """The data of all training photos for Algorithm 1, computed once because the backbone is frozen."""

    images: Rows  # uint8 (n, 3, s, s)
    features: Rows  # U, standardised, float32 (n, c*, h*, w*)
    attention: Rows | None  # A of Eq. 3, float32 (n, c*, h*·w*), if the global target is attention

    def to_gpu(self, device: torch.device) -> TrainingData:
        """The same data in GPU memory, as far as it fits: copying a batch there takes as long as a step."""
        return TrainingData(to_gpu(self.images, device), to_gpu(self.features, device),
                            None if self.attention is None else to_gpu(self.attention, device))

    @property
    def on_gpu(self) -> bool:
        return all(rows is None or rows.device.type == "cuda"
                   for rows in (self.images, self.features, self.attention))


@dataclass(frozen=True)
class Step:
    """Results of one optimisation step."""

    step: int  # 1-based
    steps: int  # planned; under a time budget, the expected number at the current speed
    local: float  # L_pl
    attention: float  # L_pg, or L_pg^d
    local_global: float  # L_lg
    learning_rate: float
    seconds_left: float


def steps_of(config: Config, photos: int) -> int | None:
    """Number of steps for a number of training photos; None: as many as the time budget allows."""
    return math.ceil(config.epochs * photos / config.batch_size) if config.epochs else config.steps


class Training:
    """A run of Algorithm 1: iterate over it to train the networks in place, step by step.

    It ends after the `planned` number of steps, which may be raised to go on, or, under a time budget, when
    `time_used()`, the used share of the budget, reaches 1. Photos, positions and rates of a step depend only
    on the configuration and the step's number, so a training resumed from `state` ends as if it had not been
    interrupted.

    With the schedule "averaged", steps change a copy of the networks, `live`, and the networks themselves are
    the mean of its weights so far, see `weight_of_step`.
    """

    def __init__(self, networks: Networks, data: TrainingData, config: Config,
                 normalise: Callable[[Tensor], Tensor], time_used: Callable[[], float] = lambda: 0.0,
                 photos: Tensor | None = None) -> None:
        """`normalise` maps uint8 photos to the networks' input. `photos`: the indices of those to train on,
        int (m,); None: all."""
        self.networks, self.config, self.normalise, self.time_used = networks, config, normalise, time_used
        self.live = copy.deepcopy(networks) if config.schedule == "averaged" else networks
        self.device = next(networks.parameters()).device
        self.data = data.to_gpu(self.device)
        self.optimiser = torch.optim.Adam(self.live.parameters(), config.learning_rate,
                                          weight_decay=config.weight_decay, fused=True)
        self.photos = torch.arange(len(data.images)) if photos is None else photos
        self.done = 0
        self.planned = steps_of(config, len(self.photos))

    def state(self) -> dict[str, Tensor]:
        """Adam's moments, and weights that are not the networks' own: with the networks and the number of
        steps, all that is needed to resume."""
        moments = self.optimiser.state_dict()["state"]
        live = {} if self.live is self.networks else self.live.state_dict()
        return {f"{i}.{name}": value for i, values in moments.items() for name, value in values.items()
                } | {f"{_LIVE}.{name}": value for name, value in live.items()}

    def restore(self, state: dict[str, Tensor], done: int) -> None:
        """Resume from a `state` after `done` steps; the networks must already have their weights."""
        live, moments = dict(self.networks.state_dict()), dict[int, dict[str, Tensor]]()
        for key, value in state.items():
            owner, _, name = key.partition(".")
            if owner == _LIVE:
                live[name] = value
            else:
                moments.setdefault(int(owner), {})[name] = value
        self.live.load_state_dict(live)
        self.done = done
        if not done:  # Adam has no moments yet
            return
        for i, parameter in enumerate(self.live.parameters()):
            for name in ("exp_avg", "exp_avg_sq"):  # rounding of sums depends on the memory layout
                moments[i][name] = torch.empty_like(parameter).copy_(moments[i][name])
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": moments})

    def __iter__(self) -> Iterator[Step]:
        """Raises `Diverged` at the first loss that is not finite, before it reaches the weights."""
        batches, positions = self._batches(), self._positions()
        started, share_at_start = time.monotonic(), self._share()
        share = share_at_start
        while share < 1:
            rate = self._set_rate()
            local, attention, local_global = self._step(next(batches), next(positions))
            self.done += 1
            self._average()
            share = self._share()
            left = (time.monotonic() - started) * max(0.0, 1 - share) / max(share - share_at_start, 1e-9)
            steps = self.planned or max(self.done, round(self.done / share))
            yield Step(self.done, steps, local, attention, local_global, rate, left)

    def _share(self) -> float:
        """The finished share of the training, from 0 to 1."""
        return self.done / self.planned if self.planned else distributed.from_first(self.time_used())

    @cached_property
    def _differentiate(self) -> Differentiate:
        """The fastest form of `differentiate` on this device."""
        if distributed.size() > 1:
            return partial(self.differentiate, DistributedDataParallel(
                self.live, forward_sync_buffers=False))
        plainly = partial(self.differentiate, self.live)
        return Recorded(plainly, list(self.live.buffers())) if self.data.on_gpu else plainly

    def _step(self, batch: Tensor, positions: Tensor | None) -> list[float]:
        self.live.train()  # a callback may have switched them to eval mode to draw maps
        losses = distributed.mean(self._differentiate(batch, positions))
        arrived = fetched(losses)
        # If found_inf is 1, Adam leaves the weights unchanged; torch reads this undeclared attribute.
        self.optimiser.found_inf = (~losses.isfinite().all()).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        values = arrived()
        if not all(map(math.isfinite, values)):
            raise Diverged(f"step {self.done + 1}")
        return values

    def differentiate(self, model: torch.nn.Module, batch: Tensor, positions: Tensor | None) -> Tensor:
        """L_pl, L_pg and L_lg of a batch, (3,); sets the parameters' gradients of their sum."""
        data, config = self.data, self.config
        self.optimiser.zero_grad(set_to_none=True)
        images = _channels_last(self.normalise(_of(data.images, batch).to(self.device)))
        features = _channels_last(_of(data.features, batch).to(self.device))
        target = None
        if data.attention is not None:
            target = _at(_of(data.attention, batch), positions).to(self.device)
        with tf32_convolutions(self.device):
            with autocast(config.precision, self.device):
                losses = torch.stack(losses_of(model(images, features), features, target, positions, config))
            losses.sum().backward()
        return losses.detach()

    @torch.no_grad()
    def _average(self) -> None:
        if self.live is self.networks:
            return
        pairs = [pair for pair in zip(self.networks.state_dict().values(), self.live.state_dict().values())
                 if pair[0].is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in pairs], [live for _, live in pairs],
                             weight_of_step(self.done))

    def _set_rate(self) -> float:
        rate = self.config.learning_rate
        if self.config.schedule == "averaged":
            rate *= min(1.0, (self.done + 1) / WARM_UP)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        return rate

    def _batches(self) -> Iterator[Tensor]:
        """This process's share of each full batch, from shuffled passes over the photos."""
        generator, photos = torch.Generator().manual_seed(self.config.seed), len(self.photos)
        size = min(self.config.batch_size, photos)
        waiting = torch.empty(0, dtype=torch.long)
        for step in range(2**62):
            if len(waiting) < size:
                waiting = torch.cat([waiting, self.photos[torch.randperm(photos, generator=generator)]])
            if step >= self.done:
                yield distributed.share_of(waiting[:size])
            waiting = waiting[size:]

    def _positions(self) -> Iterator[Tensor | None]:
        _, _, height, width = self.data.features.shape
        drawn = queries(height * width, self.config)
        for _ in range(self.done):
            next(drawn)
        return drawn


def _of(rows: Rows, batch: Tensor) -> Tensor:
    return rows[batch.to(rows.device)]


def _channels_last(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last)
