"""Large photos: how fast they are read and scored, whole and at a fraction of their size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ulsad.detector.detector import Ulsad
from ulsad.evaluation.tables import Table

CAMERA, HUGE = (4032, 3024), (10328, 7746)  # px: 12 and 80 megapixels
AT_ONCE = 16
ROUNDS = 3
COLUMNS = ("what", "whole", "at a fraction", "unit", "times as fast")


def table(model: Path, pictures: Sequence[Path], folder: Path, machine: str) -> Table:
    """Reading on one core and scoring of large photos, made from `pictures`, in turns."""
    folder.mkdir()
    jpegs = [_enlarged(picture, CAMERA, folder / f"{i}.jpg") for i, picture in enumerate(pictures)]
    huge = _enlarged(pictures[0], HUGE, folder / "huge.jpg")
    detector = Ulsad.load(model)
    ways = _with(detector, reduced=False), _with(detector, reduced=True)
    many = (jpegs * AT_ONCE)[:AT_ONCE]
    rows = tuple(_rows(ways, jpegs[0], huge, many))
    return Table("Large JPEGs", COLUMNS, rows, f"The demo model. {machine}")


def _rows(ways: tuple[Ulsad, Ulsad], one: Path, huge: Path, many: Sequence[Path]) -> Iterator[tuple]:
    threads = torch.get_num_threads()
    whole, reduced = _in_turns(ways, lambda detector: detector.square(one))
    yield _row("12 megapixels, read on one core", 1000 * whole, 1000 * reduced, "ms")
    whole, reduced = _in_turns(ways, lambda detector: list(detector.predict_many(many)))
    yield (f"12 megapixels, {len(many)} files to verdicts on {threads} cores", f"{len(many) / whole:.1f}",
           f"{len(many) / reduced:.1f}", "photos/s", f"{whole / reduced:.1f}")
    whole, reduced = _in_turns(ways, lambda detector: detector.predict(huge))
    yield _row("80 megapixels, one file to its verdict", whole, reduced, "s")


def _row(what: str, whole: float, reduced: float, unit: str) -> tuple[str, ...]:
    return what, f"{whole:.2f}", f"{reduced:.2f}", unit, f"{whole / reduced:.1f}"


def _in_turns(ways: tuple[Ulsad, Ulsad], action: Callable[[Ulsad], object]) -> list[float]:
    """Median seconds of each way, after a round that is not counted."""
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS + 1):
        for detector, times in zip(ways, seconds, strict=True):
            began = time.perf_counter()
            action(detector)
            times.append(time.perf_counter() - began)
    return [statistics.median(times[1:]) for times in seconds]


def _with(detector: Ulsad, *, reduced: bool) -> Ulsad:
    branches = replace(detector.branches, config=replace(detector.config, reduced_jpegs=reduced))
    return Ulsad(branches, detector.calibration, detector.held_out, detector.references, detector.record)


def _enlarged(picture: Path, size: tuple[int, int], place: Path) -> Path:
    """With noise, as smooth pixels would take no time to decode."""
    photo = np.asarray(Image.open(picture).convert("RGB").resize(size, Image.Resampling.BICUBIC), np.int16)
    noise = np.random.default_rng(0).normal(0, 4, (*photo.shape[:2], 1)).astype(np.int16)
    Image.fromarray((photo + noise).clip(0, 255).astype(np.uint8)).save(place, quality=92)
    return place
