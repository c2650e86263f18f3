"""Compute verdicts again, and report those that differ. Ends with 1 if any does."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from ulsad.commands.options import add_machine, count, natural
from ulsad.errors import Differs
from ulsad.line.verdict import Verdict
from ulsad.line.verify import AGREES, Compared, Verification, folder_of, sample, tables

EXAMPLE = "out --sample 50"
SHOWN = 10  # verdicts that differ


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verdicts", type=Path, metavar="OUT",
                        help="a folder that 'predict', 'watch' or 'serve' wrote to, or one of its tables")
    parser.add_argument("--sample", type=count, default=100, metavar="N",
                        help="how many verdicts, drawn at random (100)")
    parser.add_argument("--all", action="store_true", help="all verdicts")
    parser.add_argument("--seed", type=natural, help="draw the same ones as a run that named this number")
    parser.add_argument("--model", type=Path, metavar="FILE", help="the model, if it is elsewhere now")
    parser.add_argument("--photos", type=Path, help="the photos, if they are elsewhere now")
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    found = tables(options.verdicts)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    drawn, total = sample(found, None if options.all else options.sample, seed)
    differing: list[Compared] = []
    with tempfile.TemporaryDirectory() as scratch:
        verification = Verification(folder_of(found[0]), options.photos, options.model, options.weights,
                                    options.device, Path(scratch))
        for done, recorded in enumerate(drawn, start=1):
            compared = verification.compare(recorded)
            if compared.outcome != AGREES:
                differing.append(compared)
            if sys.stderr.isatty():
                end = "" if done < len(drawn) else "\n"
                print(f"\r{done}/{len(drawn)}", end=end, file=sys.stderr, flush=True)
    for remark in verification.remarks:
        print(remark, file=sys.stderr)
    chosen = "" if len(drawn) == total else f", drawn with --seed {seed}"
    print(f"{len(drawn):,} of {total:,} verdicts computed again{chosen}: {_counted(verification)}.")
    for compared in differing[:SHOWN]:
        print(_shown(compared))
    if len(differing) > SHOWN:
        print(f"… and {len(differing) - SHOWN:,} more")
    if differing:
        raise Differs


def _counted(verification: Verification) -> str:
    counts = verification.counts.most_common()
    return ", ".join(f"{number:,} × {outcome}" for outcome, number in counts) or "there are none"


def _shown(compared: Compared) -> str:
    recorded = compared.recorded.verdict
    text = f"{recorded.path} ({recorded.time}): {compared.outcome}"
    if compared.again is None:
        return text
    return f"{text}; recorded {_said(recorded)}, now {_said(compared.again)}"


def _said(verdict: Verdict) -> str:
    return f"{verdict.verdict} {verdict.score:.6f}"
