"""Tables that are opened in a spreadsheet run nothing, and programs read what was written."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from ulsad import Ulsad
from ulsad.__main__ import main
from ulsad.detector import spreadsheet
from ulsad.evaluation.evaluation import evaluate, write_scores
from ulsad.evaluation.tables import Table
from ulsad.photos.datasets import LabelledPhoto
from ulsad.photos.images import find_images

NAMES = ["=cmd|' !A1.jpg", "+1.jpg", "-1.jpg", "@sum(a1).jpg", "\ttab.jpg", "\rreturn.jpg", "＝1.jpg",
         "'=1.jpg", "a;=1+1.jpg", 'a",=1.jpg', "деталь.jpg", "部品.jpg", "parça é.jpg",
         os.fsdecode(b"b\xff.jpg"), "plain.jpg"]


def cells_of(file: Path, delimiter: str) -> list[str]:
    """What a spreadsheet makes of the file."""
    with open(file, newline="", encoding="utf-8-sig", errors="surrogateescape") as opened:
        return [cell for row in csv.reader(opened, delimiter=delimiter) for cell in row]


def is_run(cell: str) -> bool:
    """Whether a spreadsheet takes a cell for a formula rather than a text or a number."""
    try:
        float(cell)
        return False
    except ValueError:
        return cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_no_name_runs_and_every_name_comes_back(tmp_path, name, delimiter):
    file = tmp_path / "t.csv"
    with spreadsheet.Writer(file) as table:
        table.rows([["path", "score"], [name, -0.25], [name, 1e-6]])
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert not any(map(is_run, cells_of(file, delimiter)))
    assert spreadsheet.read(file) == [["path", "score"], [name, -0.25], [name, 1e-6]]
    by_hand = [row[0].removeprefix("'") for row in csv.reader(  # as assets/GUIDE.md says
        file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines())]
    assert by_hand[1:] == [name] * 2 or "\r" in name


def test_every_table_is_written_that_way(detector: Ulsad, demo_set, tmp_path):
    photos = tmp_path / "photos"
    (photos / "good").mkdir(parents=True)
    for name, source in zip(("=1+1.png", "деталь.png"), find_images(demo_set / "test"), strict=False):
        os.link(source, photos / "good" / name)
    os.link(source, photos / "=2.png")
    (photos / "=broken.png").write_text("no photo")
    detector.save(tmp_path / "m.safetensors")
    predict = ["predict", str(tmp_path / "m.safetensors"), str(photos), "--out", str(tmp_path / "out")]
    assert main(predict) == 0
    paths = find_images(photos / "good")
    write_scores(tmp_path / "e.csv", evaluate(detector, [LabelledPhoto(path, "good") for path in paths]
                                              + [LabelledPhoto(photos / "=2.png", "@kind")]))
    Table("", ("=a",), (("=b",),)).write(tmp_path / "t")
    tables = [tmp_path / "out/scores.csv", tmp_path / "out/skipped.csv", tmp_path / "e.csv",
              tmp_path / "t.csv"]
    for file in tables:
        assert file.read_bytes().startswith(b"\xef\xbb\xbf"), file
        assert not any(is_run(cell) for cell in cells_of(file, ",")), file
    assert [row[0] for row in spreadsheet.read(tables[0])] == [
        "path", "=2.png", "good/=1+1.png", "good/деталь.png"]
    assert spreadsheet.read(tables[1])[1][0] == "=broken.png"
