"""Damage a good photo on purpose, to see which branch reacts.

Positions are fractions of the photo's width and height, so they do not depend on the size at which the photo
is shown; boxes are (left, top, right, bottom).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ulsad.errors import InputError

Box = tuple[float, float, float, float]
Point = tuple[float, float]

SMALLEST = 4  # px, the minimum side of a region


def scratch(photo: Image.Image, points: Sequence[Point], width: float = 0.006) -> Image.Image:
    """Draw a bright line with a dark edge along the points; `width` is a fraction of the longer side."""
    pixels = [(x * photo.width, y * photo.height) for x, y in points]
    if len(pixels) < 2:
        raise InputError("Draw a line: press, move, release.")
    thickness = max(2, round(width * max(photo.size)))
    result = photo.copy()
    draw = ImageDraw.Draw(result)
    shadow = [(x + thickness / 2, y + thickness / 2) for x, y in pixels]
    draw.line(shadow, fill=(40, 40, 44), width=thickness, joint="curve")
    draw.line(pixels, fill=(235, 235, 238), width=thickness, joint="curve")
    return result


def erase(photo: Image.Image, box: Box) -> Image.Image:
    """Fill the box with a blend from its four edges (a Coons patch)."""
    left, top, right, bottom = _pixels(photo, box)
    pixels = np.asarray(photo).astype(np.float32)
    height, width = bottom - top, right - left
    above, below, before, after = _edges(pixels, left, top, right, bottom)
    down, across = (np.linspace(0, 1, length)[..., None] for length in (height, width))
    blends = []
    if height < photo.height:
        blends.append((1 - down[:, None]) * above + down[:, None] * below)
    if width < photo.width:
        blends.append((1 - across) * before[:, None] + across * after[:, None])
    pixels[top:bottom, left:right] = sum(blends) / len(blends)
    return Image.fromarray(pixels.round().astype(np.uint8))


def duplicate(photo: Image.Image, box: Box, to: Point) -> Image.Image:
    """Copy the region, centred at `to`."""
    return _pasted(photo, photo.crop(_pixels(photo, box)), to)


def move(photo: Image.Image, box: Box, to: Point) -> Image.Image:
    """Move the region, centred at `to`, and erase its old place."""
    return _pasted(erase(photo, box), photo.crop(_pixels(photo, box)), to)


def swap(photo: Image.Image, box: Box, to: Point) -> Image.Image:
    """Swap the region with one of the same size around `to`."""
    left, top, right, bottom = _pixels(photo, box)
    x, y = _corner(photo, (right - left, bottom - top), to)
    other = photo.crop((x, y, x + right - left, y + bottom - top))
    middle = ((left + right) / 2 / photo.width, (top + bottom) / 2 / photo.height)
    return _pasted(_pasted(photo, photo.crop((left, top, right, bottom)), to), other, middle)


def changed(photo: Image.Image, box: Box, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Change the region by a function that keeps its size."""
    left, top, right, bottom = _pixels(photo, box)
    middle = ((left + right) / 2 / photo.width, (top + bottom) / 2 / photo.height)
    return _pasted(photo, change(photo.crop((left, top, right, bottom))), middle)


def strokes(size: tuple[int, int], side: int, lines: Sequence[dict]) -> np.ndarray:
    """What `painted` does, as a mask of the photo's square, bool (side, side)."""
    scale = 4 * side / max(size)  # fine enough for any photo size
    height, width = (max(1, round(scale * length)) for length in size)
    mask = Image.fromarray(painted((height, width), lines))
    return np.asarray(mask.convert("L").resize((side, side), Image.Resampling.BOX)) > 127


def painted(size: tuple[int, int], lines: Sequence[dict]) -> np.ndarray:
    """Lines painted on a photo as a mask of its `size` (height, width), bool (height, width).

    Each has `points` and a `width`, a fraction of the photo's longer side; a single point is a dot.
    """
    height, width = size
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for line in lines:
        pixels = [(x * width, y * height) for x, y in line["points"]]
        radius = max(0.5, line["width"] * max(width, height) / 2)
        draw.line(pixels, fill=255, width=max(1, round(2 * radius)))
        for x, y in pixels:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return np.asarray(mask) > 127


def _pixels(photo: Image.Image, box: Box) -> tuple[int, int, int, int]:
    x0, x1 = sorted(round(min(max(x, 0), 1) * photo.width) for x in (box[0], box[2]))
    y0, y1 = sorted(round(min(max(y, 0), 1) * photo.height) for y in (box[1], box[3]))
    if min(x1 - x0, y1 - y0) < SMALLEST:
        raise InputError("The region is too small. Draw a rectangle around a part.")
    if (x1 - x0, y1 - y0) == photo.size:
        raise InputError("The region is the whole photo. Draw a smaller one.")
    return x0, y0, x1, y1


def _edges(pixels: np.ndarray, left: int, top: int, right: int, bottom: int) -> list[np.ndarray]:
    """The pixel rows and columns just outside: above, below, left, right; at the border, the opposite one."""
    height, width = pixels.shape[:2]
    above, below = max(top - 1, 0), min(bottom, height - 1)
    before, after = max(left - 1, 0), min(right, width - 1)
    rows = (above if top > 0 else below, below if bottom < height else above)
    columns = (before if left > 0 else after, after if right < width else before)
    return [*(pixels[row, left:right] for row in rows), *(pixels[top:bottom, column] for column in columns)]


def _corner(photo: Image.Image, size: tuple[int, int], middle: Point) -> tuple[int, int]:
    """Top left corner of a region of this size, centred as close to `middle` as the photo allows."""
    left, top = (round(min(max(share * whole - part / 2, 0), whole - part))
                 for share, whole, part in zip(middle, photo.size, size, strict=True))
    return left, top


def _pasted(photo: Image.Image, region: Image.Image, to: Point) -> Image.Image:
    """Paste with soft edges, so that the edge itself does not look like a defect."""
    soft = max(1, min(region.size) // 20)
    mask = Image.new("L", region.size)
    mask.paste(255, (soft, soft, region.width - soft, region.height - soft))
    result = photo.copy()
    result.paste(region, _corner(photo, region.size, to), mask.filter(ImageFilter.GaussianBlur(soft / 2)))
    return result
