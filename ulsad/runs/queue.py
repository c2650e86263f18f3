"""Trainings in one models directory run one after the other, in the order in which they were started."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ulsad.runs import directory, events
from ulsad.runs.directory import RunState


def wait_for_turn(folder: Path) -> Iterator[int]:
    """Yield every half second how many runs are ahead in the queue, until there are none."""
    reported = None
    while ahead := _ahead(folder):
        if ahead != reported:
            events.append(folder, "queued", ahead=ahead)
            reported = ahead
        yield ahead
        time.sleep(0.5)


def _ahead(folder: Path) -> int:
    """How many live runs in the same models directory come first; those of the same time go by name."""
    mine, home = directory.read(folder), directory.home_of(folder)
    others = [directory.read(other) for other in directory.all_runs(home) if other != folder]
    return sum(other.is_live and _place(other) < _place(mine) for other in others)


def _place(run: RunState) -> tuple[float, str]:
    return run.ticket, directory.name_of(run.folder)
