"""Repeat one of the paper's ablations on a labelled data set, with its table and a figure."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ulsad.commands.labelled import add_common, set_up, write_table
from ulsad.evaluation import ablation, figures
from ulsad.evaluation.tables import Table
from ulsad.evaluation.trials import TrialStore, evaluated, trained
from ulsad.method.config import Config
from ulsad.photos.datasets import Category

ALPHA_BETA = "alpha-beta"
EXAMPLE = "components tray"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", choices=[*ablation.STUDIES, ALPHA_BETA],
                        help="components: Table 3; local: Table 21; global: Table 22; backbones: Table 23 "
                             "and Figure 8; alpha-beta: Figure 7; last-layer: last layer of the "
                             "reconstruction network, and the blur")
    add_common(parser, "ablation")


def run(options: argparse.Namespace) -> None:
    """Write the table and the figure; results already in --out are reused."""
    categories, config, store = set_up(options)
    if options.study == ALPHA_BETA:
        for category in categories:
            _alpha_beta(store, category, config, options.out)
        return
    study = ablation.STUDIES[options.study]
    results = ablation.run_study(store, categories, config, options.seeds, study)
    write_table(options.out, options.study, ablation.study_table(study, results))
    flat = replace(study, by_category=False)
    figures.study(ablation.study_table(flat, results), ablation.METRICS).savefig(
        options.out / f"{options.study}.png", dpi=150)
    if len(categories) > 1 and not study.by_category:
        for category in categories:
            write_table(options.out, f"{options.study}-{category.name}",
                   ablation.study_table(study, results, category.name))


def _alpha_beta(store: TrialStore, category: Category, config: Config, out: Path) -> None:
    grid = ablation.alpha_beta_grid(evaluated(store, trained(store, category, config), category))
    rows = tuple((f"{alpha:g}", *(100 * grid[i])) for i, alpha in enumerate(ablation.ALPHAS))
    write_table(out, f"alpha-beta-{category.name}", Table(
        f"Image AUROC over α (rows) and β (Figure 7): {category.name}",
        ("α", *(f"β={beta:g}" for beta in ablation.BETAS)), rows, "Percent, one seed."))
    figures.alpha_beta(grid, ablation.ALPHAS, ablation.BETAS).savefig(
        out / f"alpha-beta-{category.name}.png", dpi=150)
