"""A training run is a process of its own; its run directory is all that others see of it.

config.json             the settings
photos/                 the good parts, where they were uploaded
events.jsonl            progress, one JSON object a line, append-only
heartbeat               touched every second while the process lives
stop                    created by whoever wants it to end with what it has learned so far
checkpoint.safetensors  the last complete model on the way
model.safetensors       the result
log.txt                 everything the process printed
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ulsad.detector import Progress

CONFIG, EVENTS, HEARTBEAT, STOP, LOG = "config.json", "events.jsonl", "heartbeat", "stop", "log.txt"
MODEL, CHECKPOINT, PHOTOS = "model.safetensors", "checkpoint.safetensors", "photos"

_SILENCE = 15.0  # seconds without a heartbeat after which a process counts as dead
_ENDINGS = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class RunState:
    """What a run directory says: `status` is 'running', 'finished', 'stopped', 'failed', 'interrupted'."""

    folder: Path
    status: str
    phase: str  # of the last progress event: 'starting', 'reading', 'features', 'training', 'calibrating'
    done: int
    total: int
    seconds_left: float | None
    message: str  # why it failed, or what it skipped
    stopping: bool  # somebody has asked it to end
    steps: list[dict[str, Any]]  # the training events, oldest first

    @property
    def model(self) -> Path | None:
        """The result, or else the last checkpoint of a run that is over."""
        places = [self.folder / MODEL] + ([] if self.status == "running" else [self.folder / CHECKPOINT])
        return next((place for place in places if place.is_file()), None)


def start(folder: Path, arguments: list[str]) -> subprocess.Popen:
    """Start `python -m ulsad train ARGUMENTS --run-dir FOLDER`; it outlives the process that calls this."""
    folder.mkdir(parents=True, exist_ok=True)
    append(folder, "starting")
    (folder / HEARTBEAT).touch()
    command = [sys.executable, "-m", "ulsad", "train", *arguments, "--run-dir", str(folder)]
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(
        [str(root), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with open(folder / LOG, "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                env=environment, start_new_session=True)


def stop(folder: Path) -> None:
    """Ask a run to end; it still calibrates and saves what it has learned so far."""
    (folder / STOP).touch()


def append(folder: Path, event: str, **values: Any) -> None:
    """Add one line to events.jsonl."""
    line = json.dumps({"event": event, "time": round(time.time(), 2), **values})
    with open(folder / EVENTS, "a", encoding="utf-8") as file:
        file.write(line + "\n")


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Keep the heartbeat of this process's run going while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1.0):
            (folder / HEARTBEAT).touch()

    (folder / HEARTBEAT).touch()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Reporter:
    """Writes a fit's progress to events.jsonl, at most four lines a second and every last one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.last = folder, 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.done < progress.total and now - self.last < 0.25:
            return
        self.last = now
        step = asdict(progress.step) if progress.step else {}
        append(self.folder, progress.phase, done=progress.done, total=progress.total, **step)


def read(folder: Path) -> RunState:
    """The state of a run, from its directory alone."""
    events = _events(folder)
    last = events[-1] if events else {}
    progress = next((event for event in reversed(events) if event["event"] not in _ENDINGS), {})
    return RunState(
        folder=folder,
        status=_status(folder, last),
        phase=progress.get("event", "starting"),
        done=progress.get("done", 0),
        total=progress.get("total", 0),
        seconds_left=progress.get("seconds_left"),
        message=last.get("message", ""),
        stopping=(folder / STOP).exists(),
        steps=[event for event in events if event["event"] == "training"],
    )


def _status(folder: Path, last_event: dict[str, Any]) -> str:
    if last_event.get("event") in _ENDINGS:
        return last_event["event"]
    beat = folder / HEARTBEAT
    silent = not beat.exists() or time.time() - beat.stat().st_mtime > _SILENCE
    return "interrupted" if silent else "running"


def _events(folder: Path) -> list[dict[str, Any]]:
    file = folder / EVENTS
    if not file.exists():
        return []
    # The last line may be half written at this moment; it will be whole at the next look.
    lines = file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    return [event for line in lines if (event := _parsed(line))]


def _parsed(line: str) -> dict[str, Any] | None:
    """None for a line that a full disk cut short: one lost report must not hide the run."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def all_runs(models_dir: Path) -> list[Path]:
    """Run directories below a models directory, the newest first."""
    folders = [file.parent for file in models_dir.glob(f"*/{EVENTS}")]
    return sorted(folders, key=lambda folder: (folder / EVENTS).stat().st_mtime, reverse=True)
