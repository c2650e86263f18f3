"""Judge every photo that arrives in a folder, once."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from ulsad.commands.options import add_criterion, add_days, add_machine, positive, tell
from ulsad.errors import InputError
from ulsad.line.arrivals import Arrivals
from ulsad.line.current import CurrentJudge
from ulsad.line.job import note_job
from ulsad.line.journal import Journal
from ulsad.line.judge import Judge
from ulsad.line.pictures import write_maps
from ulsad.line.verdict import UNREADABLE, Verdict
from ulsad.line.watcher import Watcher

EXAMPLE = "part.safetensors camera --out verdicts"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path, help="where photos arrive, in subfolders too")
    parser.add_argument("--out", type=Path, required=True,
                        help="folder for verdicts, and for the photos once they are judged")
    parser.add_argument("--leave", action="store_true", help="leave the photos where they are")
    parser.add_argument("--maps", action="store_true", help="also write a picture of each photo's maps")
    parser.add_argument("--once", action="store_true", help="judge the photos that are there, then end")
    parser.add_argument("--max-rate", type=positive, default=math.inf, metavar="N",
                        help="at most so many photos a second (no limit)")
    parser.add_argument("--interval", type=positive, default=0.5, metavar="S",
                        help="seconds between two looks; a file that stays the same is complete (0.5)")
    parser.add_argument("--patience", type=positive, default=10.0, metavar="S",
                        help="seconds until a file that can't be read and stays the same is given up (10)")
    add_days(parser)
    add_criterion(parser)
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    _require_places(options)
    current = CurrentJudge(options.model, lambda: Judge.load(
        options.model, options.criterion, alpha=options.alpha, beta=options.beta, weights=options.weights,
        device=options.device), options.days)
    journal = Journal.open(options.out, options.folder)
    note_job(options.out, options.model, options.folder)
    stopping = Event()
    watcher = Watcher(
        current, options.folder, journal, not options.leave, Arrivals(options.folder, options.interval),
        options.interval, options.patience, options.max_rate, write_maps if options.maps else None,
        partial(_print, current), tell, stopping)
    tell(f"Watching {options.folder}; Ctrl-C ends it after the photos at hand.")
    with _stopped_by_signals(stopping):
        watcher.run(options.once)
    journal.close()
    counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(watcher.tally.items()))
    tell(f"{watcher.tally.total()} photos judged{f': {counts}' if counts else ''}. See {options.out}.")


def _require_places(options: argparse.Namespace) -> None:
    folder, out = options.folder.resolve(), options.out.resolve()
    if not folder.is_dir():
        raise InputError(f"There is no folder {options.folder} to watch.")
    if out.is_relative_to(folder):
        raise InputError(f"--out {options.out} is inside the watched folder, so its photos would be judged "
                         "again. Choose a folder outside.")
    if not options.leave and not os.access(folder, os.W_OK):
        raise InputError(f"Photos can't be moved out of {options.folder}, which is protected. Leave them "
                         "there with --leave.")


@contextmanager
def _stopped_by_signals(stopping: Event) -> Iterator[None]:
    def stop(*_: Any) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(current: CurrentJudge, verdict: Verdict) -> None:
    """One line: time, verdict, score and threshold, which branch fired, name, notes."""
    said = f"{verdict.time[11:19]}  {verdict.verdict:<6}"
    if verdict.verdict != UNREADABLE:
        review = current.judge.criterion.review
        said += f"  {verdict.score:.3f} (review above {review:.3f})  {verdict.fired:<7}"
    tell("  ".join((said, verdict.path, *verdict.notes)), sys.stdout)
