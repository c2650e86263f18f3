"""Estimate a training's time, memory and disk space on this machine from a few seconds of trial steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from ulsad.compute.device import choose_device
from ulsad.compute.rows import MEMORY
from ulsad.detector.photo_sets import folds_of, held_out_share
from ulsad.detector.preparation import bytes_needed
from ulsad.detector.standstill import DEFECTS, first_look
from ulsad.method.augmentation import size_with_copies
from ulsad.method.backbones import FeatureExtractor, load_backbone
from ulsad.method.bank import FITTED_ON
from ulsad.method.branches import BATCH
from ulsad.method.config import Config
from ulsad.method.equations import attention
from ulsad.method.networks import Networks
from ulsad.method.training import Training, TrainingData, steps_of
from ulsad.method.turns import side_by_side

START = 6.0  # seconds until the process has loaded everything
WATCHING = 1.1  # checkpoints and previews add a tenth at most
PROCESS = 1200 * 2**20  # bytes, resident, with torch and a running backbone
FEW = 2  # photos in the first trial step, as a step may take seconds
TRIES = 8  # the fastest counts: other work on the machine, such as drawing a page, comes and goes
LONG = 3.0  # seconds after which no further trial starts

_alone = Lock()


@dataclass(frozen=True)
class Estimate:
    """What a training run will need."""

    seconds: float  # from pressing the button to the model; with `stop_when_still`, at least
    longest: float  # at most
    memory: int  # bytes, at its peak
    disk: int  # bytes in the run's folder during training, without the photos

    def __str__(self) -> str:
        time = f"about {duration(self.seconds)}"
        if self.longest > self.seconds:
            time += f", up to {duration(self.longest)} if a longer training pays"
        return (f"{time}; {size(self.memory)} of memory, {size(self.disk)} of disk "
                "while it trains")


@dataclass(frozen=True)
class _Pace:
    """Times in seconds on this machine, and memory."""

    features: float  # of one photo
    target: float  # A of Eq. 3, of one photo
    step: float  # of a full batch
    activations: int  # bytes that autograd keeps for a batch


def estimate(
    config: Config, photos: int, held_out: int = 0, seconds_per_photo: float = 0.02,
    weights: Path | str | None = None, device: str | None = None,
) -> Estimate:
    """Estimate a training on `photos` good photos plus `held_out` separately given ones.

    `seconds_per_photo` is the time to read one. Raises `InputError` for missing weights or a missing device.
    """
    extractor = load_backbone(config, weights).to(choose_device(device))
    with _alone:  # two parallel estimates would each measure a third of the speed
        pace = _pace(
            replace(config, steps=1, epochs=None, minutes=None, stop_when_still=False, seed=0,
                    white_level=None), weights, device)
    is_crossed = not held_out and folds_of(photos, config) is not None
    members = config.folds if is_crossed else 1
    at_once = side_by_side(members, extractor.pixel_mean.device)
    kept_back = held_out or (photos if is_crossed else held_out_share(photos, config))
    trained_on = photos if held_out or is_crossed else photos - kept_back
    rows = size_with_copies(trained_on, config)
    room = bytes_needed(photos, config, extractor)
    networks = members * sum(parameter.numel() * 4 for parameter in _networks(config, extractor).parameters())
    analysed = pace.features + pace.step / config.batch_size / 3 + 0.02  # backward takes twice as long
    around = (START + (photos + held_out) * seconds_per_photo + rows * (pace.features + pace.target)
              + (members * FITTED_ON + kept_back) * analysed)

    def training(steps: int) -> float:
        looks = math.log2(steps / first) + 1 if config.stop_when_still and steps >= first else 0
        return steps * pace.step * WATCHING + looks * (members * FITTED_ON + DEFECTS) * analysed

    first, most = first_look(members), steps_of(config, rows) or 0
    most *= members if config.epochs else 1
    least = min(most, 2 * first) if config.stop_when_still else most
    seconds, longest = ((60 * config.minutes,) * 2 if config.minutes else
                        (around + training(least), around + training(most)))
    return Estimate(
        seconds, longest,
        (PROCESS + (room if room <= MEMORY else 0) + 4 * networks
         + max(at_once * pace.activations, 2 * _kept(BATCH, config))),
        (bytes_needed(photos, config, extractor, per_value=2) if room > MEMORY else 0)
        + 5 * networks)  # a model, and a checkpoint with Adam's moments


def duration(seconds: float) -> str:
    """Seconds as text, rounded to an estimate's precision."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 600:
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes} min {seconds} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(number: int) -> str:
    """Bytes as text."""
    return f"{number / 2**30:.1f} GB" if number > 2**30 else f"{max(1, round(number / 2**20))} MB"


def _kept(photos: int, config: Config) -> int:
    """Bytes of that many float32 RGB squares."""
    return photos * 3 * config.image_size**2 * 4


def _networks(config: Config, extractor: FeatureExtractor) -> Networks:
    with torch.random.fork_rng(devices=[]):
        return Networks(config, extractor.channels, extractor.grid)


@lru_cache(maxsize=32)
def _pace(config: Config, weights: Path | str | None, device: str | None) -> _Pace:
    """Measured once in this process for all numbers of photos and steps."""
    extractor = load_backbone(config, weights).to(choose_device(device))
    images = torch.randint(0, 256, (config.batch_size, 3, config.image_size, config.image_size),
                           dtype=torch.uint8)

    def extracted() -> Tensor:
        return extractor(extractor.normalise(images[:FEW].to(extractor.pixel_mean.device))).cpu()

    features = extracted()
    features = (features - features.mean()) / features.std()
    features = features.repeat(-(-len(images) // FEW), 1, 1, 1)[: len(images)]
    patches = features[:FEW].flatten(2)
    targets = None
    if config.global_target == "attention":
        targets = attention(patches, patches).repeat(-(-len(images) // FEW), 1, 1)[: len(images)]
    data = TrainingData(images, features, targets)
    step, activations = _step(config, extractor, data)
    target = 0.0 if targets is None else _timed(lambda: attention(patches, patches)) / FEW
    return _Pace(_timed(extracted) / FEW, target, step, activations)


def _step(config: Config, extractor: FeatureExtractor, data: TrainingData) -> tuple[float, int]:
    """Seconds and bytes of one step: measured with few photos, then with a full batch unless that is slow."""
    for size, tries in ((FEW, 2), (config.batch_size, TRIES)):
        networks = _networks(config, extractor).to(extractor.pixel_mean.device)
        tried = replace(config, batch_size=size, steps=1000, epochs=None, minutes=None)
        steps = iter(Training(networks, data, tried, extractor.normalise))
        with _counted() as bytes_:
            next(steps)  # the first step also prepares kernels
        seconds = _timed(partial(next, steps), tries)
        if seconds * config.batch_size / size > LONG:
            break
    return seconds * config.batch_size / size, bytes_[0] * config.batch_size // size


def _timed(action: Callable[[], object], tries: int = TRIES) -> float:
    """Seconds of the fastest try."""
    best, began = float("inf"), time.perf_counter()
    for _ in range(tries):
        started = time.perf_counter()
        action()
        ended = time.perf_counter()
        best = min(best, ended - started)
        if ended - began > LONG:
            break
    return best


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Count the bytes that autograd keeps while the block runs."""
    total, seen = [0], set()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total[0] += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield total
