"""Figures 6 and 9 for any photos: each photo in a row, with its maps and, where it is known, its mask.

Every picture has exactly the dots that it is printed with, so nothing is scaled again between `overlay` and
the paper. Lengths are dots at `printing.RESOLUTION` unless a name or comment says inches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ulsad.detector import rendering
from ulsad.detector.criterion import Criterion
from ulsad.detector.printing import HEIGHT, LOWEST, RESOLUTION, TEXT, WIDTH, require_letters, wrapped
from ulsad.errors import InputError
from ulsad.method.calibration import AnomalyMaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a column can show, and its title.
COLUMNS = {"photo": "photo", "good": "good part", "mask": "ground truth", "local": "local map",
           "global": "global map", "combined": "combined map"}
MAPS = ("local", "global", "combined")
NARROWEST, NARROWEST_FIGURE = 0.5, 1.5  # inches, of a column and of the whole
SHORTEST = 2.0  # inches, of a page
LARGEST = 50.0  # inches, of a page: a poster; more takes all memory, or can't be written
MOST_PROPORTION = 1.5  # height of a picture to the width of its column; higher photos are drawn narrower
MOST = 60  # photos; their pictures are kept in memory until the figure is written
LONGEST_CAPTION = 500  # letters
MASK_SIDE = 1024  # px, at least as fine as a picture of three inches

_SMALL = TEXT - 1  # points, of the text at the colour bar
_LINE = {size: round(1.3 * size / 72 * RESOLUTION) for size in (TEXT, _SMALL)}  # height of a line of text
_GAP = 12  # between pictures
_AFTER_CAPTION = 20
_BAR_WIDTH, _BAR_HEIGHT = 4 * RESOLUTION, 30
_BAR_MARGIN = 60  # for half of the label at either end
_FEW_TICKS = 2 * RESOLUTION  # below this width of the bar, only its ends are labelled
_TICKS = {0.0: "≤ 0", 0.1: "0.1", 0.5: "0.5", 1.0: "≥ 1"}
_OUTLINE = (("black", 1.6, 0.6), ("#00e5ff", 0.8, 1.0))  # colour, points and opacity, as in the app


class Row(NamedTuple):
    """One photo of a figure."""

    photo: Image.Image  # RGB, of any size
    maps: AnomalyMaps
    caption: str = ""
    mask: np.ndarray | None = None  # bool (h, w) over the whole photo, at any resolution; None: not known
    good: Image.Image | None = None  # the most similar good photo


@dataclass(frozen=True)
class Look:
    """What a figure shows, and how large. Raises `InputError` for what can't be drawn."""

    columns: tuple[str, ...] = ("photo", *MAPS)
    titles: tuple[str, ...] | None = None  # above the columns; (): none; None: the usual ones
    opacity: float = rendering.OPACITY
    outline: bool = False  # lines where a map crosses its threshold
    bar: bool = True  # the colour scale, with what it means
    ignored: np.ndarray | None = None  # bool (s, s): pixels left out of the maps, drawn grey
    width: float = WIDTH  # inches
    height: float = HEIGHT  # inches, the maximum of a page

    def __post_init__(self) -> None:
        require_columns(self.columns)
        if self.titles and len(self.titles) != len(self.columns):
            raise InputError(f"There are {len(self.titles)} titles for {len(self.columns)} columns "
                             f"({', '.join(self.columns)}). Give one for each, or none at all.")
        if not 0 <= self.opacity <= 1:
            raise InputError(f"The opacity must be from 0 (only the photo) to 1 (only the map), not "
                             f"{self.opacity:g}.")
        least = max(NARROWEST_FIGURE, NARROWEST * len(self.columns))
        if self.width < least:
            raise InputError(f"A figure with the columns {', '.join(self.columns)} must be at least "
                             f"{least:g} inches wide, not {self.width:g}.")
        if max(self.width, self.height) > LARGEST:
            raise InputError(f"A figure can be at most {LARGEST:g} inches wide and high, not {self.width:g} "
                             f"× {self.height:g}.")
        if self.height < SHORTEST:
            raise InputError(f"A figure must be at least {SHORTEST:g} inches high, not {self.height:g}.")

    @property
    def column(self) -> int:
        """The width of one column."""
        return (round(self.width * RESOLUTION) - (len(self.columns) - 1) * _GAP) // len(self.columns)

    @property
    def block(self) -> int:
        """The width of all columns."""
        return len(self.columns) * (self.column + _GAP) - _GAP


class _Panel(NamedTuple):
    """A row ready to be placed."""

    pictures: list[Image.Image | None]  # of equal size; None where nothing is known
    outlines: list[list[np.ndarray]]  # of each picture, in its px
    caption: list[str]  # its lines
    size: tuple[int, int]  # width and height of a picture

    @property
    def height(self) -> int:
        """With the space below."""
        text = len(self.caption) * _LINE[TEXT]
        return self.size[1] + (text + _AFTER_CAPTION if text else 0) + _GAP


def require_columns(names: Sequence[str]) -> None:
    """Raise `InputError` unless a figure can have these columns."""
    if unknown := [name for name in names if name not in COLUMNS]:
        raise InputError(f"There is no column '{unknown[0]}'. Choose from {', '.join(COLUMNS)}.")
    if not names or len(set(names)) < len(names):
        raise InputError("Name at least one column, and each only once.")


def columns_for(has_global: bool, has_masks: bool) -> tuple[str, ...]:
    """All columns but `good` that can be drawn. Without a global branch the combined map is the local one."""
    return ("photo", *(("mask",) if has_masks else ()), *(MAPS if has_global else ("local",)))


def draw(rows: Iterable[Row], criterion: Criterion, look: Look) -> list[Figure]:
    """The figure, on as many pages as it takes. Rows are used up one by one, so they may be read meanwhile.

    The maps of `rows` must have been made under the criterion's α and β. Raises `InputError` for a row that
    lacks a map that the look wants, or whose caption is too long.
    """
    require_letters(look.titles or ())
    words = _words(criterion, look)
    titles = _titles(look)
    room = round(look.height * RESOLUTION) - _text_height(titles) - _bar_height(words)
    panels = [_panel(row, criterion, look, room) for row in rows]
    return [_page(shown, titles, words, look) for shown in _divided(panels, room)]


def _panel(row: Row, criterion: Criterion, look: Look, room: int) -> _Panel:
    if len(row.caption) > LONGEST_CAPTION:
        raise InputError(f"The caption '{row.caption[:40]} …' is too long. Shorten it to {LONGEST_CAPTION} "
                         "letters.")
    require_letters([row.caption])
    caption = wrapped(row.caption, look.block / RESOLUTION)
    text = len(caption) * _LINE[TEXT] + _AFTER_CAPTION + _GAP
    if room - text < LOWEST * RESOLUTION:
        raise InputError(f"The caption '{row.caption[:40]} …' leaves no room for its photo. Shorten it.")
    size = _picture_size(row.photo.size, look.column, room - text)
    photo = row.photo.resize(size, Image.Resampling.BICUBIC)
    pictures = [_picture(row, name, photo, look) for name in look.columns]
    lines = [_outlines(row.maps, name, size, criterion) if look.outline else [] for name in look.columns]
    return _Panel(pictures, lines, caption, size)


def _picture_size(photo: tuple[int, int], column: int, most: int) -> tuple[int, int]:
    """Width and height of a photo's pictures: as wide as the column, unless that makes them too high."""
    width, height = photo
    most = min(most, round(MOST_PROPORTION * column))
    least = min(round(LOWEST * RESOLUTION), most)
    scale = min(column / width, most / height)
    return max(round(scale * width), least // 2), max(round(scale * height), least)


def _picture(row: Row, name: str, photo: Image.Image, look: Look) -> Image.Image | None:
    if name == "photo":
        return photo
    if name == "good":
        return row.good and ImageOps.pad(row.good, photo.size, Image.Resampling.BICUBIC, "white")
    if name == "mask":
        return None if row.mask is None else _drawn_mask(row.mask, photo.size)
    square = _square(row.maps, name)
    if square is None:
        raise InputError("This model has no global branch. Leave the column 'global' out.")
    return rendering.overlay(photo, square, look.opacity, ignored=look.ignored)


def _drawn_mask(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """White on black; grey where a dot is partly inside, so that a thin defect does not vanish."""
    return Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).resize(
        size, Image.Resampling.BOX).convert("RGB")


def _square(maps: AnomalyMaps, name: str) -> np.ndarray | None:
    return {"local": maps.local, "global": maps.global_, "combined": maps.combined}[name]


def _threshold(criterion: Criterion, name: str) -> float:
    return {"local": criterion.local, "global": criterion.global_, "combined": criterion.review}[name]


def _outlines(
    maps: AnomalyMaps, name: str, size: tuple[int, int], criterion: Criterion
) -> list[np.ndarray]:
    """Where a map crosses its own threshold, in px of its picture."""
    square = _square(maps, name) if name in MAPS else None
    if square is None:
        return []
    scale = np.array(size) / square.shape[::-1]
    return [line * scale for line in rendering.outlines(square, _threshold(criterion, name))]


def _titles(look: Look) -> list[list[str]]:
    """The lines of every title."""
    titles = [COLUMNS[name] for name in look.columns] if look.titles is None else look.titles
    return [wrapped(title, look.column / RESOLUTION) for title in titles]


def _text_height(texts: Sequence[Sequence[str]]) -> int:
    return max(map(len, texts), default=0) * _LINE[TEXT]


def _words(criterion: Criterion, look: Look) -> list[str]:
    """What colours and lines mean, in lines; [] where it is not to be said."""
    shown = [name for name in look.columns if name in MAPS]
    if not look.bar or not shown:
        return []
    text = (f"anomaly score of a pixel: 0 and 0.1 are the quantiles α\xa0=\xa0{criterion.alpha:g} and "
            f"β\xa0=\xa0{criterion.beta:g} of good parts")
    lines = wrapped(text, look.block / RESOLUTION, _SMALL)
    if look.outline:
        above = ", ".join(f"{name}\xa0{_threshold(criterion, name):.2f}" for name in shown)
        lines += wrapped(f"lines: threshold of the map ({above})", look.block / RESOLUTION, _SMALL)
    return lines


def _bar_height(words: Sequence[str]) -> int:
    return _GAP + _BAR_HEIGHT + (1 + len(words)) * _LINE[_SMALL] if words else 0


def _divided(panels: list[_Panel], room: int) -> list[list[_Panel]]:
    """The rows of each page, as many as have room."""
    pages: list[list[_Panel]] = []
    left = 0
    for panel in panels:
        if panel.height > left:
            pages.append([])
            left = room
        pages[-1].append(panel)
        left -= panel.height
    return pages


def _page(panels: list[_Panel], titles: list[list[str]], words: list[str], look: Look) -> Figure:
    width, head = round(look.width * RESOLUTION), _text_height(titles)
    height = head + sum(panel.height for panel in panels) - _GAP + _bar_height(words)
    page = _Page(width, height)
    left = (width - look.block) // 2
    columns = [left + i * (look.column + _GAP) for i in range(len(look.columns))]
    for x, title in zip(columns, titles, strict=False):
        for i, line in enumerate(reversed(title), start=1):
            page.text(x + look.column / 2, head - i * _LINE[TEXT], line, TEXT)
    y = head
    for panel in panels:
        _place(page, panel, columns, look.column, y)
        for i, line in enumerate(panel.caption):
            page.text(width / 2, y + panel.size[1] + i * _LINE[TEXT], line, TEXT)
        y += panel.height
    if words:
        _place_bar(page, words, look, y)
    return page.figure


def _place(page: _Page, panel: _Panel, columns: Sequence[int], column: int, y: int) -> None:
    """A row's pictures, each in the middle of its column."""
    across, down = panel.size
    for x, picture, outlines in zip(columns, panel.pictures, panel.outlines, strict=True):
        if picture is None:
            page.text(x + column / 2, y + (down - _LINE[_SMALL]) / 2, "not known", _SMALL, "dimgrey")
        else:
            page.picture(x + (column - across) // 2, y, picture, outlines)


def _place_bar(page: _Page, words: list[str], look: Look, y: int) -> None:
    across = min(_BAR_WIDTH, look.block - 2 * _BAR_MARGIN)
    left = (page.width - across) // 2
    scores = np.linspace(rendering.LOW, rendering.HIGH, across)
    page.picture(left, y, Image.fromarray(np.tile(rendering.colours(scores), (_BAR_HEIGHT, 1, 1))))
    y += _BAR_HEIGHT
    for score, label in _TICKS.items():
        share = (score - rendering.LOW) / (rendering.HIGH - rendering.LOW)
        if across >= _FEW_TICKS or share in (0, 1):
            page.text(left + share * across, y, label, _SMALL)
    for i, line in enumerate(words, start=1):
        page.text(page.width / 2, y + i * _LINE[_SMALL], line, _SMALL)


class _Page:
    """A matplotlib figure that is filled in dots, from the upper left."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / RESOLUTION, height / RESOLUTION), dpi=RESOLUTION)

    def text(self, x: float, y: float, text: str, size: int, colour: str = "black") -> None:
        """One line, in the middle of a line's height that begins at y."""
        self.figure.text(x / self.width, 1 - (y + _LINE[size] / 2) / self.height, text, fontsize=size,
                         color=colour, ha="center", va="center", parse_math=False)

    def picture(
        self, x: int, y: int, picture: Image.Image, outlines: Sequence[np.ndarray] = ()
    ) -> None:
        """A picture dot by dot, with lines (k, 2) in its px over it."""
        across, down = picture.size
        axes = self.figure.add_axes((x / self.width, 1 - (y + down) / self.height, across / self.width,
                                     down / self.height))
        axes.axis("off")
        # "none" keeps the pixels as they are; the default would scale them, and colours would change.
        axes.imshow(picture, interpolation="none", aspect="auto", extent=(0, across, down, 0))
        style: dict[str, Any]
        for colour, points, opacity in _OUTLINE:
            style = {"color": colour, "linewidth": points, "alpha": opacity, "solid_joinstyle": "round"}
            for line in outlines:
                axes.plot(*line.T, **style)
        axes.set(xlim=(0, across), ylim=(down, 0))
