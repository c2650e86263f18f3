"""Figures of results, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ulsad.evaluation import metrics
from ulsad.evaluation.evaluation import NEAREST, Evaluation
from ulsad.evaluation.published import MeanStd
from ulsad.evaluation.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinct for colour-blind readers (Okabe and Ito), and in print by their dashes.
STYLES = {"combined": ("#000000", "-"), "local": ("#0072B2", "--"), "global": ("#D55E00", "-."),
          NEAREST: ("#009E73", ":")}


def curves(evaluation: Evaluation) -> Figure:
    """ROC and precision-recall curves of every map, with the area under each."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = _figure(9, 4)
    roc, recall = figure.subplots(1, 2)
    labels = evaluation.labels
    for name in evaluation.names:
        scores, (colour, dash) = evaluation.scores_of(name), STYLES[name]
        false, true, _ = roc_curve(labels, scores)
        roc.plot(false, true, dash, color=colour, label=f"{name} {metrics.auroc(scores, labels):.3f}")
        precision, share, _ = precision_recall_curve(labels, scores)
        recall.plot(share, precision, dash, color=colour, drawstyle="steps-post",
                    label=f"{name} {metrics.average_precision(scores, labels):.3f}")
    roc.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    recall.axhline(labels.mean(), linestyle=":", color="grey", linewidth=1)
    roc.set(title="ROC: area", xlabel="good parts rejected", ylabel="defects rejected")
    recall.set(title="Precision and recall: average precision", xlabel="defects rejected (recall)",
               ylabel="defects among the rejected", ylim=(0, 1.02))
    for axes in (roc, recall):
        axes.legend(loc="lower right", fontsize=9, frameon=False)
    return figure


def kinds(summary: dict[str, Any]) -> Figure:
    """Bars for every map: image AUROC and, with masks, AUPRO of each kind of defect, from `summarise`."""
    shown = [(title, metric) for title, metric in (("Image AUROC", "auroc"), ("AUPRO", "aupro_of"))
             if metric in summary["maps"]["combined"]]
    figure = _figure(2 + 3.5 * len(shown), 1.4 + (0.2 + 0.15 * len(summary["maps"])) * len(summary["photos"]))
    for axes, (title, metric) in zip(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown,
                                     strict=True):
        _bars(axes, {name: of[metric] for name, of in summary["maps"].items()})
        axes.set(xlim=(0, 1.15), title=f"{title} by kind of defect")
        if metric == "auroc":
            axes.axvline(0.5, linestyle=":", color="grey", linewidth=1)
            axes.set(xlabel="0.5 is chance")
    counts = [f"{kind} ({photos - summary['good']})" for kind, photos in summary["photos"].items()]
    axes.set_yticks(range(len(counts)), counts)
    axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9,
                  frameon=False)
    return figure


def _bars(axes: Axes, values: dict[str, dict[str, float]]) -> None:
    """Horizontal bars of values by name and kind, a group for each kind."""
    height = 0.8 / len(values)
    for i, (name, of_kinds) in enumerate(values.items()):
        places = np.arange(len(of_kinds)) + height * (i - (len(values) - 1) / 2)
        bars = axes.barh(places, list(of_kinds.values()), 0.9 * height, color=STYLES[name][0], label=name)
        axes.bar_label(bars, fmt="%.3f", padding=2, fontsize=8)


def alpha_beta(grid: np.ndarray, alphas: Sequence[float], betas: Sequence[float]) -> Figure:
    """Figure 7: a heat map of image AUROC over α (rows) and β (columns)."""
    figure = _figure(1.5 + 0.8 * len(betas), 1.2 + 0.45 * len(alphas))
    axes = figure.subplots()
    top = np.nanmax(grid)
    bottom = min(np.nanmin(grid), top - 0.01)  # differences below 0.01 should not look large
    image = axes.imshow(grid, cmap="cividis", aspect="auto", vmin=bottom, vmax=top)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set(xlabel="β", ylabel="α", title="Image AUROC by α and β")
    middle = (bottom + top) / 2
    for (row, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", fontsize=9,
                      color="white" if value < middle else "black")
    figure.colorbar(image)
    return figure


def study(table: Table, metrics_: Sequence[str]) -> Figure:
    """Points with error bars: a row for each row of an ablation's table, a plot for each of its metrics."""
    shown = [name for name in metrics_ if name in table.columns]
    figure = _figure(9, 1 + 0.5 * len(table.rows))
    first = min(table.columns.index(name) for name in shown)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(shown), sharey=True)), shown, strict=True):
        cells = [row[table.columns.index(name)] for row in table.rows]
        values = [cell.mean if isinstance(cell, MeanStd) else cell for cell in cells]
        spread = [cell.std if isinstance(cell, MeanStd) else 0 for cell in cells]
        axes.errorbar(values, range(len(values)), xerr=spread, fmt="o", color="#0072B2", capsize=3)
        axes.set_yticks(range(len(values)), ["  ".join(map(str, row[:first])) for row in table.rows])
        axes.set(title=f"{name}, %")
        axes.grid(axis="x", alpha=0.3)
    axes.invert_yaxis()
    figure.suptitle(table.title, fontsize=11)
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure, size in inches. Loads matplotlib only now, as that takes most of a second."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
