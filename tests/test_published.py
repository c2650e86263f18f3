"""The paper's results as data, compared with the paper's own text."""

from __future__ import annotations

import math
import re
from statistics import fmean

import pytest
from conftest import shared

from ulsad.evaluation.published import ULSAD

FIRST_TABLE = {"MVTec AD": 6, "MVTec LOCO": 9, "MPDD": 12, "BTAD": 15, "VisA": 18}
NAME_IN_CAPTION = {"MVTec AD": "MVTec", "MVTec LOCO": "MVTecLOCO"}
METRICS = {"image_auroc": "Image AUROC", "pixel_auroc": "Pixel AUROC", "aupro": "AUPRO"}


def printed(lines: list[str], number: int) -> tuple[str, dict[str, tuple[float, float]]]:
    """A table's caption, and the mean and ± of its last column by the row's first cell."""
    start = next(i for i, line in enumerate(lines) if line.startswith(f"Table {number}: "))
    header = lines[start + 2].split("\t")
    assert header[-1].strip() == "ULSAD (Ours)"
    rows = {}
    for line in lines[start + 3 :]:
        cells = line.split("\t")
        if len(cells) != len(header):
            break
        mean, std = re.fullmatch(r"([\d.]+) \\pm ([\d.]+)", cells[-1].strip()).groups()
        rows[cells[0].lower()] = (float(mean), float(std))
    return lines[start], rows


@pytest.mark.parametrize("dataset", FIRST_TABLE)
def test_every_figure_is_the_papers(dataset):
    lines = shared("paper/000_f866febf39d8fcae.txt").read_text(encoding="utf-8").splitlines()
    for table, (metric, wording) in enumerate(METRICS.items(), start=FIRST_TABLE[dataset]):
        caption, rows = printed(lines, table)
        assert wording in caption and f" {NAME_IN_CAPTION.get(dataset, dataset)} dataset" in caption
        assert {name: getattr(row, metric) for name, row in ULSAD[dataset].items()} == rows


def test_every_category_is_there():
    assert {name: len(rows) - 1 for name, rows in ULSAD.items()} == {
        "MVTec AD": 15, "MVTec LOCO": 5, "MPDD": 6, "BTAD": 3, "VisA": 12}
    assert all("mean" in rows for rows in ULSAD.values())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dataset", FIRST_TABLE)
def test_means_follow_from_their_categories(dataset, metric):
    categories = [getattr(row, metric) for name, row in ULSAD[dataset].items() if name != "mean"]
    mean, std = getattr(ULSAD[dataset]["mean"], metric)
    assert mean == pytest.approx(fmean(figure.mean for figure in categories), abs=0.02)
    assert std == pytest.approx(math.sqrt(fmean(figure.std**2 for figure in categories)), abs=0.01)
