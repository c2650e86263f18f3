"""The training process: from an order to a model file, with progress in a run directory.

If torchrun starts several processes, they share the work; the first one writes and prints.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

from ulsad.compute import distributed
from ulsad.compute.memory import peak_memory_mb
from ulsad.detector import model_file, rendering
from ulsad.detector.criterion import strange
from ulsad.detector.detector import Ulsad
from ulsad.detector.fitting import Progress, TrainingDiverged, Watch
from ulsad.detector.terminal import print_progress
from ulsad.errors import InputError, Stopped
from ulsad.method.config import PRESETS, Config
from ulsad.photos import probe
from ulsad.photos.datasets import GOOD
from ulsad.photos.files import replacing, write_text
from ulsad.photos.intake import Intake, is_kept, kept, take_in
from ulsad.runs import directory, events, parts, turned
from ulsad.runs.outcome import Outcome, judge
from ulsad.runs.queue import wait_for_turn
from ulsad.runs.report import used
from ulsad.runs.run_card import Card, run_card
from ulsad.runs.strangest import draw, strangest

PREVIEW_SIDE = 320  # px, the longer side of each picture in a preview


@dataclass(frozen=True)
class Order:
    """What to train on, and how."""

    photos: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    preset: str = "quick"
    settings: tuple[str, ...] = ()
    weights: str | None = None
    device: str | None = None

    @property
    def config(self) -> Config:
        return PRESETS[self.preset].with_text(list(self.settings))

    def intake(self, scratch: Path) -> Intake:
        """The photos; zips are unpacked below `scratch`."""
        if self.photos and is_kept(Path(self.photos[0])):
            return kept(Path(self.photos[0]))
        good, held_out, defects = (
            [Path(text) for text in slot] for slot in (self.photos, self.held_out, self.defects))
        return take_in(good, held_out, defects, scratch)

    def write(self, folder: Path) -> None:
        write_text(folder / directory.ORDER, json.dumps(asdict(self)))
        write_text(folder / directory.CONFIG, self.config.to_json())

    @classmethod
    def read(cls, folder: Path) -> Order:
        """Raises `InputError` when the run directory holds no order."""
        try:
            kept = json.loads((folder / directory.ORDER).read_text(encoding="utf-8"))
            values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                      for name, value in kept.items()}
            order = cls(**values)._in(folder)
            order.config  # noqa: B018  settings end up on a command line: only real ones may
            return order
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{folder} holds no run that can be resumed.") from error

    def _in(self, folder: Path) -> Order:
        """With the photos and the weights that are kept in the run's folder, wherever that was when the order
        was written."""
        order = self
        if is_kept(folder / directory.PHOTOS):
            order = replace(order, photos=(str(folder / directory.PHOTOS),), held_out=(), defects=())
        if order.weights and (mine := folder / Path(order.weights).name).is_file():
            order = replace(order, weights=str(mine))
        return order


def train_to_file(order: Order, out: Path) -> None:
    """Train, with progress on the terminal."""
    model_file.require_writable(out)
    checkpoint = out.with_suffix(".checkpoint.safetensors")
    with distributed.group(), _interruptible() as interrupted, TemporaryDirectory() as scratch:
        intake = order.intake(Path(scratch))
        detector = _fitted(order, intake, checkpoint, print_progress, interrupted, scratch=Path(scratch))
        if distributed.rank() > 0:
            return
        detector.save(out)
        checkpoint.unlink(missing_ok=True)
        _print_result(detector, out, judge(detector, intake.test) if intake.test else None)


def train_in_directory(folder: Path, order: Order | None, queue: bool, out: Path | None = None) -> None:
    """Train, and report progress and how it ended in a run directory; without an order, resume its run.

    With `queue`, wait for earlier runs in the same parent directory.
    """
    with distributed.group():
        if order is None:
            order = Order.read(folder)
        elif distributed.rank() == 0:
            if (folder / directory.CONFIG).exists():
                raise InputError(f"{folder} already holds a run. Choose a new directory, or use --resume.")
            folder.mkdir(parents=True, exist_ok=True)
            order.write(folder)
        if distributed.rank() > 0:
            with _interruptible() as interrupted, TemporaryDirectory() as scratch:
                _fitted(order, order.intake(Path(scratch)), None, lambda progress: None, interrupted,
                        _checkpoint_of(folder, order), scratch=Path(scratch))
            return
        with directory.alive(folder):
            try:
                _run(folder, order, queue, out or folder / directory.MODEL)
            except Stopped:
                events.end(folder, "stopped", message="Stopped before training began; there is no model.")
                raise
            except BaseException as error:
                with suppress(OSError):  # the folder may have been removed
                    events.end(folder, "failed", message=str(error) or type(error).__name__)
                raise


def _run(folder: Path, order: Order, queue: bool, out: Path) -> None:
    with _interruptible() as interrupted, TemporaryDirectory() as scratch:
        def should_stop() -> bool:
            if not (folder / directory.ORDER).is_file():
                raise InputError(f"{folder} no longer exists, so no model can be saved. The training ends.")
            return interrupted() or (folder / directory.STOP).exists()

        for _ in wait_for_turn(folder) if queue else ():
            if should_stop():
                raise Stopped
        intake, checkpoint = order.intake(Path(scratch)), folder / directory.CHECKPOINT
        show = _Preview(folder / directory.PREVIEW, intake)
        events.append(folder, "machine", name=_machine(order))
        report = events.Reporter(folder)
        for lost in folder.glob("features-*"):  # left by a killed process
            shutil.rmtree(lost)
        detector = _fitted(order, intake, checkpoint, report, should_stop, _checkpoint_of(folder, order),
                           show, scratch=folder)
        record = detector.record
        detector.save(out)
        is_whole = record["steps"] == record["planned_steps"]
        if is_whole:
            checkpoint.unlink(missing_ok=True)
        else:
            detector.save(checkpoint, resumable=True)
        show(detector)
        outcome = judge(detector, intake.test, lambda done, total: report(Progress("testing", done, total)))
        outcome.write(folder / directory.OUTCOME)
        draw(folder / directory.STRANGEST, detector, intake.held_out or intake.good,
             strangest(outcome, record))
        _put_in_place(folder, detector, intake, order)
        card = Card(directory.name_of(folder), detector.config, record, outcome, directory.read(folder).steps,
                    bool(intake.held_out))
        write_text(folder / directory.CARD, run_card(card))
        events.end(folder, "finished" if is_whole else "stopped", message="\n".join(record["skipped"]),
                 seconds=record["seconds"], memory_mb=round(peak_memory_mb(), 1))
        _print_result(detector, out, outcome)


def _put_in_place(folder: Path, detector: Ulsad, intake: Intake, order: Order) -> None:
    """Take a part's first model into use; write which verdicts of a later one differ from those of the one
    in use, as its user decides whether it takes that one's place."""
    if (part := directory.part_of(folder)) is None:
        return
    in_use = parts.in_use(part)
    file = in_use and directory.read(in_use).model
    if in_use is None or file is None or in_use == folder:
        parts.use(folder)
        return
    try:
        old = Ulsad.load(file, Order.read(in_use).weights, order.device)
        turned.compare(in_use.name, old, detector, intake).write(folder / directory.TURNED)
    except (InputError, OSError) as error:  # the new model is good all the same
        print(f"not compared with '{in_use.name}': {error}", file=sys.stderr)


def _checkpoint_of(folder: Path, order: Order) -> Ulsad | None:
    file = folder / directory.CHECKPOINT
    return Ulsad.load(file, order.weights, order.device) if file.is_file() else None


def _fitted(
    order: Order, intake: Intake, checkpoint: Path | None, on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool], resume: Ulsad | None = None,
    on_glimpse: Callable[[Ulsad], None] | None = None, scratch: Path | None = None,
) -> Ulsad:
    def report(progress: Progress) -> None:
        if progress.phase in ("reading", "features") and should_stop():
            raise Stopped
        if distributed.rank() == 0:
            on_progress(progress)

    save = partial(Ulsad.save, path=checkpoint, resumable=True) if checkpoint else None
    try:
        return Ulsad.fit(
            intake.good, order.config, intake.held_out or None, order.weights, order.device,
            watch=Watch(report, should_stop, save, on_glimpse), resume=resume,
            scratch=scratch)
    except TrainingDiverged as error:
        kept = f" The last good state is in {checkpoint}." if checkpoint and checkpoint.exists() else ""
        raise InputError(f"{error}{kept}") from error


class _Preview:
    """Draws one photo and its maps: a known defect if there is one, else a good part damaged on purpose."""

    def __init__(self, file: Path, intake: Intake) -> None:
        self.file, self.intake = file, intake
        self.photo: Image.Image | None = None

    def __call__(self, detector: Ulsad) -> None:
        self.photo = self.photo or self._choose(detector)
        maps = detector.predict(self.photo).maps()
        with suppress(OSError), replacing(self.file) as partial:  # a failed preview must not end the training
            rendering.sheet(rendering.views(self.photo, maps)).save(partial, "PNG")

    def _choose(self, detector: Ulsad) -> Image.Image:
        for photo in self.intake.test:
            if photo.kind != GOOD:
                try:
                    return _small(detector, photo.path)
                except InputError:
                    continue
        name = detector.record["held_out"][0]
        path = next(path for path in (*self.intake.held_out, *self.intake.good) if path.name == name)
        return spoiled(_small(detector, path))


def _small(detector: Ulsad, path: Path) -> Image.Image:
    return rendering.fit_within(detector.reading(path, PREVIEW_SIDE).image, PREVIEW_SIDE)


def spoiled(photo: Image.Image) -> Image.Image:
    """A good part with a scratch for the local branch, and an erased region for the global branch."""
    try:
        wiped = probe.erase(photo, (0.55, 0.5, 0.8, 0.75))
    except InputError:  # the photo is too small
        wiped = photo
    return probe.scratch(wiped, [(0.15, 0.25), (0.3, 0.2), (0.45, 0.3)])


def _machine(order: Order) -> str:
    """The device the training runs on, as text."""
    processes = f", {distributed.size()} processes" if distributed.size() > 1 else ""
    if torch.cuda.is_available() and order.device in (None, "cuda"):
        return torch.cuda.get_device_name() + processes
    return f"{order.device or 'CPU'}, {torch.get_num_threads()} threads{processes}"


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """In this block, the first Ctrl-C or SIGTERM only sets a flag; a second Ctrl-C ends the process."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nstopping and saving the model …", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_result(detector: Ulsad, out: Path, outcome: Outcome | None) -> None:
    record = detector.record
    scores = detector.calibration.held_out_scores(detector.config.alpha, detector.config.beta)
    print(f"{out}: {used(record)}; {record['steps']} of {record['planned_steps']} steps, "
          f"{record['seconds']:.0f} s")
    print(f"highest score of a held-out good photo: {scores[:, 0].max():.3f}")
    for index in strange(scores[:, 0]):
        print(f"{record['held_out'][index]} scores {scores[index, 0]:.3f}, far above all other good photos: "
              "is it really good? If not, leave it out and train again")
    if outcome and outcome.aurocs:
        against = "held-out good photos" if outcome.is_against_held_out else "good test photos"
        print(f"known defects vs. {against}, image AUROC: "
              + ", ".join(f"{name} {auroc.value:.3f}" for name, auroc in outcome.aurocs.items()))
    for note in record.get("notes", []):
        print(note, file=sys.stderr)
    for reason in record["skipped"]:
        print(f"skipped {reason}", file=sys.stderr)
