"""Figure 5 as a file: the photo first, then the maps, from Python and from the command line."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import DEMO_PHOTOS
from PIL import Image
from test_cli import ulsad

from ulsad.attention.concepts import Concept
from ulsad.attention.figure import draw
from ulsad.errors import InputError


def concept(row: int, column: int) -> Concept:
    attention = np.full((4, 8), 1e-4, np.float32)
    attention[row, column] = 1 - 31e-4
    return Concept(row, column, attention, attention > 0.5, 1.0)


def test_each_map_lies_over_the_photo_with_a_cross_at_its_query():
    photo = Image.new("RGB", (400, 100), (90, 90, 90))
    figure = draw(photo, [concept(0, 0), concept(3, 7)], ["left", "right"])
    first, *maps = figure.axes
    assert (np.asarray(first.images[0].get_array()) == 90).all()
    assert [axes.get_title() for axes in maps] == ["left", "right"]
    for axes, (x, y), bright in zip(maps, [(25, 12.5), (375, 87.5)], [(12, 25), (87, 375)], strict=True):
        assert axes.lines[0].get_xydata().tolist() == [[x, y]]
        pixels = np.asarray(axes.images[0].get_array()).astype(int)
        changed = np.abs(pixels - 90).sum(axis=2)
        assert changed[bright] > 100 and changed[50, 200] == 0
    draw(photo, [concept(0, 0)], [r"$\foo$ <50 %"]).savefig(io.BytesIO())  # text, not mathematics
    with pytest.raises(InputError, match="3 captions for 2 maps"):
        draw(photo, [concept(0, 0), concept(3, 7)], ["a", "b", "c"])


@pytest.mark.parametrize("size", [(8, 2000), (2000, 8)])
def test_a_thin_photo_makes_a_figure_that_fits_on_a_page(size):
    figure = draw(Image.new("RGB", size), [concept(0, 0)] * 12)
    width, height = figure.get_size_inches()
    assert width == 7 and 0.5 < height < 10
    figure.savefig(io.BytesIO())


def test_the_command_writes_print_quality(tmp_path):
    done = ulsad("attention", DEMO_PHOTOS[0], "--out", tmp_path / "five.png", "--concepts", "4")
    assert done.returncode == 0 and "4 most distinct concepts" in done.stdout
    with Image.open(tmp_path / "five.png") as figure:
        assert figure.width == 2100 and figure.info["dpi"][0] == pytest.approx(300, abs=0.1)
    done = ulsad("attention", DEMO_PHOTOS[0], "--out", tmp_path / "five.pdf", "--concepts", "1",
                 "--layers", "block1", "block3", "--temperature", "2")
    assert done.returncode == 0 and (tmp_path / "five.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(("arguments", "message"), [
    (["--concepts", "13"], "from 1 to 12"),
    *((["--temperature", wrong], "greater than 0") for wrong in ("0", "-1", "nan", "inf", "hot")),
    (["--layers", "block4", "block2"], "in this order"), (["--captions", *"abcde"], "5 captions for 4"),
    (["--out", "figure.doc"], "written as .pdf")])
def test_what_can_not_be_drawn_is_said(tmp_path, arguments, message):
    done = ulsad("attention", DEMO_PHOTOS[0], "--out", tmp_path / "five.pdf", *arguments)
    assert done.returncode == 2 and message in done.stderr
