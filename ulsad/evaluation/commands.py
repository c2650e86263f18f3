"""python -m ulsad evaluate | ablate | compare: from a labelled data set's path to tables and figures."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ulsad.detector.batch import said_of_strange
from ulsad.detector.criterion import FALSE_REJECT
from ulsad.detector.detector import Ulsad
from ulsad.detector.terminal import print_progress
from ulsad.errors import InputError
from ulsad.evaluation import ablation, comparison, figures, paper_tables
from ulsad.evaluation.evaluation import summarise, write_scores
from ulsad.evaluation.tables import Table
from ulsad.evaluation.trials import TrialStore, evaluated, trained
from ulsad.method.config import PRESETS, Config
from ulsad.photos.datasets import LOGICAL, STRUCTURAL, Category, find_categories

ALPHA_BETA = "alpha-beta"


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, "evaluation")
    parser.add_argument("--model", type=Path, metavar="FILE",
                        help="test this model; otherwise one is trained for each category and seed")
    parser.set_defaults(command=evaluate_command)


def add_ablate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", choices=[*ablation.STUDIES, ALPHA_BETA],
                        help="components: Table 3; local: 21; global: 22; backbones: 23 and Figure 8; "
                             "alpha-beta: Figure 7; last-layer: of the reconstruction network, and the blur")
    _add_common(parser, "ablation")
    parser.set_defaults(command=ablate_command)


def add_compare(parser: argparse.ArgumentParser) -> None:
    _add_common(parser, "comparison")
    parser.add_argument("--with", type=_words, default=comparison.METHODS, dest="methods", metavar="A,B,…",
                        help=f"beside ulsad, of {', '.join(comparison.METHODS[1:])}; all but dfr and nearest "
                             "need anomalib")
    parser.add_argument("--minutes", type=float, default=3.0,
                        help="how long a method may train, of those that train in epochs (3)")
    parser.set_defaults(command=compare_command)


def _add_common(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("dataset", type=Path, help="a data set or one of its categories: MVTec AD, MVTec "
                        "LOCO, BTAD, MPDD, VisA, or a folder with good, test-good and defects")
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder for tables and models ({out})")
    parser.add_argument("--seeds", type=_count, default=1, metavar="N", help="trainings per category (1)")
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                        dest="settings", help="change settings of the preset, e.g. steps=1000")
    parser.add_argument("--logical", type=_words, default=(), metavar="KIND,…",
                        help="which kinds of defects are logical (missing, surplus, misplaced parts)")
    parser.add_argument("--structural", type=_words, default=(), metavar="KIND,…",
                        help="which are structural (scratches, dents, dirt)")
    parser.add_argument("--false-reject", type=float, default=FALSE_REJECT, metavar="SHARE",
                        help="share of held-out good photos that the threshold may reject (0.05)")


def evaluate_command(options: argparse.Namespace) -> None:
    """Table of every metric, map and category, beside the paper's own row where it has one."""
    categories, config, store = _set_up(options)
    if options.model:
        results = {categories[0].name: [_of_model(options, store, categories)]}
    else:
        results = paper_tables.run_seeds(store, categories, config, options.seeds)
    for name, trials in results.items():
        if said := said_of_strange(trials[0].get("strange", 0), trials[0]["photos"]["all"]):
            print(f"{name}: {said}", file=sys.stderr)
    _write(options.out, "table", paper_tables.evaluation_table(results, categories[0].layout))
    if (kinds := paper_tables.kinds_table(results)).rows:
        _write(options.out, "kinds", kinds)
    for trials in results.values():
        for reason in trials[0]["skipped"]:
            print(f"skipped {reason}", file=sys.stderr)


def _of_model(options: argparse.Namespace, store: TrialStore, categories: list[Category]) -> dict:
    if len(categories) > 1:
        raise InputError(f"--model tests one category. Give one of the folders below {options.dataset}.")
    evaluation = evaluated(store, Ulsad.load(options.model, options.weights, options.device), categories[0])
    write_scores(options.out / "scores.csv", evaluation)
    figures.curves(evaluation).savefig(options.out / "curves.png", dpi=150)
    figures.kinds(evaluation).savefig(options.out / "kinds.png", dpi=150)
    return summarise(evaluation, store.false_reject)


def ablate_command(options: argparse.Namespace) -> None:
    """One of the paper's ablations, as its table and a figure; what is in --out already is not run again."""
    categories, config, store = _set_up(options)
    if options.study == ALPHA_BETA:
        for category in categories:
            _alpha_beta(store, category, config, options.out)
        return
    study = ablation.STUDIES[options.study]
    results = ablation.run_study(store, categories, config, options.seeds, study)
    _write(options.out, options.study, ablation.study_table(study, results))
    flat = replace(study, by_category=False)
    figures.study(ablation.study_table(flat, results), ablation.METRICS).savefig(
        options.out / f"{options.study}.png", dpi=150)
    if len(categories) > 1 and not study.by_category:
        for category in categories:
            _write(options.out, f"{options.study}-{category.name}",
                   ablation.study_table(study, results, category.name))


def _alpha_beta(store: TrialStore, category: Category, config: Config, out: Path) -> None:
    grid = ablation.alpha_beta_grid(evaluated(store, trained(store, category, config), category))
    rows = tuple((f"{alpha:g}", *(100 * grid[i])) for i, alpha in enumerate(ablation.ALPHAS))
    _write(out, f"alpha-beta-{category.name}", Table(
        f"Image AUROC over α (rows) and β (Figure 7): {category.name}",
        ("α", *(f"β={beta:g}" for beta in ablation.BETAS)), rows, "Percent, one seed."))
    figures.alpha_beta(grid, ablation.ALPHAS, ablation.BETAS).savefig(
        out / f"alpha-beta-{category.name}.png", dpi=150)


def compare_command(options: argparse.Namespace) -> None:
    """Other methods on the same photos, in one table."""
    comparison.check_methods(options.methods)
    categories, config, store = _set_up(options)
    for category in categories:
        outcomes = []
        for method in dict.fromkeys((comparison.ULSAD, *options.methods)):
            _announce(f"{category.name}, {method}")
            outcomes.append([comparison.run_method(method, category, replace(config, seed=config.seed + i),
                                                   store.weights, store.device, options.minutes)
                             for i in range(options.seeds)])
        _write(options.out, f"comparison-{category.name}", comparison.comparison_table(category, outcomes))


def _set_up(options: argparse.Namespace) -> tuple[list[Category], Config, TrialStore]:
    groups = {kind: LOGICAL for kind in options.logical} | {kind: STRUCTURAL for kind in options.structural}
    if not 0 <= options.false_reject < 1:
        raise InputError(f"--false-reject is a share from 0 to below 1, not {options.false_reject}.")
    categories = find_categories(options.dataset, groups)
    config = PRESETS[options.preset].with_text(options.settings)
    options.out.mkdir(parents=True, exist_ok=True)
    return categories, config, TrialStore(options.out / "trials", options.weights, options.device,
                                     options.false_reject, print_progress, _announce)


def _announce(name: str) -> None:
    print(f"{name} …", file=sys.stderr, flush=True)


def _write(out: Path, name: str, table: Table) -> None:
    table.write(out / name)
    print(table.markdown())
    print(f"{out / name}.md, .csv and .tex")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("write a whole number, 1 or more")
    return int(text)
