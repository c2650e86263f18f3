"""Compare other methods with this one on the same photos, in one table."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ulsad.commands.labelled import add_common, announce, set_up, write_table
from ulsad.commands.options import words
from ulsad.evaluation import comparison

EXAMPLE = "tray --with nearest --seeds 3"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "comparison")
    parser.add_argument("--with", type=words, default=comparison.METHODS, dest="methods", metavar="A,B,…",
                        help=f"methods to compare, of {', '.join(comparison.METHODS[1:])}; all but dfr and "
                             "nearest need anomalib")
    parser.add_argument("--minutes", type=float, default=3.0,
                        help="training time limit for methods that train in epochs (3)")


def run(options: argparse.Namespace) -> None:
    comparison.check_methods(options.methods)
    categories, config, store = set_up(options)
    for category in categories:
        outcomes = []
        for method in dict.fromkeys((comparison.ULSAD, *options.methods)):
            announce(f"{category.name}, {method}")
            outcomes.append([comparison.run_method(method, category, replace(config, seed=config.seed + i),
                                                   store.weights, store.device, options.minutes)
                             for i in range(options.seeds)])
        methods, kinds = comparison.comparison_tables(category, outcomes)
        write_table(options.out, f"comparison-{category.name}", methods)
        if len(kinds.rows) > 1:
            write_table(options.out, f"comparison-{category.name}-kinds", kinds)
