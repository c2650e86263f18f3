"""Figures 6 and 9 as files: the pictures are the app's, dot by dot, and everything lies inside the page."""

from __future__ import annotations

import io
import re
import shutil
import struct
import zlib
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import map_coordinates
from test_cli import ulsad

from ulsad import InputError, Ulsad
from ulsad.detector import map_figure, printing, rendering
from ulsad.detector.criterion import Criterion, packed
from ulsad.detector.map_figure import Look, Row, draw
from ulsad.photos.images import read_image
from ulsad.runs.marks import Mark, beside

SWAPPED = DEMO_PHOTOS[3]  # both branches find it
COLUMN = (2100 - 3 * 12) // 4  # dots, of four columns with gaps of 12 on seven inches


@pytest.fixture(scope="module")
def demo() -> Ulsad:
    return Ulsad.load(DEMO_MODEL)


@pytest.fixture(scope="module")
def criterion(demo) -> Criterion:
    return Criterion.suggested(demo.calibration, 0.85, 0.99)


@pytest.fixture(scope="module")
def row(demo, criterion) -> Row:
    maps = demo.predict(SWAPPED).maps(criterion.alpha, criterion.beta, criterion.combine)
    return Row(read_image(SWAPPED), maps)


def expected(row: Row, size: tuple[int, int]) -> list[np.ndarray]:
    """Photo and maps of one row, coloured as everywhere else."""
    photo = row.photo.resize(size, Image.Resampling.BICUBIC)
    squares = (row.maps.local, row.maps.global_, row.maps.combined)
    return [np.asarray(photo), *(np.asarray(rendering.overlay(photo, square, 0.6)) for square in squares)]


def in_svg(file: Path) -> list[np.ndarray]:
    """The embedded pictures, in their order."""
    found = re.findall(r'<image xlink:href="data:image/png;base64,([^"]+)"[^>]*transform="matrix\((.*?)\)"',
                       file.read_text(encoding="utf-8"))
    assert all(float(how.split()[3]) > 0 for _, how in found)  # none stands on its head
    return [np.asarray(Image.open(io.BytesIO(b64decode(data))).convert("RGB")) for data, _ in found]


def in_pdf(file: Path) -> list[np.ndarray]:
    """The embedded pictures of three colours, as drawn: their streams are those of a PNG, and the page draws
    them with a negative height."""
    found = re.findall(rb"<<([^<>]*/Subtype /Image.*?)>>\s*stream\r?\n(.*?)\r?\nendstream", file.read_bytes(),
                       re.DOTALL)
    pictures = []
    for head, stream in found:
        assert b"/DCTDecode" not in head  # nothing is lost
        if b"/ColorSpace /DeviceRGB" in head:
            width, height = (int(re.search(rb"/%s (\d+)" % name, head)[1]) for name in (b"Width", b"Height"))
            chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", stream),
                      (b"IEND", b""))
            png = b"\x89PNG\r\n\x1a\n" + b"".join(
                struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                for kind, data in chunks)
            pictures.append(np.asarray(Image.open(io.BytesIO(png)))[::-1])
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", file.read_bytes(), re.DOTALL)
    drawn = re.findall(rb"[\d.]+ 0 0 (-?[\d.]+) 0 [\d.]+ cm /I\d+ Do", b"".join(map(unpacked, streams)))
    assert len(drawn) >= len(pictures) and all(float(height) < 0 for height in drawn)
    return pictures


def unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_the_pictures_are_the_photo_and_its_maps_dot_by_dot(row, criterion, tmp_path):
    size = COLUMN, round(COLUMN * 480 / 640)
    pages = draw([row], criterion, Look())
    files = {suffix: printing.write(tmp_path / f"figure{suffix}", *pages)[0] for suffix in printing.FORMATS}
    wanted = expected(row, size)
    for found in (in_svg(files[".svg"]), in_pdf(files[".pdf"])):
        assert len(found) >= 4
        for picture, embedded in zip(wanted, found):
            np.testing.assert_array_equal(embedded, picture)
    with Image.open(files[".png"]) as opened:
        png = np.asarray(opened.convert("RGB"))
        assert opened.info["dpi"][0] == pytest.approx(300, abs=0.1)
    assert png.shape[1] == 2100
    top = next(y for y in range(len(png)) if (png[y, :size[0]] == wanted[0][0]).all())
    for i, picture in enumerate(wanted):
        left = i * (COLUMN + 12)
        np.testing.assert_array_equal(png[top:top + size[1], left:left + size[0]], picture)


def test_the_bar_has_the_colours_of_the_scores_below_it(row, criterion):
    page, = draw([row], criterion, Look())
    bar = page.axes[-1]
    colours = np.asarray(bar.images[0].get_array())
    left, right = (share * 2100 for share in bar.get_position().intervalx)
    for text in page.texts:
        if text.get_text() in ("≤ 0", "0.1", "0.5", "≥ 1"):
            score = float(text.get_text().lstrip("≤≥ "))
            at = text.get_position()[0] * 2100 - left
            assert at / (right - left) == pytest.approx(score, abs=1e-3)
            here = colours[0, min(int(at), colours.shape[1] - 1)].astype(int)
            assert np.abs(here - rendering.colours(np.array(score))).max() <= 2
    words = " ".join(text.get_text().replace("\xa0", " ") for text in page.texts)
    assert "α = 0.85 and β = 0.99" in words and "threshold" not in words
    assert len(draw([row], criterion, Look(bar=False))[0].axes) == 4


def test_lines_run_where_a_map_crosses_its_own_threshold(row, criterion):
    page, = draw([row], criterion, Look(outline=True))
    photo, *maps = page.axes[:4]
    assert not photo.lines
    squares = ((row.maps.local, criterion.local), (row.maps.global_, criterion.global_),
               (row.maps.combined, criterion.review))
    for axes, (square, threshold) in zip(maps, squares, strict=True):
        assert axes.lines
        scale = np.array([256 / COLUMN, 256 / round(COLUMN * 480 / 640)])
        x, y = (np.concatenate([line.get_xydata() for line in axes.lines]) * scale - 0.5).T
        np.testing.assert_allclose(map_coordinates(square.astype(float), [y, x], order=1), threshold,
                                   atol=1e-4)
    words = " ".join(text.get_text().replace("\xa0", " ") for text in page.texts)
    assert f"combined {criterion.review:.2f}" in words


def test_a_mask_is_white_where_the_defect_is_and_unknown_ones_are_named(row, criterion):
    mask = np.zeros((400, 300), bool)
    mask[100:200, 150:] = True  # an eighth of it
    columns = ("photo", "mask")
    page, = draw([row._replace(mask=mask), row], criterion, Look(columns, bar=False))
    photo, drawn, _ = (np.asarray(axes.images[0].get_array()) for axes in page.axes)
    assert drawn.shape == photo.shape and (drawn > 127).mean() == pytest.approx(1 / 8, abs=0.005)
    height, width = drawn.shape[:2]
    assert drawn[round(0.375 * height), round(0.75 * width)].min() == 255
    assert drawn[round(0.375 * height), round(0.25 * width)].max() == 0
    assert [text.get_text() for text in page.texts].count("not known") == 1


def texts_and_pictures(page) -> tuple[list, list]:
    renderer = FigureCanvasAgg(page).get_renderer()
    return ([text.get_window_extent(renderer) for text in page.texts],
            [axes.get_window_extent(renderer) for axes in page.axes])


@pytest.mark.parametrize("width", [7, 3.3])
def test_nothing_leaves_the_page_or_lies_over_something_else(row, criterion, width):
    sizes = [(640, 480), (8, 2000), (2000, 8), (3, 3), (900, 1300), (640, 480), (640, 480)]
    rows = [row._replace(photo=Image.new("RGB", size), caption=" ".join(["a long caption"] * (4 * i % 11)))
            for i, size in enumerate(sizes)]
    titles = ("photo", "what the local branch finds unusual", "Donaudampfschifffahrtsgesellschaft", "d")
    pages = draw(rows, criterion, Look(titles=titles, outline=True, width=width))
    assert sum(len(page.axes) - 1 for page in pages) == 4 * len(rows)
    for page in pages:
        assert page.get_size_inches()[0] == pytest.approx(width) and page.get_size_inches()[1] <= 9
        texts, pictures = texts_and_pictures(page)
        wide, high = page.canvas.get_width_height()
        for box in texts + pictures:
            assert min(box.x0, box.y0) >= -1 and box.x1 <= wide + 1 and box.y1 <= high + 1
        for i, picture in enumerate(pictures):
            assert min(picture.height, picture.width) >= 29.9
            assert not any(picture.overlaps(other) for other in texts + pictures[:i])
        for i, text in enumerate(texts):
            assert not any(text.overlaps(other.padded(-2)) for other in texts[:i])
        assert min(text.get_fontsize() for text in page.texts) >= 7  # points


def test_more_photos_make_more_pages_and_the_same_figure_is_the_same_file(row, criterion, tmp_path):
    pages = draw([row] * 9, criterion, Look())
    assert [len(page.axes) // 4 for page in pages] == [6, 3]  # 1.33 inches each, and the bar
    assert printing.write(tmp_path / "a.pdf", *pages) == [tmp_path / "a.pdf"]
    assert (tmp_path / "a.pdf").read_bytes().count(b"/Type /Page ") == 2
    assert printing.write(tmp_path / "a.PNG", *pages) == [tmp_path / "a-1.PNG", tmp_path / "a-2.PNG"]
    one = draw([row], criterion, Look(outline=True))
    for suffix in (".pdf", ".svg"):
        contents = {printing.write(tmp_path / f"{name}{suffix}", *one)[0].read_bytes() for name in "bc"}
        assert len(contents) == 1
    assert not list(tmp_path.glob(".*"))  # nothing half written is left


def test_text_stays_text(row, criterion, tmp_path):
    one = draw([row._replace(caption=r"$\alpha$ <50 %")], criterion, Look())
    printing.write(tmp_path / "a.svg", *one)
    assert r"$\alpha$ &lt;50 %" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    pdf = printing.write(tmp_path / "a.pdf", *one)[0].read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf


@pytest.mark.parametrize("width", [0.3, 1, 4])
def test_lines_of_text_are_as_wide_as_they_may_be(width):
    text = "A few words, Donaudampfschifffahrtsgesellschaft and\nα\xa0=\xa00.9 " * 3
    lines = printing.wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    figure = Figure(dpi=300)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for line in lines:
        drawn = figure.text(0, 0, line, fontsize=8).get_window_extent(renderer)
        assert drawn.width / 300 <= width + 0.02
    if width > 1:
        assert all("α\xa0=\xa00.9" in line for line in lines if "α" in line)


def test_what_the_model_ignores_is_grey_as_in_the_app(row, criterion):
    ignored = np.zeros((256, 256), bool)
    ignored[:, :128] = True
    page, = draw([row], criterion, Look(("combined",), opacity=1, bar=False, ignored=ignored))
    drawn = np.asarray(page.axes[0].images[0].get_array()).astype(float)
    height, width = drawn.shape[:2]
    photo = np.asarray(row.photo.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    clear = np.s_[:, : width // 2 - 10]
    coloured = rendering.overlay(row.photo.resize((width, height), Image.Resampling.BICUBIC),
                                 row.maps.combined, 1)
    grey = 128 * 200 / 255 + np.asarray(coloured).astype(float) * 55 / 255
    np.testing.assert_allclose(drawn[clear], grey[clear], atol=2)
    assert (photo[clear] != drawn[clear]).any()
    np.testing.assert_array_equal(drawn[:, width // 2 + 10:], np.asarray(coloured)[:, width // 2 + 10:])


@pytest.mark.parametrize(("look", "message"), [
    ({"columns": ("photo", "heat")}, "no column 'heat'"), ({"columns": ()}, "at least one column"),
    ({"columns": ("local", "local")}, "only once"), ({"titles": ("a", "b")}, "2 titles for 4 columns"),
    ({"opacity": 1.5}, "from 0"), ({"opacity": float("nan")}, "from 0"),
    ({"width": 1.9}, "at least 2 inches wide"), ({"height": 1}, "at least 2 inches high"),
    ({"width": 1e6}, "at most 50 inches"), ({"height": 51}, "at most 50 inches")])
def test_a_look_that_can_not_be_drawn_is_refused(look, message):
    with pytest.raises(InputError, match=message):
        Look(**look)


def test_letters_that_the_font_lacks_and_endless_captions_are_refused(row, criterion):
    with pytest.raises(InputError, match="has no '日本'"):
        draw([row._replace(caption="日本 part")], criterion, Look())
    with pytest.raises(InputError, match="Shorten it to 500"):
        draw([row._replace(caption="endless " * 200_000)], criterion, Look())
    with pytest.raises(InputError, match="leaves no room"):
        draw([row._replace(caption="words " * 80)], criterion, Look(("photo",), width=1.5, height=2))


# --- the command


@pytest.fixture
def tray(demo_set, tmp_path) -> Path:
    return shutil.copytree(demo_set, tmp_path / "tray")


def test_the_command_draws_the_photos_of_a_data_set_with_their_masks(tray, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(map_figure, "draw", lambda rows, *how: drawn.append(list(rows)) or draw(
        drawn[-1], *how))
    done = ulsad("figure", DEMO_MODEL, tray, "--out", tmp_path / "figure.pdf", "--names")
    assert done.returncode == 0, done.stderr
    tests = [*sorted((tray / "test/good").iterdir()), *sorted((tray / "test/logical_anomalies").iterdir()),
             *sorted((tray / "test/structural_anomalies").iterdir())]
    assert [row.caption for row in drawn[0]] == [path.relative_to(tray).as_posix() for path in tests]
    assert f"{len(tests)} photos on 2 pages" in done.stdout and "α = 0.9, β = 0.995" in done.stdout
    for row, path in zip(drawn[0], tests, strict=True):
        folder = tray / "ground_truth" / path.parent.name / path.stem
        share = sum((np.asarray(Image.open(file).convert("L")) > 0).mean() for file in folder.glob("*"))
        assert row.mask.mean() == pytest.approx(share, abs=1e-3)
        assert (share > 0) == (path.parent.name != "good")
        assert row.photo.size == (640, 480)


def test_the_command_takes_the_strangest_under_its_alpha_and_beta(demo, tmp_path):
    done = ulsad("figure", DEMO_MODEL, *DEMO_PHOTOS, "--strangest", "2", "--alpha", "0.8", "--beta", "0.9",
                 "--columns", "combined", "--titles", "--no-bar", "--names", "--width", "3",
                 "--out", tmp_path / "a.svg")
    assert done.returncode == 0, done.stderr
    maps = {photo: demo.predict(photo).maps(0.8, 0.9) for photo in DEMO_PHOTOS}
    first, second = sorted(maps, key=lambda photo: -maps[photo].score)[:2]
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text.index(first.name) < text.index(second.name) and text.count("<text ") == 2
    for picture, photo in zip(in_svg(tmp_path / "a.svg"), (first, second), strict=True):
        fitted = read_image(photo).resize(picture.shape[1::-1], Image.Resampling.BICUBIC)
        wanted = np.asarray(rendering.overlay(fitted, maps[photo].combined, 0.6)).astype(int)
        assert np.abs(picture - wanted).max() <= 2  # several photos at once round differently


def test_the_command_finds_masks_painted_with_a_mark_and_in_a_folder(demo, tmp_path):
    model, out = Path(shutil.copy(DEMO_MODEL, tmp_path / "m.safetensors")), tmp_path / "a.svg"
    photo = Path(shutil.copy(SWAPPED, tmp_path / "part.jpg"))
    painted = np.zeros((480, 640), bool)
    painted[:240] = True
    marks = beside(model)
    marks.add(Mark(demo.predict(photo).digest, photo.name, False, "", 0.5, "m", "", "now"), photo, painted)
    assert ulsad("figure", model, photo, "--columns", "mask", "--out", out).returncode == 0
    mask, = in_svg(out)
    assert mask[: len(mask) // 2 - 1].min() == 255 and mask[len(mask) // 2 + 1:].max() == 0
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.where(painted[::-1], 9, 0).astype(np.uint8)).save(tmp_path / "masks/part_mask.png")
    assert ulsad("figure", model, photo, "--columns", "mask", "--masks", tmp_path / "masks", "--out",
                 out).returncode == 0
    mask, = in_svg(out)
    assert mask[: len(mask) // 2 - 1].max() == 0 and mask[len(mask) // 2 + 1:].min() == 255


def test_a_saved_criterion_brings_its_thresholds_and_ignored_areas(demo, tmp_path, monkeypatch):
    ignored = np.zeros((256, 256), bool)
    ignored[:60] = True
    strict = replace(Criterion.suggested(demo.calibration, 0.8, 0.9), review=0.5, fail=0.6,
                     ignored=packed(ignored))
    demo.with_criterion("strict", strict).save(tmp_path / "m.safetensors")
    seen = []
    monkeypatch.setattr(map_figure, "draw", lambda rows, *how: seen.append(how) or draw(rows, *how))
    done = ulsad("figure", tmp_path / "m.safetensors", SWAPPED, "--criterion", "strict", "--outline", "--out",
                 tmp_path / "a.svg")
    assert done.returncode == 0, done.stderr
    (used, look), = seen
    assert used == strict and (look.ignored == ignored).all()
    assert "combined\xa00.50" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_a_model_without_a_global_branch(local_detector, good_photos, tmp_path):
    local_detector.save(tmp_path / "m.safetensors")
    photo = next(good_photos.iterdir())
    arguments = ("figure", tmp_path / "m.safetensors", photo, "--out", tmp_path / "a.svg", "--no-bar")
    done = ulsad(*arguments)
    assert done.returncode == 0 and "were used to make the model" in done.stderr
    assert len(in_svg(tmp_path / "a.svg")) == 3  # a photo of its own training: photo, empty mask, local
    done = ulsad(*arguments, "--columns", "photo,global")
    assert done.returncode == 2 and "no global branch. Leave global out" in done.stderr


def test_an_unreadable_photo_is_left_out_unless_that_shifts_the_captions(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_text("no photo")
    shutil.copy(SWAPPED, tmp_path / "photos/b.jpg")
    arguments = ("figure", DEMO_MODEL, tmp_path / "photos", "--out", tmp_path / "a.svg")
    done = ulsad(*arguments)
    assert done.returncode == 0 and "1 photo on 1 page," in done.stdout and "left out: " in done.stderr
    for more in (("--captions", "b"), ()):
        if not more:
            (tmp_path / "photos/b.jpg").unlink()
        done = ulsad(*arguments, *more)
        assert done.returncode == 2 and "a.png" in done.stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (["--out", "figure.doc"], "written as .pdf"), (["--out", "nowhere/a.pdf"], "Create it first"),
    (["--columns", "photo,heat"], "no column 'heat'"), (["--columns", "mask"], "No mask is known"),
    (["--captions", *"abcdefghi"], "9 captions for 8"), (["--captions", "a", "--names"], "exclude each"),
    (["--columns", "photo,local", "--titles", "a"], "1 titles for 2"), (["--titles", "a"], "1 titles for 4"),
    (["--captions", "日"], "has no '日'"), (["--masks", "ulsad"], "holds no mask"),
    (["--alpha", "0.99", "--beta", "0.9"], "α must be below β"),
    (["--criterion", "lax"], "no criterion 'lax'"),
    (["--criterion", "lax", "--alpha", "0.5"], "has its own α and β"),
    (["--width", "1"], "at least 2 inches wide"), (["--opacity", "2"], "from 0"),
    (["--strangest", "0"], "1 or more"), (["--out", "assets/demo/x.png"], "draw the figure as a photo"),
    (["--masks", "nowhere"], "nowhere is not a folder")])
def test_what_can_not_be_drawn_is_said(tmp_path, arguments, message):
    done = ulsad("figure", DEMO_MODEL, "assets/demo", "--out", tmp_path / "a.pdf", *arguments)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_photos_are_not_written_over_and_not_too_many(tmp_path):
    photo = tmp_path / "a.png"
    read_image(SWAPPED).resize((40, 30)).save(photo)
    before = photo.read_bytes()
    done = ulsad("figure", DEMO_MODEL, photo, "--out", photo)
    assert done.returncode == 2 and "is one of the photos" in done.stderr and photo.read_bytes() == before
    (tmp_path / "folder.pdf").mkdir()
    done = ulsad("figure", DEMO_MODEL, photo, "--out", tmp_path / "folder.pdf")
    assert done.returncode == 2 and "is a folder" in done.stderr and "drawing" not in done.stderr
    page = tmp_path / "shot-1.png"
    shutil.copy(photo, page)
    done = ulsad("figure", DEMO_MODEL, photo, page, "--out", tmp_path / "shot.png")
    assert done.returncode == 2 and "shot-1.png is one of the photos" in done.stderr
    page.unlink()
    for i in range(60):
        shutil.copy(photo, tmp_path / f"{i}.png")
    done = ulsad("figure", DEMO_MODEL, tmp_path, "--out", tmp_path / "a.pdf")
    assert done.returncode == 2 and "up to 60 photos, not 61" in done.stderr
