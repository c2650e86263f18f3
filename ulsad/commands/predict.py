"""Score photos: write scores.csv, a picture of each photo's maps, and skipped.csv for unreadable photos."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ulsad.commands.options import add_criterion, add_machine
from ulsad.compute import distributed
from ulsad.detector.batch import strange_photos_warning
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.line.audit import note_basis
from ulsad.line.job import SCORES, SKIPPED, Job, Summary, add, note_job
from ulsad.line.judge import Judge
from ulsad.line.pictures import write_maps
from ulsad.photos.archives import named_photos
from ulsad.photos.images import Skipped

EXAMPLE = "part.safetensors photos/new --out out"
TOLD = 0.5, 60.0  # seconds between two reports of progress, on a terminal and in a log


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path, help="a folder, a zip, or one photo")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores.csv and the maps")
    parser.add_argument("--no-maps", action="store_true", help="write no pictures of the maps")
    parser.add_argument("--raw", action="store_true",
                        help="also write the raw local and global maps at photo size, as .npz")
    parser.add_argument("--anew", action="store_true", help="begin anew if an earlier run was interrupted")
    add_criterion(parser)
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """If torchrun started several processes, they share the photos; the first one merges their rows."""
    with distributed.group(), tempfile.TemporaryDirectory() as scratch:
        judge = Judge.load(options.model, options.criterion, alpha=options.alpha, beta=options.beta,
                           weights=options.weights, device=options.device or distributed.local_device())
        if options.photos.is_dir() and options.out.resolve().is_relative_to(options.photos.resolve()):
            raise InputError(f"--out {options.out} is inside the folder of photos, so the next run would "
                             "score the maps as photos. Choose a folder outside.")
        options.out.mkdir(parents=True, exist_ok=True)
        names = named_photos(options.photos, Path(scratch))
        job = Job(options.out, judge.basis.id, list(names.values()))
        try:
            _judge(job, judge, names, options)
            summary = _merged(job)
        except OSError as error:
            raise InputError(f"{options.out} can't be written ({error}). What has been scored is kept: make "
                             "room, then run the same command again to go on.") from error
        if distributed.rank() == 0:
            _report(summary, options.out)


def _judge(job: Job, judge: Judge, names: Mapping[Path, str], options: argparse.Namespace) -> None:
    """This process's share of the photos, without those that an interrupted run has judged."""
    if distributed.rank() == 0:
        note_basis(job.folder, judge.basis)
        note_job(job.folder, options.model, options.photos)
        _forget(job.parts_of_others(), " with another model or criterion")
        if options.anew:
            _forget(job.parts())
    distributed.gathered([])  # the others wait for that
    judged = job.judged()
    if judged and distributed.rank() == 0:
        print(f"Going on: {len(judged):,} of {len(names):,} photos were scored before.", file=sys.stderr)
    share = list(names.items())[distributed.rank()::distributed.size()]
    mine = {path: name for path, name in share if name not in judged}
    told = _progress(len(mine), len(names), len(judged))
    with job.open_part(distributed.rank()) as part:
        for result, name in zip(judge.verdicts(mine), mine.values(), strict=True):
            if isinstance(result, Skipped):
                add(part, judge.unreadable(result, name))
            else:
                verdict, prediction = result
                _draw(judge, prediction, options.out / "maps" / name, options)
                add(part, verdict)  # last: what is in a part is complete
            told()


def _forget(parts: list[Path], which: str = "") -> None:
    for part in parts:
        part.unlink()
    if parts:
        print(f"Beginning anew: an interrupted run{which} is dropped.", file=sys.stderr)


def _draw(judge: Judge, prediction: Prediction, place: Path, options: argparse.Namespace) -> None:
    if options.no_maps and not options.raw:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if not options.no_maps:
        write_maps(judge, prediction, Path(f"{place}.png"))
    if options.raw:
        found: dict[str, Any] = {"local": prediction.local_map, "global": prediction.global_map}
        np.savez(f"{place}.npz", **{name: map_ for name, map_ in found.items() if map_ is not None})


def _merged(job: Job) -> Summary:
    """Once all processes are done, the first one merges their parts."""
    distributed.gathered([])
    return job.merge() if distributed.rank() == 0 else Summary()


def _progress(mine: int, total: int, before: int) -> Callable[[], None]:
    """To be called after every photo: the first process estimates from its own share how far all are."""
    on_terminal, began, done = sys.stderr.isatty(), time.monotonic(), 0
    pause = TOLD[0] if on_terminal else TOLD[1]
    due = began + pause

    def told() -> None:
        nonlocal done, due
        done += 1
        now = time.monotonic()
        if distributed.rank() > 0 or (now < due and not (on_terminal and done == mine)):
            return
        due = now + pause
        rate = done * distributed.size() / (now - began)
        so_far = min(total, before + done * distributed.size())
        left = _duration((total - so_far) / rate)
        text = f"{so_far:,} of {total:,} photos  {rate:.1f} a second  {left} left"
        print(f"\r{text:<70}" if on_terminal else text, end="\n" if not on_terminal or done == mine else "",
              file=sys.stderr, flush=True)

    return told


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _report(summary: Summary, out: Path) -> None:
    if summary.strange:
        print(strange_photos_warning(summary.strange, summary.scored), file=sys.stderr)
    if summary.noted:
        print(f"Photos with notes: {summary.noted:,}, for example {summary.example}; see the column 'notes'.",
              file=sys.stderr)
    print(f"{summary.scored:,} photos scored, {out / SCORES}")
    if summary.skipped:
        print(f"{summary.skipped:,} could not be read, see {out / SKIPPED}", file=sys.stderr)
