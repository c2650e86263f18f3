"""Shared by evaluate, ablate and compare: options for a labelled data set and seeds, and tables as files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ulsad.commands.options import add_machine, add_settings, count, words
from ulsad.detector.criterion import FALSE_REJECT
from ulsad.detector.terminal import print_progress
from ulsad.errors import InputError
from ulsad.evaluation.tables import Table
from ulsad.evaluation.trials import TrialStore
from ulsad.method.config import PRESETS, Config
from ulsad.photos.datasets import LOGICAL, STRUCTURAL, Category, find_categories


def add_common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("dataset", type=Path, help="a data set or one of its categories: MVTec AD, MVTec "
                        "LOCO, BTAD, MPDD, VisA, or a folder with good, test-good and defects")
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder for tables and models ({out})")
    parser.add_argument("--seeds", type=count, default=1, metavar="N", help="trainings per category (1)")
    add_settings(parser)
    parser.add_argument("--logical", type=words, default=(), metavar="KIND,…",
                        help="kinds of defects that are logical (missing, surplus, misplaced parts)")
    parser.add_argument("--structural", type=words, default=(), metavar="KIND,…",
                        help="kinds of defects that are structural (scratches, dents, dirt)")
    parser.add_argument("--false-reject", type=float, default=FALSE_REJECT, metavar="SHARE",
                        help="share of held-out good photos that the threshold may reject (0.05)")
    add_machine(parser)


def set_up(options: argparse.Namespace) -> tuple[list[Category], Config, TrialStore]:
    groups = {kind: LOGICAL for kind in options.logical} | {kind: STRUCTURAL for kind in options.structural}
    if not 0 <= options.false_reject < 1:
        raise InputError(f"--false-reject must be from 0 to below 1, not {options.false_reject}.")
    categories = find_categories(options.dataset, groups)
    config = PRESETS[options.preset].with_text(options.settings)
    options.out.mkdir(parents=True, exist_ok=True)
    return categories, config, TrialStore(options.out / "trials", options.weights, options.device,
                                     options.false_reject, print_progress, announce)


def announce(name: str) -> None:
    print(f"{name} …", file=sys.stderr, flush=True)


def write_table(out: Path, name: str, table: Table) -> None:
    table.write(out / name)
    print(table.markdown())
    print(f"{out / name}.md, .csv and .tex")
