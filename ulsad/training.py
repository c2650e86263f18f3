"""Algorithm 1 over features computed once. No paths, no printing: a callback takes the progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from ulsad.config import Config
from ulsad.maps import attention, attention_loss, local_global_loss, local_loss
from ulsad.networks import Networks, Outputs


class Diverged(ArithmeticError):
    """The losses are no longer finite."""


@dataclass(frozen=True)
class TrainingData:
    """What Algorithm 1 needs of every training photo; the backbone is frozen, so it is computed once."""

    images: Tensor  # uint8 (n, 3, s, s)
    features: Tensor  # U, standardised, float32 (n, c*, h*, w*)
    attention: Tensor | None  # A of Eq. 3, float32 (n, c*, h*·w*), where the target is attention


@dataclass(frozen=True)
class Step:
    """One optimisation step, for whoever watches."""

    step: int  # 1-based
    steps: int
    local: float  # L_pl
    attention: float  # L_pg, or L_pg^d
    local_global: float  # L_lg
    learning_rate: float
    seconds_left: float


def steps_of(config: Config, photos: int) -> int:
    """How many optimisation steps the configuration means for a number of training photos."""
    return config.steps or math.ceil(config.epochs * photos / config.batch_size)


def train(
    networks: Networks, data: TrainingData, config: Config, normalise: Callable[[Tensor], Tensor],
    on_step: Callable[[Step], None] | None = None, should_stop: Callable[[], bool] | None = None,
) -> int:
    """Train in place and return the number of steps done. `normalise` maps uint8 photos to the network's.

    Raises `Diverged` at the first loss that is not finite, before it reaches the weights.
    """
    device = next(networks.parameters()).device
    total = steps_of(config, len(data.images))
    optimiser = torch.optim.Adam(networks.parameters(), config.learning_rate,
                                 weight_decay=config.weight_decay)
    schedule = _schedule(optimiser, config, total)
    low_precision = uses_bfloat16(config, device)
    batches = _batches(len(data.images), config, total)
    queries = _queries(data.features.shape[2] * data.features.shape[3], config)
    started = time.monotonic()
    for step, (batch, positions) in enumerate(zip(batches, queries), start=1):
        networks.train()  # whoever watched the last step may have drawn maps with them
        images = normalise(data.images[batch].to(device)).contiguous(memory_format=torch.channels_last)
        features = data.features[batch].to(device).contiguous(memory_format=torch.channels_last)
        target = None if data.attention is None else data.attention[batch][..., positions].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=low_precision):
            losses = losses_of(networks(images, features), features, target, positions, config)
        values = torch.stack(losses).tolist()
        if not all(map(math.isfinite, values)):
            raise Diverged(f"step {step}")
        optimiser.zero_grad(set_to_none=True)
        sum(losses).backward()
        optimiser.step()
        rate = schedule.get_last_lr()[0]
        schedule.step()
        if on_step:
            left = (time.monotonic() - started) / step * (total - step)
            on_step(Step(step, total, *values, learning_rate=rate, seconds_left=left))
        if should_stop and should_stop():
            return step
    return total


def losses_of(
    outputs: Outputs, features: Tensor, target: Tensor | None, positions: Tensor, config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """L_pl, L_pg and L_lg of one batch (Eq. 1, 5, 6), zero where the configuration leaves one out.

    `target` (n, c*, q) holds A at the q `positions` k at which Eq. 5 is evaluated.
    """
    reconstruction, second, global_features = (
        None if output is None else output.float() for output in outputs)
    zero = features.new_zeros(())
    local = local_loss(reconstruction, features, config.lambda_l)
    if global_features is None:
        return local, zero, zero
    if config.global_target == "attention":
        queries = global_features.flatten(2)[..., positions]
        whole = attention_loss(attention(features.flatten(2), queries), target, config.lambda_g)
    else:
        whole = attention_loss(global_features, features, config.lambda_g)
    if second is None:
        return local, whole, zero
    return local, whole, local_global_loss(second, global_features, config.lambda_g)


def uses_bfloat16(config: Config, device: torch.device) -> bool:
    """Whether training runs in bfloat16; "auto" means: where the hardware multiplies it natively."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _batches(photos: int, config: Config, total: int) -> Iterator[Tensor]:
    """`total` batches from one shuffled pass after the other; all full, so BatchNorm never sees one."""
    generator = torch.Generator().manual_seed(config.seed)
    size = min(config.batch_size, photos)
    waiting = torch.empty(0, dtype=torch.long)
    for _ in range(total):
        if len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(photos, generator=generator)])
        yield waiting[:size]
        waiting = waiting[size:]


def _queries(positions: int, config: Config) -> Iterator[Tensor]:
    """Endless draws of `attention_queries` positions without replacement: the mean of Eq. 5 over them has
    the expectation of the mean over all, at a fraction of its cost."""
    if config.attention_queries is None or config.attention_queries >= positions:
        yield from repeat(torch.arange(positions))
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        yield torch.randperm(positions, generator=generator)[: config.attention_queries]


def _schedule(optimiser: torch.optim.Optimizer, config: Config, total: int):
    if config.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=max(total, 2) + 1, pct_start=0.1)
