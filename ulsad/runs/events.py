"""What a run tells of itself: events.jsonl in its directory, one JSON object per line, append-only."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulsad.photos.files import rest_of_line

if TYPE_CHECKING:
    from ulsad.detector.fitting import Progress

EVENTS = "events.jsonl"
RESERVE = "reserve"  # a 64 kB file, deleted at the end so that even a full disk can be reported

_NUMBERS = {"time", "ticket", "ahead", "done", "total", "step", "local", "attention", "local_global"}


def append(folder: Path, event: str, **values: Any) -> None:
    """Append a line to events.jsonl, first ending one that a full disk may have cut short."""
    line = json.dumps({"event": event, "time": round(time.time(), 2), **values})
    with open(folder / EVENTS, "a+b") as file:
        file.write(f"{rest_of_line(file)}{line}\n".encode())


def end(folder: Path, event: str, **values: Any) -> None:
    """Report how a run ended, even if the disk is full."""
    (folder / RESERVE).unlink(missing_ok=True)
    append(folder, event, **values)


class Reporter:
    """Writes training progress to events.jsonl: at most four lines a second, a few hundred in a long run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started, self.last = folder, time.monotonic(), 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.done < progress.total and now - self.last < max(0.25, (now - self.started) / 500):
            return
        self.last = now
        step = asdict(progress.step) if progress.step else {}
        with suppress(OSError):  # failing to report progress must not end the training
            append(self.folder, progress.phase, done=progress.done, total=progress.total, **step)


def read(folder: Path) -> list[dict[str, Any]]:
    """All events of a run, oldest first."""
    try:
        text = (folder / EVENTS).read_text(encoding="utf-8")
    except OSError:  # no events yet, or the run is being deleted
        return []
    # The last line may be half written; it will be complete at the next read.
    lines = text.rpartition("\n")[0].splitlines()
    return [event for line in lines if (event := parsed(line))]


def parsed(line: str) -> dict[str, Any] | None:
    """None for a line cut short by a full disk, and for one that no training writes, so that it does not hide
    the run."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return {"time": 0.0} | event if _is_event(event) else None


def _is_event(event: Any) -> bool:
    """Whether values have the types that readers of events rely on."""
    if not isinstance(event, dict):
        return False
    texts, numbers = {"message", "name"} & event.keys(), _NUMBERS & event.keys()
    needed = {"training": "step", "machine": "name"}.get(str(event.get("event")), "event")
    return (needed in event and all(isinstance(event.get(key), str) for key in ("event", *texts))
            and all(isinstance(event[key], (int, float)) for key in numbers))
