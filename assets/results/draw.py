"""Draws the plots of RESULTS.md from the tables in it: python assets/results/draw.py [FOLDER]"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
# Colours that colour-blind readers tell apart (Okabe and Ito); shapes differ as well.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6B6B6B"
WIDTH = 7.6  # inches
STYLE = {
    "font.size": 10, "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "0.4", "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 10,
    "figure.constrained_layout.w_pad": 0.08,
    "xtick.color": "0.25", "ytick.color": "0.25", "xtick.labelcolor": "0.1", "ytick.labelcolor": "0.1",
    "legend.frameon": False, "legend.fontsize": 9.5,
    # Text stays text, which makes files small. Browsers without this font take a narrower one, which fits.
    "svg.fonttype": "none", "svg.hashsalt": "ulsad"}
SETS = ("four screws", "toy figures", "magnetic tiles", "circuit boards", "demo tray", "turned trays")

Table = list[dict[str, str]]  # rows, by the names of their columns


class Value(NamedTuple):
    """A number of a table, and the ends of its error bar."""

    middle: float
    low: float
    high: float

    @property
    def errors(self) -> list[list[float]]:
        """Cut off at 0 and 100 %."""
        return [[self.middle - max(self.low, 0)], [min(self.high, 100) - self.middle]]


def tables(text: str) -> dict[str, Table]:
    """The first table below each heading of a Markdown text."""
    found: dict[str, Table] = {}
    for heading, body in re.findall(r"^#+ (.+)\n((?:(?!#).*\n?)*)", text, re.MULTILINE):
        if lines := re.search(r"(?:^\|.*\|$\n?)+", body, re.MULTILINE):
            names, _, *rows = map(_cells, lines[0].strip().split("\n"))
            found[heading] = [dict(zip(names, row, strict=True)) for row in rows]
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("**", "").strip("|").split("|")]


def value(cell: str) -> Value | None:
    """Reads '99.6 ± 0.7', '93.4 [82.9, 99.8]' and '32.0'; None for a dash."""
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", cell)]
    if not numbers:
        return None
    if "±" in cell:
        mean, deviation = numbers
        return Value(mean, mean - deviation, mean + deviation)
    return Value(*numbers) if "[" in cell else Value(numbers[0], numbers[0], numbers[0])


def row_of(table: Table, name: str) -> dict[str, str]:
    return next(row for row in table if next(iter(row.values())) == name)


def auroc(found: dict[str, Table]) -> Figure:
    """Image AUROC: two methods on six sets; below, many methods on one set."""
    figure = Figure((WIDTH, 6.6), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(4, 5))
    quick = found["quick, three seeds"]
    for name, column, colour, marker, offset in (
            ("quick", "combined", BLUE, "o", -0.15),
            ("nearest good patch", "nearest", GREY, "D", 0.15)):
        for i, of in enumerate(SETS):
            _across(above, value(row_of(quick, of)[column]), i + offset, colour, marker,
                    name if i == 0 else None)
    _rows(above, SETS)
    above.set(xlim=(49, 101), xticks=range(50, 101, 10), title="Six photo sets, three seeds")
    above.legend(loc="upper left")
    rows = [row for row in found["Other methods on the toy figures"] if value(row["image AUROC"])]
    rows.sort(key=lambda row: -value(row["image AUROC"]).middle)
    for i, row in enumerate(rows):
        own = row["method"].startswith(("ulsad", "dfr"))
        _across(below, value(row["image AUROC"]), i, BLUE if own else GREY, "o" if own else "D")
    _rows(below, [_method(row) for row in rows])
    below.axvline(50, color="0.6", linewidth=1, linestyle=":")
    below.text(50.5, 0, "a coin toss", color="0.35", size=9, va="center")
    below.set(xlim=(40, 101), xlabel="image AUROC, %", title="Toy figures with a ResNet18, 95 % intervals")
    return figure


def _method(row: dict[str, str]) -> str:
    name = row["method"].replace("`", "").replace("_", " ")
    epochs = re.search(r"epoch (\d+ of \d+)", row["note"])
    if name.startswith("ulsad"):
        return f"{name}, earlier version"
    return f"{name} (epoch {epochs[1]})" if epochs else name


def thresholds(found: dict[str, Table]) -> Figure:
    """What a threshold from few held-out photos rejects and detects."""
    figure = Figure((WIDTH, 3.7), layout="constrained")
    table = sorted(found["At a threshold for 5 % false rejects"], key=lambda row: float(row["held out"]))
    for axes, what, title in zip(figure.subplots(1, 2), ("false rejects", "detected"),
                                 ("Good parts rejected, %", "Defects detected, %"), strict=True):
        for preset, colour, marker, offset in (("quick", BLUE, "o", -0.12), ("thorough", ORANGE, "s", 0.12)):
            for i, row in enumerate(table):
                number = value(row[f"{preset}: {what}"])
                axes.errorbar(i + offset, number.middle, number.errors, fmt=marker, color=colour,
                              markersize=7, capsize=3, clip_on=False, zorder=3,
                              label=preset if i == 0 else None)
        axes.set_xticks(range(len(table)), [f"{row['held out']}\n{row['set']}".replace(" ", "\n")
                                            for row in table])
        axes.set(ylim=(0, 105), xlim=(-0.4, len(table) - 0.6), title=title,
                 xlabel="held-out good photos (and set)")
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
    rejects, _ = figure.axes
    rejects.axhline(5, color=GREEN, linewidth=1.5, linestyle="--", label="aim: 5 %", zorder=2)
    rejects.legend(loc="upper right")
    return figure


def scaling(found: dict[str, Table]) -> Figure:
    """How a training step and inference grow with photos and pixels."""
    figure = Figure((WIDTH, 3.5), layout="constrained")
    steps, pace = figure.subplots(1, 2)
    table = found["More photos"]
    photos = [float(row["photos"]) for row in table]
    for name, column, style in (("first run", "ms a step", "o-"), ("second run", "again: ms a step", "s--")):
        steps.plot(photos, [value(row[column]).middle for row in table], style, color=BLUE, label=name)
    steps.set(xscale="log", ylim=(0, 330), xlabel="photos to train on", title="A step of quick, ms")
    steps.set_xticks(photos, [f"{count:,.0f}" for count in photos], minor=False)
    steps.legend(loc="lower left", title="two CPU cores", alignment="left")
    table = found["Larger photos"]
    pixels = [float(row["px"]) for row in table]
    for name, prefix, style in (("two CPU cores, first run", "", "o-"), ("second run", "again: ", "s--")):
        numbers = [value(row[f"{prefix}photos/s"]).middle for row in table]
        errors = [[number - value(row[f"{prefix}from"]).middle for number, row in zip(numbers, table)],
                  [value(row[f"{prefix}to"]).middle - number for number, row in zip(numbers, table)]]
        pace.errorbar(pixels, numbers, errors, fmt=style, color=BLUE, capsize=3, label=name)
    on_gpu = {int(match[1]): value(row["here"]).middle
              for row in found["Beside the plain procedure, GPU"]
              if (match := re.search(r"quick, (\d+) px", row["what"]))}
    pace.plot(list(on_gpu), list(on_gpu.values()), "D-", color=ORANGE, label="GPU (NVIDIA H200)")
    pace.set(yscale="log", ylim=(4, 500), xlabel="image size, px", title="Photo files to maps, photos/s")
    pace.set_yticks([5, 10, 20, 50, 100, 200, 500], ["5", "10", "20", "50", "100", "200", "500"])
    pace.set_xticks(pixels, [f"{size:.0f}" for size in pixels])
    pace.minorticks_off()
    pace.legend(loc="center left", bbox_to_anchor=(0, 0.6))
    for axes in figure.axes:
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
    steps.minorticks_off()
    return figure


def speedup(found: dict[str, Table]) -> Figure:
    """Times as fast as the plain procedure."""
    on_cpu = found["Beside the plain procedure, two cores"]
    on_gpu = [row for row in found["Beside the plain procedure, GPU"] if value(row["times as fast"])]
    figure = Figure((WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    names = []
    for i, row in enumerate([*on_gpu, *on_cpu]):
        runs = [value(row[column]).middle for column in ("times as fast", "again: times") if column in row]
        colour, marker = (ORANGE, "D") if row in on_gpu else (BLUE, "o")
        first = i in (0, len(on_gpu))
        axes.plot(runs, [i] * len(runs), marker, color=colour, markersize=8, linestyle="-",
                  label=("GPU (NVIDIA H200), bfloat16" if row in on_gpu else "two CPU cores, two runs")
                  if first else None)
        axes.text(max(runs) + 0.1, i, " and ".join(f"{run:g}" if run % 1 else f"{run:.1f}"
                                                   for run in dict.fromkeys(runs)), va="center", size=9.5)
        names.append(_job(row["what"]))
    axes.axvline(1, color="0.5", linewidth=1, linestyle=":")
    _rows(axes, names)
    axes.set(xlim=(0.8, 5.6), xlabel="times as fast as the plain procedure (1: no faster)",
             title="Speed beside the plain procedure")
    axes.legend(loc="lower right")
    return figure


def _job(what: str) -> str:
    backbone = re.search(r"\w*resnet\w+", what)
    if backbone:
        return f"training paper, {backbone[0]}"
    _, preset, count = what.split(", ")
    return f"photos to maps, {preset}, {count}"


def _across(axes: Axes, number: Value, y: float, colour: str, marker: str, label: str | None = None) -> None:
    axes.errorbar(number.middle, y, xerr=number.errors, fmt=marker, color=colour, markersize=7, capsize=3,
                  label=label, clip_on=False, zorder=3)


def _rows(axes: Axes, names: list[str] | tuple[str, ...]) -> None:
    """Named rows from top to bottom."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)


PLOTS: tuple[Callable[[dict[str, Table]], Figure], ...] = (auroc, thresholds, scaling, speedup)


def draw(folder: Path, suffix: str = ".svg") -> list[Path]:
    """Draws every plot into the folder; the same tables give the same files."""
    found = tables((HERE.parent / "RESULTS.md").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{plot.__name__}{suffix}" for plot in PLOTS]
    metadata = {"Date": None} if suffix == ".svg" else None
    with rc_context(STYLE):
        for plot, file in zip(PLOTS, files, strict=True):
            plot(found).savefig(file, facecolor="white", metadata=metadata)
    return files


if __name__ == "__main__":
    for file in draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE):
        print(file)
