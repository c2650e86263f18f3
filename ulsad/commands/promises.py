"""Check on a labelled data set whether thresholds from few good photos keep what they promise."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ulsad.commands.labelled import add_common, announce, set_up, write_table
from ulsad.commands.options import words
from ulsad.errors import InputError
from ulsad.evaluation import promises
from ulsad.evaluation.trials import TrialStore
from ulsad.method.config import Config
from ulsad.photos.datasets import Category

EXAMPLE = "tray --photos 15,30 --seeds 3"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "promises")
    parser.add_argument("--photos", type=words, default=("15", "20", "30", "60"), metavar="N,…",
                        help="numbers of good photos to train on (15,20,30,60); a category with fewer is "
                             "left out")
    parser.add_argument("--planted", type=int, default=0, metavar="N",
                        help="instead, hide so many defects among the good photos and see whether they are "
                             "pointed out")


def run(options: argparse.Namespace) -> None:
    """Write one table; results already in --out are reused."""
    if not all(text.isdigit() for text in options.photos):
        raise InputError(f"--photos must be numbers, as in 15,30, not {','.join(options.photos)}.")
    categories, config, store = set_up(options)
    rows = []
    for category in categories:
        for photos in map(int, options.photos):
            if len(category.train) < photos - options.planted:
                announce(f"{category.name} has only {len(category.train)} good photos, not {photos}")
                continue
            seeds = [replace(config, seed=config.seed + i) for i in range(options.seeds)]
            if options.planted:
                hidden = [promises.planted(category, photos, seed.seed, options.planted,
                                           store.folder / category.name / f"planted-seed-{seed.seed}")
                          for seed in seeds]
                found = [promises.ranks(promises.trial(store, mixed, seed, tests=False), bad, seed)
                         for seed, (mixed, bad) in zip(seeds, hidden, strict=True)]
                rows.append(promises.planted_row(category.name, photos, options.planted, found))
            else:
                trials = [_trial(store, category, photos, seed) for seed in seeds]
                rows += [promises.promise_row(category.name, photos, share, trials)
                         for share in promises.SHARES]
    table = promises.planted_table if options.planted else promises.promise_table
    write_table(options.out, "planted" if options.planted else "promises", table(rows))


def _trial(store: TrialStore, category: Category, photos: int, config: Config) -> promises.Scores:
    """Train on so many of the category's photos, and score the others."""
    cut = promises.cut(category, photos, config.seed)
    return promises.trial(store, cut, config, promises.left_over(category, cut, config.seed))
