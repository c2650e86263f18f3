"""Run many trials, and make the paper's tables from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ulsad.evaluation.evaluation import ROWS
from ulsad.evaluation.published import ULSAD, MeanStd
from ulsad.evaluation.tables import Cell, Figure, MeanInterval, Table, mean_std
from ulsad.evaluation.trials import TrialStore, run_trial
from ulsad.method.config import Config
from ulsad.photos.datasets import LOGICAL, STRUCTURAL, Category

Results = dict[str, list[dict[str, Any]]]  # by category: one result per seed, see `trials.run_trial`

SPREAD = ("± is the sample standard deviation over seeds; in the mean row, its root mean square over the "
          "categories, as in the paper")


class Row(NamedTuple):
    """A row for one category and map."""

    category: str
    map: str
    held_out: int | None
    figures: tuple[Figure, ...]
    published: tuple[MeanStd | None, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (self.category, self.map, self.held_out, *self.figures, *self.published)


def run_seeds(store: TrialStore, categories: Sequence[Category], config: Config, seeds: int) -> Results:
    """Trials of every category with the seeds config.seed, config.seed + 1, …"""
    return {category.name: [run_trial(store, category, replace(config, seed=config.seed + i))
                            for i in range(seeds)]
            for category in categories}


def evaluation_table(results: Results, layout: str) -> Table:
    """Every map of every category, percent, with the paper's own values for its categories."""
    columns = ("category", "map", "held out", "image AUROC", "logical", "structural", "average precision",
               "best F1", "false rejects", "detected", "pixel AUROC", "AUPRO", "AUPIMO",
               "paper: image AUROC", "paper: pixel AUROC", "paper: AUPRO")
    rows = [_evaluation_row(name, map_, trials, layout) for name, trials in results.items()
            for map_ in ROWS if map_ in trials[0]["maps"]]
    if len(results) > 1:
        rows += [_mean_row(of_map, map_, layout) for map_ in ROWS
                 if (of_map := [row for row in rows if row.map == map_])]
    first = next(iter(results.values()))
    spread = SPREAD if len(first) > 1 else "Intervals: 95 %, bootstrap over the test photos"
    note = (f"Percent, {len(first)} seed{'s' * (len(first) > 1)}. {spread}. 'false rejects' and 'detected': "
            "good and defective test photos above the threshold, which is set from held-out good photos for "
            f"{first[0]['false_reject']:.0%} false rejects and extrapolated if these are too few for that. "
            "'best F1' uses the test labels.")
    return Table("Detection and localisation", columns, tuple(row.cells for row in rows),
                 note).without_empty_columns()


def _evaluation_row(name: str, map_: str, trials: list[dict[str, Any]], layout: str) -> Row:
    maps = [trial["maps"][map_] for trial in trials]
    published = ULSAD.get(layout, {}).get(name, (None, None, None)) if map_ == "combined" else (None,) * 3
    figures = (
        percent([of["auroc"]["all"] for of in maps], maps[0]["auroc_interval"]),
        percent([of["auroc"].get(LOGICAL, math.nan) for of in maps]),
        percent([of["auroc"].get(STRUCTURAL, math.nan) for of in maps]),
        percent([of["average_precision"] for of in maps], maps[0]["average_precision_interval"]),
        percent([of["best_f1"]["f1"] for of in maps]),
        _rate(maps, "false_rejects", "true_passes", "false_reject_interval"),
        _rate(maps, "true_rejects", "misses", "detection_interval"),
        percent([of.get("pixel_auroc", math.nan) for of in maps], maps[0].get("pixel_auroc_interval")),
        percent([of.get("aupro", math.nan) for of in maps], maps[0].get("aupro_interval")),
        percent([of.get("aupimo", math.nan) for of in maps], maps[0].get("aupimo_interval")))
    return Row(name, map_, trials[0]["held_out"], figures, published)


def _mean_row(rows: list[Row], map_: str, layout: str) -> Row:
    published = ULSAD.get(layout, {}).get("mean", (None,) * 3) if map_ == "combined" else (None,) * 3
    covered = {row.category for row in rows} >= set(ULSAD.get(layout, {})) - {"mean"}
    figures = tuple(map(mean_of_categories, zip(*(row.figures for row in rows), strict=True)))
    return Row("mean", map_, None, figures, published if covered else (None,) * 3)


def mean_of_categories(figures: Sequence[Figure]) -> Figure:
    """A cell of the mean row; NaN if a category lacks the value, as means over fewer are not comparable."""
    means = [figure[0] if isinstance(figure, tuple) else figure for figure in figures]
    mean = math.fsum(means) / len(means)
    spreads = [figure.std for figure in figures if isinstance(figure, MeanStd)]
    if len(spreads) < len(figures):
        return mean
    return MeanStd(mean, math.sqrt(math.fsum(std ** 2 for std in spreads) / len(spreads)))


def percent(values: list[float], interval: Sequence[float] | None = None) -> Figure:
    """Several seeds as mean ± std; a single seed with its interval, if it has one."""
    scaled = [100 * value for value in values]
    if len(scaled) == 1 and interval:
        return MeanInterval(scaled[0], *(100 * end for end in interval))
    return mean_std(scaled)


def _rate(maps: list[dict[str, Any]], above: str, below: str, interval: str) -> Figure:
    """The share of photos above the threshold; NaN for a method without one."""
    points = [of["operating_point"] for of in maps if "operating_point" in of]
    if not points:
        return math.nan
    return percent([point[above] / (point[above] + point[below]) for point in points], points[0][interval])


def kinds_table(results: Results) -> Table:
    """Image AUROC and AUPRO, percent, of each kind of defect vs. all good photos."""
    columns = [(metric, map_) for metric in ("auroc", "aupro_of") for map_ in ROWS]
    headings = [f"{'AUROC' if metric == 'auroc' else 'AUPRO'} {map_}" for metric, map_ in columns]
    rows = [(name, kind, trials[0]["photos"][kind] - trials[0]["good"],
             *(_of_kind(trials, map_, metric, kind) for metric, map_ in columns))
            for name, trials in results.items() for kind in trials[0]["photos"] if kind != "all"]
    return Table("Image AUROC and AUPRO by kind of defect", ("category", "kind", "photos", *headings),
                 tuple(rows), "Percent.").without_empty_columns()


def _of_kind(trials: list[dict[str, Any]], map_: str, metric: str, kind: str) -> Figure | None:
    """None if the set has no masks, or the model no such map."""
    values = [trial["maps"].get(map_, {}).get(metric, {}).get(kind) for trial in trials]
    return None if None in values else percent(values)
