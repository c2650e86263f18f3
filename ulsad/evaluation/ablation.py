"""The paper's ablations as lists of settings, and their tables in the paper's layout."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ulsad.evaluation.evaluation import Evaluation
from ulsad.evaluation.metrics import auroc
from ulsad.evaluation.paper_tables import SPREAD, Results, mean_of_categories, percent, run_seeds
from ulsad.evaluation.tables import Cell, Figure, Table
from ulsad.evaluation.trials import TrialStore
from ulsad.method.config import Config
from ulsad.photos.datasets import Category

METRICS = ("image AUROC", "pixel AUROC", "AUPRO")
Rows = tuple[tuple[Cell, ...], ...]

ALPHAS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
BETAS = (0.985, 0.99, 0.995, 0.999, 0.9999)


@dataclass(frozen=True)
class Variant:
    """A variant's settings, and the cells that name them in the study's table."""

    cells: tuple[Cell, ...]
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        return " ".join(f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in self.cells)


@dataclass(frozen=True)
class Study:
    """One ablation. Its table has a row per variant, or per category if `by_category`."""

    title: str
    columns: tuple[str, ...]  # headings of the variants' cells
    variants: tuple[Variant, ...]
    by_category: bool


def _components() -> Iterator[Variant]:
    """The rows of Table 3: λ_l, λ_g, L_lg, L_pg^d, L_pg."""
    mark = {True: "✓", False: "–"}
    for weight in (0.0, 0.5):
        yield Variant((weight, "–", "–", "–", "–"), {"lambda_l": weight, "global_target": "none"})
        for related in (False, True):
            for target in ("features", "attention"):
                cells = (mark[related], mark[target == "features"], mark[target == "attention"])
                yield Variant((weight, f"{weight:.2f}", *cells), {
                    "lambda_l": weight, "lambda_g": weight, "global_target": target,
                    "local_global_loss": related})


def _architectures() -> Iterator[Variant]:
    """The columns of Table 22: the rows of Table 3 with a global branch."""
    for variant in _components():
        if variant.settings["global_target"] != "none":
            target = {"features": "L_pg^d", "attention": "L_pg"}[variant.settings["global_target"]]
            related = "; L_lg" if variant.settings["local_global_loss"] else ""
            yield Variant((f"λ={variant.settings['lambda_l']:g} {target}{related}",), variant.settings)


STUDIES: dict[str, Study] = {
    "components": Study("Components (Table 3)", ("λ_l", "λ_g", "L_lg", "L_pg^d", "L_pg"),
                        tuple(_components()), by_category=False),
    "local": Study("Local branch alone (Table 21)", ("λ_l",), tuple(
        Variant((f"λ_l={weight:g}",), {"lambda_l": weight, "global_target": "none"})
        for weight in (0.0, 0.01, 0.5, 0.9, 1.0)), by_category=True),
    "global": Study("Whole architecture (Table 22)", ("losses",), tuple(_architectures()), by_category=True),
    "backbones": Study("Backbones (Table 23, Figure 8)", ("backbone",), tuple(
        Variant((name,), {"backbone": name, "layers": None, "weights_enum": None})
        for name in ("resnet50", "resnet152", "wide_resnet50_2", "wide_resnet101_2")), by_category=True),
    "last-layer": Study(
        "Last layer, order of BatchNorm and ReLU, blur", ("output", "order", "blur σ, px"), tuple(
            Variant((output, order.replace("_", " "), f"{blur:g}"),
                    {"frn_output": output, "frn_order": order, "blur_sigma": blur})
            for output in ("linear", "relu") for order in ("batchnorm_first", "relu_first")
            for blur in (4.0, 0.0)), by_category=False),
}


def run_study(
    store: TrialStore, categories: Sequence[Category], config: Config, seeds: int, study: Study
) -> list[Results]:
    """The results of every variant, in order; results in the store are reused."""
    return [run_seeds(store, categories, replace(config, **variant.settings), seeds)
            for variant in study.variants]


def study_table(study: Study, results: Sequence[Results], category: str | None = None) -> Table:
    """A table in the paper's layout, or for one category with a row per variant.

    Values are percent for the combined map, which is the local map if there is no global branch.
    """
    seeds = len(next(iter(results[0].values())))
    note = f"Percent, {seeds} seeds. {SPREAD}." if seeds > 1 else "Percent, one seed."
    if category:
        alone = [{category: result[category]} for result in results]
        return Table(f"{study.title}: {category}", *_by_variant(study, alone), note).without_empty_columns()
    table = _by_category(study, results) if study.by_category else _by_variant(study, results)
    return Table(study.title, *table, note).without_empty_columns()


def _by_category(study: Study, results: Sequence[Results]) -> tuple[tuple[str, ...], Rows]:
    columns = ("category", *(f"{variant.name}: {metric}" for variant in study.variants for metric in METRICS))
    figures = {name: [figure for result in results for figure in _metrics(result[name])]
               for name in results[0]}
    mean = map(mean_of_categories, zip(*figures.values(), strict=True))
    return columns, (*((name, *values) for name, values in figures.items()), ("mean", *mean))


def _by_variant(study: Study, results: Sequence[Results]) -> tuple[tuple[str, ...], Rows]:
    branches = ("local", "global")
    columns = (*study.columns, *METRICS, *(f"{branch} map: {METRICS[0]}" for branch in branches))
    rows = []
    for variant, result in zip(study.variants, results, strict=True):
        figures = [(*_metrics(trials), *(_image_auroc(trials, branch) for branch in branches))
                   for trials in result.values()]
        rows.append((*variant.cells, *map(mean_of_categories, zip(*figures, strict=True))))
    return columns, tuple(rows)


def _metrics(trials: list[dict[str, Any]]) -> tuple[Figure, ...]:
    return (_image_auroc(trials, "combined"),
            *(percent([trial["maps"]["combined"].get(name, math.nan) for trial in trials])
              for name in ("pixel_auroc", "aupro")))


def _image_auroc(trials: list[dict[str, Any]], branch: str) -> Figure:
    return percent([trial["maps"][branch]["auroc"]["all"] if branch in trial["maps"] else math.nan
                    for trial in trials])


def alpha_beta_grid(
    evaluation: Evaluation, alphas: Sequence[float] = ALPHAS, betas: Sequence[float] = BETAS
) -> np.ndarray:
    """Figure 7: image AUROC of the combined map, (len(alphas), len(betas)), in [0, 1]; runs no network.

    NaN where β is not above α.
    """
    return np.array([[auroc(evaluation.scores(alpha, beta)[:, 0], evaluation.labels) if alpha < beta
                      else math.nan for beta in betas] for alpha in alphas])
