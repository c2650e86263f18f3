"""Tables of results as Markdown, CSV and LaTeX."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ulsad.detector import spreadsheet
from ulsad.evaluation.published import MeanStd

DIGITS = 2


class MeanInterval(NamedTuple):
    """A value with its 95 % interval."""

    mean: float
    low: float
    high: float


Figure = float | MeanStd | MeanInterval
Cell = spreadsheet.Cell | Figure


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; None and NaN are shown as a dash. `note` says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def without_empty_columns(self) -> Table:
        kept = [i for i in range(len(self.columns)) if any(not _is_empty(row[i]) for row in self.rows)]
        return Table(self.title, tuple(self.columns[i] for i in kept),
                     tuple(tuple(row[i] for i in kept) for row in self.rows), self.note)

    def markdown(self) -> str:
        sides = ["---" if any(isinstance(row[i], str) for row in self.rows) else "--:"
                 for i in range(len(self.columns))]
        lines = [self.columns, sides, *([_text(cell, " ± ", "–") for cell in row] for row in self.rows)]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(filter(None, [f"**{self.title}**", body, self.note])) + "\n"

    def latex(self) -> str:
        """A `tabular` in a `table`, for booktabs."""
        rows = "\n".join(" & ".join(_latex(cell) for cell in row) + r" \\" for row in self.rows)
        head = " & ".join(map(_escape, self.columns))
        return "\n".join([
            r"\begin{table}", rf"\caption{{{_escape(self.title)}. {_escape(self.note)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
            r"\toprule", head + r" \\", r"\midrule", rows, r"\bottomrule",
            r"\end{tabular}", r"\end{table}", ""])

    def csv(self) -> str:
        """CSV for further computations: unrounded, two columns for mean ± std, three for an interval."""
        kinds = [next((row[i] for row in self.rows if isinstance(row[i], tuple)), None)
                 for i in range(len(self.columns))]
        head = [f"{name}{tail}" for name, kind in zip(self.columns, kinds) for tail in _tails(kind)]
        rows = ([value for cell, kind in zip(row, kinds) for value in _values(cell, kind)]
                for row in self.rows)
        text = io.StringIO()
        spreadsheet.write([head, *rows], text)
        return text.getvalue()

    def write(self, stem: Path) -> None:
        """STEM.md, STEM.csv and STEM.tex."""
        for suffix, content, encoding in ((".md", self.markdown(), "utf-8"), (".tex", self.latex(), "utf-8"),
                                          (".csv", self.csv(), spreadsheet.ENCODING)):
            stem.with_name(stem.name + suffix).write_text(content, encoding=encoding)


def mean_std(values: Sequence[float]) -> MeanStd | float:
    """Mean and sample standard deviation over seeds; the plain value for a single seed."""
    if len(values) == 1:
        return values[0]
    mean = math.fsum(values) / len(values)
    return MeanStd(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)))


def _is_empty(cell: Cell) -> bool:
    first = cell[0] if isinstance(cell, tuple) else cell
    return first is None or (isinstance(first, float) and math.isnan(first))


def _text(cell: Cell, plus_minus: str, dash: str) -> str:
    if _is_empty(cell):
        return dash
    if isinstance(cell, MeanStd):
        return f"{cell.mean:.{DIGITS}f}{plus_minus}{cell.std:.{DIGITS}f}"
    if isinstance(cell, MeanInterval):
        return f"{cell.mean:.{DIGITS}f} [{cell.low:.{DIGITS}f}, {cell.high:.{DIGITS}f}]"
    return f"{cell:.{DIGITS}f}" if isinstance(cell, float) else str(cell)


def _latex(cell: Cell) -> str:
    if isinstance(cell, MeanStd) and not _is_empty(cell):
        return "$" + _text(cell, r" \pm ", "") + "$"
    return _escape(_text(cell, "", "--"))


def _escape(text: str) -> str:
    return "".join(_IN_LATEX.get(letter, letter) for letter in text)


_IN_LATEX = {letter: f"\\{letter}" for letter in "&%_#$"} | {
    "λ": r"$\lambda$", "α": r"$\alpha$", "β": r"$\beta$", "σ": r"$\sigma$", "±": r"$\pm$", "✓": r"\checkmark",
    "–": "--", "^": r"\^{}"}


def _tails(like: Cell) -> tuple[str, ...]:
    """Suffixes of the column names for a cell of this type."""
    return {MeanStd: ("", " std"), MeanInterval: ("", " low", " high")}.get(type(like), ("",))


def _values(cell: Cell, like: Cell) -> list[spreadsheet.Cell]:
    width = len(_tails(like))
    values: list[spreadsheet.Cell] = list(cell) if isinstance(cell, tuple) else [cell]
    return (values + [None] * width)[:width]
