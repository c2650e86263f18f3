"""The same cells in three formats."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from ulsad.evaluation.published import MeanStd
from ulsad.evaluation.tables import MeanInterval, Table, mean_std

TABLE = Table("All & sundry", ("set", "AUROC", "none", "n"),
              (("a_b", MeanStd(97.654, 0.38), float("nan"), 3),
               ("c", MeanInterval(50.0, 40.0, 61.5), None, 4)),
              "Percent")


def test_markdown():
    assert TABLE.without_empty_columns().markdown() == (
        "**All & sundry**\n\n| set | AUROC | n |\n| --- | --: | --: |\n| a_b | 97.65 ± 0.38 | 3 |\n"
        "| c | 50.00 [40.00, 61.50] | 4 |\n\nPercent\n")


def test_latex_escapes_and_uses_plus_minus():
    text = TABLE.latex()
    assert r"a\_b & $97.65 \pm 0.38$ & -- & 3 \\" in text
    assert r"\caption{All \& sundry. Percent}" in text and text.count(r"\begin{tabular}{lrrr}") == 1


def test_latex_has_commands_for_the_papers_symbols():
    text = Table("α of σ", ("λ_l", "L_pg^d"), (("✓", "–"),)).latex()
    assert r"\caption{$\alpha$ of $\sigma$. }" in text and r"$\lambda$\_l & L\_pg\^{}d \\" in text
    assert r"\checkmark & -- \\" in text and text.isascii()


def test_csv_can_be_computed_with():
    uniform = Table("", ("set", "AUROC"), (("a", MeanStd(97.654, 0.38)), ("b", MeanStd(1.0, 0.0))))
    rows = list(csv.reader(io.StringIO(uniform.csv())))
    assert rows == [["set", "AUROC", "AUROC std"], ["a", "97.654", "0.38"], ["b", "1.0", "0.0"]]
    assert '"b",1.0,0.0' in uniform.csv()  # texts stand in quotes, numbers don't


def test_the_three_files(tmp_path):
    TABLE.write(tmp_path / "alpha-0.9")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alpha-0.9.csv", "alpha-0.9.md", "alpha-0.9.tex"]


def test_mean_std_is_numpys_with_one_degree_of_freedom():
    values = [0.7, 0.9, 0.85]
    assert mean_std(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert mean_std([0.7]) == 0.7
