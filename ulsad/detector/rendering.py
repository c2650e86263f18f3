"""Coloured maps. One fixed scale for all photos: equal scores have equal colours."""

from __future__ import annotations

from functools import cache

import numpy as np
from contourpy import contour_generator
from PIL import Image, ImageDraw, ImageFont

from ulsad.detector.prediction import stretch
from ulsad.method.calibration import AnomalyMaps

# Normalised scores are shown from 0 (the α quantile of held-out good pixels) to 1, as in the paper.
LOW, HIGH = 0.0, 1.0
OPACITY = 0.6  # of the colours over a photo
TITLES = ("photo", "local: patches", "global: whole photo", "combined")
_GREY = (128, 128, 128, 200)  # of ignored pixels, with its opacity


@cache
def _palette() -> np.ndarray:
    """uint8 (256, 3): a perceptually uniform palette that also works for colour-blind readers."""
    from matplotlib import colormaps

    return (colormaps["plasma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def colours(scores: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Scores of any shape → uint8 (…, 3); values outside [low, high] take the end colours."""
    share = np.clip((scores - low) / max(high - low, 1e-12), 0, 1)
    return _palette()[(share * 255).astype(np.uint8)]


def strength(scores: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Opacity of the colour in [0, 1]: 0 up to `low`, 1 from a tenth of the scale above."""
    return np.clip(10 * (scores - low) / max(high - low, 1e-12), 0, 1)


def overlay(
    photo: Image.Image, square: np.ndarray, opacity: float, low: float = LOW, high: float = HIGH,
    ignored: np.ndarray | None = None,
) -> Image.Image:
    """A square map stretched over a photo.

    Scores up to `low` leave the photo unchanged; over the next tenth of the scale the colours fade in, up to
    `opacity`, where 1 hides the photo and 0 hides the colours. Pixels `ignored`, bool (s, s), turn grey.
    """
    size = photo.height, photo.width
    scores = stretch(square, size)
    mask = Image.fromarray((255 * opacity * strength(scores, low, high)).astype(np.uint8))
    coloured = Image.composite(Image.fromarray(colours(scores, low, high)), photo, mask)
    if ignored is None:
        return coloured
    mask = Image.fromarray((_GREY[3] * opacity * stretch(ignored, size)).astype(np.uint8))
    return Image.composite(Image.new("RGB", photo.size, _GREY[:3]), coloured, mask)


def heat(
    square: np.ndarray, low: float = LOW, high: float = HIGH, ignored: np.ndarray | None = None
) -> Image.Image:
    """A square map alone, to lay over a photo: a picture of the same size with a palette. 255 colours have
    the `strength` of their score as opacity; the last, grey, is for ignored pixels."""
    share = np.clip((square - low) / max(high - low, 1e-12), 0, 1)
    indices = (share * 254).astype(np.uint8)
    if ignored is not None:
        indices[ignored] = 255
    picture = Image.fromarray(indices)
    picture.putpalette(_heat_palette(), "RGBA")
    return picture


@cache
def _heat_palette() -> bytes:
    shares = np.linspace(0, 1, 255)
    rows = np.column_stack([colours(shares, 0, 1), (255 * strength(shares, 0, 1)).astype(np.uint8)])
    return np.vstack([rows, [_GREY]]).astype(np.uint8).tobytes()


def contour(square: np.ndarray, level: float) -> str:
    """The lines of `outlines` as an SVG path; "" where there are none."""
    return "".join("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in line) for line in outlines(square, level))


def outlines(square: np.ndarray, level: float) -> list[np.ndarray]:
    """The lines where a map (s, s) crosses a level, each as (k, 2): x and y in px of the map.

    The centre of the first pixel lies at (0.5, 0.5).
    """
    return [np.asarray(line) + 0.5 for line in contour_generator(z=square).lines(level)]


def views(photo: Image.Image, maps: AnomalyMaps, opacity: float = OPACITY) -> list[Image.Image]:
    """The photo, and the photo under its local, global and combined map; a missing global map is grey."""
    squares = (maps.local, maps.global_, maps.combined)
    missing = Image.new("RGB", photo.size, (128, 128, 128))
    return [photo] + [missing if square is None else overlay(photo, square, opacity) for square in squares]


def fit_within(photo: Image.Image, side: int) -> Image.Image:
    """The photo, scaled down if any side is longer than `side` px."""
    scale = side / max(photo.size)
    if scale >= 1:
        return photo
    return photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))),
                        Image.Resampling.BILINEAR)


def sheet(pictures: list[Image.Image], titles: tuple[str, ...] = TITLES) -> Image.Image:
    """Equal-sized pictures in a row, each under its title."""
    width, height = pictures[0].size
    gap, head = 6, 22
    result = Image.new("RGB", (len(pictures) * (width + gap) - gap, height + head), "white")
    draw, font = ImageDraw.Draw(result), ImageFont.load_default(14)
    for i, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        result.paste(picture, (i * (width + gap), head))
        draw.text((i * (width + gap) + 2, 2), title, fill="black", font=font)
    return result
