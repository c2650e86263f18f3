"""A few photos of each slot with their names, as one picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PICTURE = 120  # px, the longer side of a photo
_SHOWN, _COLUMNS = 12, 6
_GAP, _CAPTION, _TITLE = 12, 18, 34  # px
_WIDTH = _COLUMNS * (PICTURE + _GAP) + _GAP


class Shown(NamedTuple):
    """A photo, at most `PICTURE` px long, and the name below it."""

    name: str
    picture: Image.Image | None  # None: it can't be read


def evenly_spaced(photos: int) -> list[int]:
    """Indices of the photos to show, at most twelve of `photos`."""
    return np.linspace(0, photos - 1, min(_SHOWN, photos)).astype(int).tolist()


def contact_sheet(slots: dict[str, list[Shown]]) -> Image.Image:
    """Every slot's photos under its title."""
    bands = [_band(title, shown) for title, shown in slots.items()]
    sheet = Image.new("RGB", (_WIDTH, sum(band.height for band in bands) + _GAP), "white")
    for i, band in enumerate(bands):
        sheet.paste(band, (0, sum(above.height for above in bands[:i])))
    return sheet


def _band(title: str, shown: list[Shown]) -> Image.Image:
    tallest = max((item.picture.height for item in shown if item.picture), default=_CAPTION)
    row, rows = tallest + _CAPTION + _GAP, -(-len(shown) // _COLUMNS)
    band = Image.new("RGB", (_WIDTH, _TITLE + rows * row), "white")
    draw, small = ImageDraw.Draw(band), ImageFont.load_default(11)
    draw.text((_GAP, 10), title, "black", ImageFont.load_default(15))
    for i, (name, picture) in enumerate(shown):
        x = _GAP + i % _COLUMNS * (PICTURE + _GAP) + PICTURE // 2
        bottom = _TITLE + i // _COLUMNS * row + tallest
        if picture:
            band.paste(picture, (x - picture.width // 2, bottom - picture.height))
        else:
            draw.text((x, bottom), "can't be read", (176, 32, 32), small, "md")
        draw.text((x, bottom + 4), _shortened(name, small), (90, 90, 90), small, "ma")
    return band


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A name shortened in the middle to fit under a picture."""
    shortened, kept = name, len(name)
    while font.getlength(shortened) > PICTURE:
        kept -= 1
        shortened = f"{name[:kept - kept // 2]}…{name[len(name) - kept // 2:]}"
    return shortened
