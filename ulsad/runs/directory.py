"""A training run is a separate process; other processes see only its run directory.

order.json              the order: photos, preset, settings
config.json             the resulting settings
photos/                 uploaded photos, in the layout of `intake.keep`
events.jsonl            progress, one JSON object per line, append-only
heartbeat               touched every second while the process is alive
stop                    created to ask the process to stop and keep its model
preview.png             one photo and its current maps
checkpoint.safetensors  the latest intermediate model, from which training can resume
model.safetensors       the final model
outcome.json            the model's scores on held-out good photos and known defects
strangest/              pictures of the good photos with the highest scores
turned.json             which verdicts differ from those of the version in use
run-card.html           a readable summary
scored.jsonl            every photo that the model has scored, see `runs.scored`
log.txt                 everything the process printed

Run directories stand in the models directory, or in the folder of their part, see `parts`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulsad.errors import InputError
from ulsad.runs import events

ORDER, CONFIG, HEARTBEAT, STOP = "order.json", "config.json", "heartbeat", "stop"
MODEL, CHECKPOINT, PHOTOS, PREVIEW = "model.safetensors", "checkpoint.safetensors", "photos", "preview.png"
WEIGHTS = "weights"  # a folder beside the runs, for backbones' published weights files
SUFFIX = ".safetensors"  # of a model file beside the runs that belongs to no run
# In a run's directory; the ending of what lies beside a model file without a run:
MARKS, SCORED = "marks", "scored.jsonl"  # a folder with marked photos, a log of all scored photos
OUTCOME, CARD, LOG, STRANGEST = "outcome.json", "run-card.html", "log.txt", "strangest"
TURNED = "turned.json"
PART = "part.json"  # in the folder of a part, which holds its versions
DEMO, ONLY = "demo tray", "only version"  # names that the app uses itself
RESERVED = {WEIGHTS, MARKS, DEMO, ONLY}

DELETED = ".deleted-"  # begins the hidden name of a folder that is being deleted

_SILENCE = 15.0  # seconds without a heartbeat after which a process counts as dead
_ENDINGS = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class RunState:
    """A run's state, read from its directory.

    `status` is 'queued', 'running', 'finished', 'stopped', 'failed' or 'interrupted'.
    """

    folder: Path
    status: str
    ahead: int  # runs before it in the queue
    phase: str  # 'starting', 'reading', 'features', 'training', 'calibrating' or 'testing'
    done: int
    total: int
    seconds_left: float | None
    message: str  # why it failed, or what it skipped
    machine: str  # the device it runs on
    stopping: bool  # asked to stop
    ticket: float  # when it was started or resumed, seconds since 1970; decides whose turn it is
    steps: list[dict[str, Any]]  # the training events, oldest first

    @property
    def is_live(self) -> bool:
        return self.status in ("queued", "running")

    @property
    def model(self) -> Path | None:
        """The final model, or else the last checkpoint of a run that is over."""
        places = [self.folder / MODEL] + ([] if self.is_live else [self.folder / CHECKPOINT])
        return next((place for place in places if place.is_file()), None)

    @property
    def can_resume(self) -> bool:
        """Whether training can resume from a checkpoint, or start again if there is none yet."""
        return self.status in ("stopped", "interrupted") and (self.folder / ORDER).is_file()


def start(folder: Path, arguments: list[str]) -> subprocess.Popen:
    """Start `python -m ulsad train ARGUMENTS --run-dir FOLDER` as a process that outlives this one.

    It waits for earlier runs in the same models directory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _spawn(folder, arguments)


def resume(folder: Path) -> subprocess.Popen:
    """Resume a stopped or interrupted run. Raises `InputError` if it can't be resumed."""
    if not read(folder).can_resume:
        raise InputError(f"'{folder.name}' can't be resumed: it is running, finished, or failed.")
    (folder / STOP).unlink(missing_ok=True)
    return _spawn(folder, ["--resume"])


def _spawn(folder: Path, arguments: list[str]) -> subprocess.Popen:
    events.append(folder, "starting", ticket=time.time())
    (folder / HEARTBEAT).touch()
    command = [sys.executable, "-m", "ulsad", "train", *arguments, "--run-dir", str(folder), "--queue"]
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(
        [str(root), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with open(folder / LOG, "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                env=environment, start_new_session=True)


def stop(folder: Path) -> None:
    """Ask a run to stop; it still calibrates and saves its current model."""
    (folder / STOP).touch()


def rename(place: Path, name: str) -> Path:
    """Rename a run that is over, or a model file without a run.

    Raises `InputError` for a name that is taken or invalid, and while the run is training.
    """
    _refuse_live(place)
    renamed = place.with_name(free_name(name, place.parent) + (place.suffix if place.is_file() else ""))
    for ending in (MARKS, SCORED):
        companion = place.with_suffix(f".{ending}")
        if place.is_file() and companion.exists():
            companion.rename(renamed.with_suffix(f".{ending}"))
    return place.rename(renamed)


def delete(place: Path) -> None:
    """Remove a run that is over, with its photos and its model, or a model file without a run."""
    _refuse_live(place)
    if place.is_file():
        place.unlink()
        shutil.rmtree(place.with_suffix(f".{MARKS}"), ignore_errors=True)
        place.with_suffix(f".{SCORED}").unlink(missing_ok=True)
        return
    remove(place)


def remove(folder: Path) -> None:
    """Delete a folder, which nobody sees half deleted. What a killed process leaves is hidden."""
    gone = folder.rename(folder.with_name(f"{DELETED}{uuid.uuid4().hex}"))
    shutil.rmtree(gone, ignore_errors=True)


def _refuse_live(place: Path) -> None:
    if not place.exists():
        raise InputError(f"There is no '{place.name.removesuffix(SUFFIX)}' any more.")
    if place.is_dir() and read(place).is_live:
        raise InputError(f"'{place.name}' is still training. Stop it first.")


def free_name(name: str, models_dir: Path) -> str:
    """A valid, unused name for a part, or for the folder of a run; the date if `name` is empty.

    Raises `InputError`.
    """
    name = name.strip() or time.strftime("part %Y-%m-%d %H.%M.%S")
    if not can_be_a_name(name):
        raise InputError(f"'{name}' can't be a name: do not use / \\ : * ? \" < > | or a dot at the "
                         f"beginning, or {SUFFIX} at the end, and keep it under 100 letters, or 25 emoji.")
    if name in RESERVED or (models_dir / name).exists() or (models_dir / f"{name}{SUFFIX}").exists():
        raise InputError(f"'{name}' already exists. Choose another name.")
    return name


def can_be_a_name(name: str) -> bool:
    """Whether a part, a run or a model file may have this name."""
    return not (re.search(r'[/\\:*?"<>|\x00-\x1f]', name) or name.startswith(".")
                or name.lower().endswith(SUFFIX) or len(name.encode(errors="replace")) > 100)


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Keep this run's heartbeat going while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1.0):
            with suppress(OSError):
                (folder / HEARTBEAT).touch()

    (folder / events.RESERVE).write_bytes(bytes(2**16))
    (folder / HEARTBEAT).touch()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        (folder / events.RESERVE).unlink(missing_ok=True)


def read(folder: Path) -> RunState:
    """The state of a run, from its directory alone."""
    written = events.read(folder)
    last = written[-1] if written else {}
    progress: dict[str, Any] = next(
        (event for event in reversed(written) if event["event"] not in (*_ENDINGS, "machine")), {})
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
        machine=next((event["name"] for event in reversed(written) if event["event"] == "machine"), ""),
        stopping=(folder / STOP).exists(),
        ticket=max((event["ticket"] for event in written if "ticket" in event), default=0.0),
        steps=_steps(written),
    )


def _steps(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The training events; steps that a resumed run repeated replace the earlier ones."""
    steps: list[dict[str, Any]] = []
    for event in written:
        if event["event"] == "training":
            while steps and steps[-1]["step"] >= event["step"]:
                steps.pop()
            steps.append(event)
    return steps


def _status(folder: Path, last_event: dict[str, Any]) -> str:
    if last_event.get("event") in _ENDINGS:
        return last_event["event"]
    if not _has_heartbeat(folder):
        return "interrupted"
    return "queued" if last_event.get("event") == "queued" else "running"


def _has_heartbeat(folder: Path) -> bool:
    try:
        return time.time() - (folder / HEARTBEAT).stat().st_mtime <= _SILENCE
    except OSError:
        return False


def _last_words(folder: Path) -> str:
    """The last line a process printed; after a crash, a traceback's last line names the error."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def all_runs(models_dir: Path) -> list[Path]:
    """Run directories below a models directory, newest first; links are ignored."""
    places = [models_dir, *(file.parent for file in models_dir.glob(f"*/{PART}") if _is_here(file.parent))]
    folders = [file.parent for place in places for file in place.glob(f"*/{events.EVENTS}")]
    return sorted(filter(_is_here, folders), key=_last_written, reverse=True)


def companion(model_file: Path, name: str) -> Path:
    """What goes with a model, given by its file: NAME in a run's directory, or FILE.NAME beside a model file
    FILE.safetensors without a run."""
    is_run = (model_file.parent / events.EVENTS).is_file()
    return model_file.with_name(name) if is_run else model_file.with_suffix(f".{name}")


def part_of(run: Path) -> Path | None:
    """The folder of the part that a run is a version of; None for a run by itself."""
    return run.parent if (run.parent / PART).is_file() else None


def name_of(run: Path) -> str:
    """A run's name below its models directory: PART/VERSION, or that of its folder if it is by itself."""
    part = part_of(run)
    return f"{part.name}/{run.name}" if part else run.name


def home_of(run: Path) -> Path:
    """The models directory that a run stands in."""
    return (part_of(run) or run).parent


def live(runs: Sequence[Path]) -> RunState | None:
    """The run that is training, or else one that waits; only those with a recent heartbeat are read."""
    states = [read(run) for run in runs if _has_heartbeat(run)]
    return min((state for state in states if state.is_live), key=lambda state: state.ticket, default=None)


def lone_models(models_dir: Path) -> list[Path]:
    """Model files beside the runs, sorted; links are ignored."""
    return sorted(file for file in models_dir.glob(f"*{SUFFIX}") if _is_here(file) and file.is_file())


def _is_here(place: Path) -> bool:
    """Neither hidden nor a link, nor a part's marks."""
    return not place.name.startswith(".") and not place.is_symlink() and place.name != MARKS


def named(models_dir: Path, name: str | None) -> Path:
    """A run by name, found by comparing names, never by building a path: any visitor may send a name.

    Raises `InputError` where there is none.
    """
    for folder in all_runs(models_dir):
        if name_of(folder) == name:
            return folder
    raise InputError(f"There is no run '{name}'. Choose one from the list.")


def _last_written(folder: Path) -> float:
    try:
        return (folder / events.EVENTS).stat().st_mtime
    except OSError:  # just being deleted
        return 0.0
