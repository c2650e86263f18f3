"""Time per phase of a training, and how the cost of training and inference grows with photos and pixels.

Trainings run in separate processes, as users start them, and are timed by the events in their run
directories.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from ulsad.detector.detector import Ulsad
from ulsad.evaluation.tables import Table
from ulsad.method.config import PRESETS
from ulsad.runs import events
from ulsad.speed.throughput import three_maps

PHOTOS = 100  # of a typical training
FEW_STEPS = 24  # enough to measure the time of a step
WARM = 4  # steps until kernels are prepared
SIZES = (256, 384, 512)  # px
ROUNDS = 3

Event = dict[str, Any]  # an event of a run's directory


def spent(pictures: Sequence[Path], folder: Path, machine: str) -> Table:
    """Seconds of each phase of one training with the defaults, from the start of the command."""
    photos = vary(pictures, PHOTOS, folder / "hundred")
    started = time.time()
    seconds = phases(started, trained(photos, folder / "hundred-run"))
    whole = sum(seconds.values())
    rows = tuple((phase, f"{value:.1f}", f"{value / whole:.0%}") for phase, value in seconds.items())
    return Table(f"A training with quick, {PHOTOS} photos", ("what", "s", "share"),
                 (*rows, ("in all", f"{whole:.1f}", "100%")), machine)


def of_training(pictures: Sequence[Path], folder: Path, machine: str,
                counts: Sequence[int] = (50, 500, 5000)) -> Table:
    """Time of a step, time before the first step, and memory, for increasing numbers of photos."""
    rows = []
    for count in counts:
        photos = vary(pictures, count, folder / f"{count}")
        started = time.time()
        events = trained(photos, folder / f"{count}-run", f"steps={FEW_STEPS}")
        seconds = phases(started, events)
        before = seconds["reading"] + seconds["features"] + seconds["targets, first step"]
        rows.append((str(count), f"{1000 * step(events):.0f}", f"{before:.0f}",
                     f"{events[-1]['memory_mb']:.0f}"))
    return Table("How a training grows", ("photos", "ms a step", "s before the first", "MB at its peak"),
                 tuple(rows), machine)


def of_inference(pictures: Sequence[Path], files: Sequence[Path], machine: str) -> Table:
    """Time from photo files to three maps, for increasing sizes of the networks' input."""
    rows = []
    for size in SIZES:
        config = replace(PRESETS["quick"], image_size=size, steps=1, augmented_photos=0)
        detector = Ulsad.fit(list(pictures), config)
        seconds = []
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            three_maps(detector, files)
            seconds.append(time.perf_counter() - began)
        del seconds[0]  # it prepares kernels
        rows.append((str(size), f"{len(files) / statistics.median(seconds):.1f}",
                     f"{len(files) / max(seconds):.1f}", f"{len(files) / min(seconds):.1f}"))
    return Table(f"{len(files)} files to three maps each, quick", ("px", "photos/s", "from", "to"),
                 tuple(rows), machine)


def vary(pictures: Sequence[Path], count: int, folder: Path) -> Path:
    """A folder with `count` different JPEGs of 400 x 300 px: rotated copies of the pictures."""
    folder.mkdir(parents=True)
    images = [Image.open(picture).convert("RGB").resize((400, 300)) for picture in pictures]
    for number in range(count):
        image = images[number % len(images)].rotate(0.001 * number + 0.1, Image.Resampling.BILINEAR)
        image.save(folder / f"{number:05}.jpg", quality=90)
    return folder


def trained(photos: Path, run: Path, *settings: str) -> list[Event]:
    """Run a training and return its events. Raises `CalledProcessError` when it fails."""
    command = [sys.executable, "-m", "ulsad", "train", str(photos), "--run-dir", str(run)]
    subprocess.run([*command, *(["--set", *settings] if settings else [])], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   cwd=Path(__file__).resolve().parents[2])
    return [json.loads(line) for line in (run / events.EVENTS).read_text(encoding="utf-8").splitlines()]


def phases(started: float, events: Sequence[Event]) -> dict[str, float]:
    """Seconds of each phase, in order, from `started`, the command's start in seconds since the epoch.

    Each phase begins where the last one ended, so they add up to the whole time.
    """
    ends = {
        "start, imports": _time_of(events, "machine", 0),
        "reading": _time_of(events, "reading", -1),  # of the backbone as well
        "features": _time_of(events, "features", -1),
        "targets, first step": _time_of(events, "training", 0),
        "steps": _time_of(events, "training", -1),
        "calibration, saving": _time_of(events, "finished", -1),
    }
    return {phase: end - begun for (phase, end), begun in zip(ends.items(), [started, *ends.values()],
                                                              strict=False)}


def step(events: Sequence[Event]) -> float:
    """Median seconds of a step. Fast steps do not all have an event, so step numbers are taken into
    account."""
    warm = [event for event in events if event["event"] == "training" and event["step"] >= WARM]
    return statistics.median((later["time"] - earlier["time"]) / (later["step"] - earlier["step"])
                             for earlier, later in pairwise(warm))


def _time_of(events: Sequence[Event], name: str, which: int) -> float:
    return [event["time"] for event in events if event["event"] == name][which]


def tables(pictures: Sequence[Path], files: Sequence[Path], folder: Path, machine: str) -> Iterator[Table]:
    """All three tables; `pictures` of good parts to train on, `files` to score."""
    yield spent(pictures, folder, machine)
    yield of_training(pictures, folder, machine)
    yield of_inference(pictures, files, machine)
