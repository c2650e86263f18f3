"""Train and test every category of a labelled data set, or test one model: every metric, as tables."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ulsad.commands.labelled import add_common, set_up, write_table
from ulsad.detector.batch import strange_photos_warning
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.evaluation import figures, paper_tables
from ulsad.evaluation.evaluation import summarise, write_scores
from ulsad.evaluation.trials import TrialStore, evaluated
from ulsad.photos.datasets import Category

EXAMPLE = "tray --model tray.safetensors --nearest"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "evaluation")
    parser.add_argument("--model", type=Path, metavar="FILE",
                        help="test this model; otherwise one is trained for each category and seed")
    parser.add_argument("--nearest", action="store_true", help="beside a nearest-neighbour search among the "
                        "model's good patches, to see whether training was worth it")


def run(options: argparse.Namespace) -> None:
    """Write a table of every metric, map and category, with the paper's own row where there is one."""
    categories, config, store = set_up(options)
    store = replace(store, nearest=options.nearest)
    if options.model:
        results = {categories[0].name: [_of_model(options, store, categories)]}
    else:
        results = paper_tables.run_seeds(store, categories, config, options.seeds)
    for name, trials in results.items():
        if warning := strange_photos_warning(trials[0].get("strange", 0), trials[0]["photos"]["all"]):
            print(f"{name}: {warning}", file=sys.stderr)
    write_table(options.out, "table", paper_tables.evaluation_table(results, categories[0].layout))
    if (kinds := paper_tables.kinds_table(results)).rows:
        write_table(options.out, "kinds", kinds)
    for trials in results.values():
        for reason in trials[0]["skipped"]:
            print(f"skipped {reason}", file=sys.stderr)


def _of_model(options: argparse.Namespace, store: TrialStore, categories: list[Category]) -> dict:
    if len(categories) > 1:
        raise InputError(f"--model tests a single category. Give one of the folders in {options.dataset}.")
    evaluation = evaluated(store, Ulsad.load(options.model, options.weights, options.device), categories[0])
    write_scores(options.out / "scores.csv", evaluation)
    figures.curves(evaluation).savefig(options.out / "curves.png", dpi=150)
    summary = summarise(evaluation, store.false_reject)
    figures.kinds(summary).savefig(options.out / "kinds.png", dpi=150)
    return summary
