"""A training run is a process of its own; its run directory is all that others see of it.

order.json              what it was asked to do
config.json             the settings that follow
photos/                 the photos, where they were uploaded, laid out as `intake.keep` does
events.jsonl            progress, one JSON object a line, append-only
heartbeat               touched every second while the process lives
stop                    created by whoever wants it to end with what it has learned so far
preview.png             one photo and its maps, as the networks see it now
checkpoint.safetensors  the last complete model on the way, from which training can go on
model.safetensors       the result
outcome.json            what the result says of held-out good photos and known defects
run-card.html           all of it for people
log.txt                 everything the process printed
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ulsad.detector.fitting import Progress
from ulsad.errors import InputError

ORDER, CONFIG, EVENTS, HEARTBEAT, STOP = "order.json", "config.json", "events.jsonl", "heartbeat", "stop"
MODEL, CHECKPOINT, PHOTOS, PREVIEW = "model.safetensors", "checkpoint.safetensors", "photos", "preview.png"
WEIGHTS = "weights"  # a folder beside the runs, for backbones' published weights files
SUFFIX = ".safetensors"  # of a model file that lies beside the runs, belonging to none
OUTCOME, CARD, LOG = "outcome.json", "run-card.html", "log.txt"

_SILENCE = 15.0  # seconds without a heartbeat after which a process counts as dead
_ENDINGS = ("finished", "stopped", "failed")
_RESERVE = "reserve"  # 64 kB, freed so that a full disk can still be reported


@dataclass(frozen=True)
class RunState:
    """What a run directory says.

    `status` is 'queued', 'running', 'finished', 'stopped', 'failed' or 'interrupted'.
    """

    folder: Path
    status: str
    ahead: int  # runs that come first, while it is queued
    phase: str  # 'starting', 'reading', 'features', 'training', 'calibrating' or 'testing'
    done: int
    total: int
    seconds_left: float | None
    message: str  # why it failed, or what it skipped
    machine: str  # what it runs on
    stopping: bool  # somebody has asked it to end
    steps: list[dict[str, Any]]  # the training events, oldest first

    @property
    def is_live(self) -> bool:
        return self.status in ("queued", "running")

    @property
    def model(self) -> Path | None:
        """The result, or else the last checkpoint of a run that is over."""
        places = [self.folder / MODEL] + ([] if self.is_live else [self.folder / CHECKPOINT])
        return next((place for place in places if place.is_file()), None)

    @property
    def can_resume(self) -> bool:
        """Whether training can go on from a checkpoint, or begin anew where there is none yet."""
        return self.status in ("stopped", "interrupted") and (self.folder / ORDER).is_file()


def start(folder: Path, arguments: list[str]) -> subprocess.Popen:
    """Start `python -m ulsad train ARGUMENTS --run-dir FOLDER`; it outlives the process that calls this.

    It waits for those started before it in the same models directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _spawn(folder, arguments)


def resume(folder: Path) -> subprocess.Popen:
    """Let a stopped or interrupted run go on. Raises `InputError` where that can't be."""
    if not read(folder).can_resume:
        raise InputError(f"'{folder.name}' can't go on: it is running, finished, or failed.")
    (folder / STOP).unlink(missing_ok=True)
    return _spawn(folder, ["--resume"])


def _spawn(folder: Path, arguments: list[str]) -> subprocess.Popen:
    append(folder, "starting", ticket=time.time())
    (folder / HEARTBEAT).touch()
    command = [sys.executable, "-m", "ulsad", "train", *arguments, "--run-dir", str(folder), "--queue"]
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(
        [str(root), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with open(folder / LOG, "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                env=environment, start_new_session=True)


def stop(folder: Path) -> None:
    """Ask a run to end; it still calibrates and saves what it has learned so far."""
    (folder / STOP).touch()


def rename(place: Path, name: str) -> Path:
    """Give a run that is over, or a lone model file, another name.

    Raises `InputError` for a name that is taken or can't be one, and while it is training.
    """
    _refuse_live(place)
    suffix = place.suffix if place.is_file() else ""
    return place.rename(place.with_name(free_name(name, place.parent) + suffix))


def delete(place: Path) -> None:
    """Remove a run that is over, with its photos and its model, or a lone model file."""
    _refuse_live(place)
    if place.is_file():
        place.unlink()
        return
    gone = place.rename(place.with_name(f".{place.name}.deleted"))  # at once: nobody meets half of it
    shutil.rmtree(gone, ignore_errors=True)


def _refuse_live(place: Path) -> None:
    if not place.exists():
        raise InputError(f"There is no '{place.name.removesuffix(SUFFIX)}' any more.")
    if place.is_dir() and read(place).is_live:
        raise InputError(f"'{place.name}' is still training. Stop it first.")


def free_name(name: str, models_dir: Path) -> str:
    """A name that a run's folder may have; from the date where it is empty. Raises `InputError`."""
    name = name.strip() or time.strftime("model %Y-%m-%d %H.%M.%S")
    if re.search(r'[/\\:*?"<>|\x00-\x1f]', name) or name.startswith(".") or len(name.encode()) > 100:
        raise InputError(f"'{name}' can't be a name: leave out / \\ : * ? \" < > |, a dot at the "
                         "beginning, and keep it under 100 characters.")
    if name == WEIGHTS or (models_dir / name).exists() or (models_dir / f"{name}{SUFFIX}").exists():
        raise InputError(f"There is a '{name}' already. Choose another name.")
    return name


def append(folder: Path, event: str, **values: Any) -> None:
    """Add one line to events.jsonl, below what a full disk may have left of the one before."""
    line = json.dumps({"event": event, "time": round(time.time(), 2), **values})
    with open(folder / EVENTS, "a+b") as file:
        file.write(f"{_rest_of_line(file)}{line}\n".encode())


def _rest_of_line(file: BinaryIO) -> str:
    if not file.seek(0, os.SEEK_END):
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def end(folder: Path, event: str, **values: Any) -> None:
    """Say how a run ended, even where it ended because the disk is full."""
    (folder / _RESERVE).unlink(missing_ok=True)
    append(folder, event, **values)


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Keep the heartbeat of this process's run going while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1.0):
            with suppress(OSError):
                (folder / HEARTBEAT).touch()

    (folder / _RESERVE).write_bytes(bytes(2**16))
    (folder / HEARTBEAT).touch()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        (folder / _RESERVE).unlink(missing_ok=True)


def wait_for_turn(folder: Path) -> Iterator[int]:
    """Yield, every half second, how many runs beside this one come first, until none does."""
    told = None
    while ahead := _ahead(folder):
        if ahead != told:
            append(folder, "queued", ahead=ahead)
            told = ahead
        yield ahead
        time.sleep(0.5)


def _ahead(folder: Path) -> int:
    """Live runs beside this one that were started earlier; of two at the same moment, the first by name."""
    mine = (_ticket(folder), folder.name)
    others = [other for other in all_runs(folder.parent) if other.name != folder.name and read(other).is_live]
    return sum((_ticket(other), other.name) < mine for other in others)


def _ticket(folder: Path) -> float:
    return max((event["ticket"] for event in _events(folder) if "ticket" in event), default=0.0)


class Reporter:
    """Writes a fit's progress to events.jsonl: four lines a second at most, a few hundred in a long run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started, self.last = folder, time.monotonic(), 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.done < progress.total and now - self.last < max(0.25, (now - self.started) / 500):
            return
        self.last = now
        step = asdict(progress.step) if progress.step else {}
        with suppress(OSError):  # a word on the progress is not worth ending a training for
            append(self.folder, progress.phase, done=progress.done, total=progress.total, **step)


def read(folder: Path) -> RunState:
    """The state of a run, from its directory alone."""
    events = _events(folder)
    last = events[-1] if events else {}
    progress: dict[str, Any] = next(
        (event for event in reversed(events) if event["event"] not in (*_ENDINGS, "machine")), {})
    status = _status(folder, last)
    return RunState(
        folder=folder,
        status=status,
        ahead=last.get("ahead", 0),
        phase=progress.get("event", "starting"),
        done=progress.get("done", 0),
        total=progress.get("total", 0),
        seconds_left=progress.get("seconds_left"),
        message=_last_words(folder) if status == "interrupted" else last.get("message", ""),
        machine=next((event["name"] for event in reversed(events) if event["event"] == "machine"), ""),
        stopping=(folder / STOP).exists(),
        steps=_steps(events),
    )


def _steps(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The training events; those that a resumed run did once more take the place of the lost ones."""
    steps: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "training":
            while steps and steps[-1]["step"] >= event["step"]:
                steps.pop()
            steps.append(event)
    return steps


def _status(folder: Path, last_event: dict[str, Any]) -> str:
    if last_event.get("event") in _ENDINGS:
        return last_event["event"]
    beat = folder / HEARTBEAT
    try:
        if time.time() - beat.stat().st_mtime > _SILENCE:
            return "interrupted"
    except OSError:
        return "interrupted"
    return "queued" if last_event.get("event") == "queued" else "running"


def _last_words(folder: Path) -> str:
    """What a process printed last; a traceback's last line says what it died of."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def _events(folder: Path) -> list[dict[str, Any]]:
    try:
        text = (folder / EVENTS).read_text(encoding="utf-8")
    except OSError:  # there are none yet, or the run is just being deleted
        return []
    # The last line may be half written at this moment; it will be whole at the next look.
    lines = text.rpartition("\n")[0].splitlines()
    return [event for line in lines if (event := _parsed(line))]


def _parsed(line: str) -> dict[str, Any] | None:
    """None for a line that a full disk cut short: one lost report must not hide the run."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def all_runs(models_dir: Path) -> list[Path]:
    """Run directories below a models directory, the newest first; links are passed over."""
    folders = [file.parent for file in models_dir.glob(f"*/{EVENTS}")]
    return sorted(filter(_is_here, folders), key=_last_written, reverse=True)


def lone_models(models_dir: Path) -> list[Path]:
    """Model files beside the runs, in order; links are passed over."""
    return sorted(filter(_is_here, models_dir.glob(f"*{SUFFIX}")))


def _is_here(place: Path) -> bool:
    """Not hidden, and no link to somewhere else."""
    return not place.name.startswith(".") and not place.is_symlink()


def named(models_dir: Path, name: str | None) -> Path:
    """The run of that name, looked up among those that are there: a name may come from anybody.

    Raises `InputError` where there is none.
    """
    for folder in all_runs(models_dir):
        if folder.name == name:
            return folder
    raise InputError(f"There is no run '{name}' here. Choose one of the list.")


def _last_written(folder: Path) -> float:
    try:
        return (folder / EVENTS).stat().st_mtime
    except OSError:  # just being deleted
        return 0.0
