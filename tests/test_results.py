"""The plots come out of the tables, and what the documents point to is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("assets/RESULTS.md", "assets/EXPERIMENTS.md", "assets/GUIDE.md", "ulsad/README.md",
             "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")


@pytest.fixture(scope="module")
def plots():
    spec = importlib.util.spec_from_file_location("plots", ROOT / "assets/results/draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_plot_is_drawn_from_the_tables(plots, tmp_path):
    files = plots.draw(tmp_path / "plots")
    assert {file.name for file in files} == {file.name for file in (ROOT / "assets/results").glob("*.svg")}
    assert all("</svg>" in file.read_text(encoding="utf-8") for file in files)


def test_cells_are_read_as_they_are_written(plots):
    table = plots.tables("# One\n\nwords\n\n| a | b |\n|---|--:|\n| x | **9.5 ± 0.5** |\n\n## Two\n")
    assert table == {"One": [{"a": "x", "b": "9.5 ± 0.5"}]}
    assert plots.value("9.5 ± 0.5") == (9.5, 9.0, 10.0)
    assert plots.value("93.4 [82.9, 99.8]") == (93.4, 82.9, 99.8)
    assert plots.value("–") is None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_exist(document):
    file = ROOT / document
    for target, heading in LINK.findall(file.read_text(encoding="utf-8")):
        there = (file.parent / target).resolve() if target else file
        assert there.exists(), target
        if heading:
            assert heading in headings(there), f"{target}#{heading}"


def headings(file: Path) -> set[str]:
    """The names by which GitHub knows the headings of a document."""
    found = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}
