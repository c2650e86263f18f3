"""A synthetic photo of a part tray: six compartments, six kinds of parts, one camera.

Everything is drawn by this code, so it may be published freely. All variation comes from a
`numpy.random.Generator`, so a seed always gives the same photo.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 640, 480  # of the photo, px
_FINER = 2  # everything is drawn at this multiple of the size, for smooth edges

STEEL, BRASS, RED, BLUE, GREEN = (176, 180, 186), (190, 152, 84), (186, 58, 50), (66, 104, 160), (70, 128, 92)
DARK, PALE = (58, 62, 70), (214, 216, 218)


Colour = tuple[int, ...]  # red, green, blue, and optionally opacity


@dataclass(frozen=True)
class Kind:
    """A kind of part and its slots in its compartment."""

    name: str
    radius: int  # px, half of its longest side
    slots: tuple[tuple[int, int], ...]  # px from the middle of the compartment
    turn: float  # maximum rotation in degrees
    draw: Callable[[ImageDraw.ImageDraw, float], None]  # onto a square of 2 · radius px, 0 … 2r


@dataclass(frozen=True)
class Part:
    """One part lying in the tray."""

    kind: int  # index of KINDS
    x: float  # px
    y: float
    angle: float  # degrees
    tint: float = 1.0  # factor on its colour


Blemish = Callable[[Image.Image, np.ndarray, list[Part], np.random.Generator], Image.Image]


@dataclass(frozen=True)
class Photo:
    """A photo with its ground truth."""

    image: Image.Image  # RGB, WIDTH × HEIGHT
    labels: np.ndarray  # uint8 (HEIGHT, WIDTH): 0 no part, i + 1 a part of KINDS[i]
    mask: np.ndarray  # bool (HEIGHT, WIDTH): anomalous pixels


def arrange(rng: np.random.Generator) -> list[Part]:
    """A good tray: every slot holds its own kind of part, each slightly moved and rotated."""
    return [place(i, i, slot, rng) for i, kind in enumerate(KINDS) for slot in kind.slots]


def place(kind: int, compartment: int, slot: tuple[int, int], rng: np.random.Generator) -> Part:
    """A part of a kind in a slot of a compartment, with a small random shift and rotation."""
    x, y = middle(compartment)
    dx, dy = rng.uniform(-4, 4, 2)
    angle = rng.uniform(-KINDS[kind].turn, KINDS[kind].turn)
    return Part(kind, x + slot[0] + dx, y + slot[1] + dy, angle, rng.uniform(0.94, 1.06))


def middle(compartment: int) -> tuple[float, float]:
    """The centre of a compartment, px."""
    row, column = divmod(compartment, 3)
    return 140 + 180 * column, 146 + 188 * row


def photograph(
    parts: list[Part], rng: np.random.Generator, blemish: Blemish | None = None,
    odd: list[Part] | None = None,
) -> Photo:
    """Draw the tray, light it and take the photo, with small changes of pose, light and noise.

    `blemish` may change colours and heights before lighting and returns its mask; the outlines of the parts
    in `odd` are added to the mask.
    """
    colours, labels = _empty_tray(), Image.new("L", _canvas())
    for part in parts:
        _lay(part, colours, labels)
    occupied = np.asarray(labels) > 0
    height = np.maximum(_blurred(occupied, 3), 1.3 * _blurred(_walls(), 4))
    mask = blemish(colours, height, parts, rng) if blemish else Image.new("L", _canvas())
    for part in odd or []:
        _lay(part, None, mask)
    lit = np.asarray(colours, np.float32) * _shading(occupied, height)[..., None]
    view = _view(rng)
    photo = _expose(Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)), view, rng)
    return Photo(photo, _seen(labels, view), _seen(mask, view) > 0)


def _canvas() -> tuple[int, int]:
    return WIDTH * _FINER, HEIGHT * _FINER


def _scaled(*values: float) -> tuple[float, ...]:
    return tuple(value * _FINER for value in values)


def _box(compartment: int) -> tuple[float, ...]:
    x, y = middle(compartment)
    return _scaled(x - 82, y - 86, x + 82, y + 86)


def _empty_tray() -> Image.Image:
    table = Image.new("RGB", _canvas(), (198, 194, 186))
    draw = ImageDraw.Draw(table)
    draw.rounded_rectangle(_scaled(40, 40, 600, 440), 24 * _FINER, fill=(88, 94, 104))
    for compartment in range(len(KINDS)):
        draw.rounded_rectangle(_box(compartment), 14 * _FINER, fill=(118, 125, 134))
    return table


def _walls() -> np.ndarray:
    """Where the tray's rim and dividers are."""
    walls = Image.new("L", _canvas())
    draw = ImageDraw.Draw(walls)
    draw.rounded_rectangle(_scaled(40, 40, 600, 440), 24 * _FINER, fill=1)
    for compartment in range(len(KINDS)):
        draw.rounded_rectangle(_box(compartment), 14 * _FINER, fill=0)
    return np.asarray(walls) > 0


def _lay(part: Part, colours: Image.Image | None, labels: Image.Image) -> None:
    """Draw one part onto the colours and its kind onto the labels."""
    kind = KINDS[part.kind]
    side = 2 * kind.radius * _FINER
    sprite = Image.new("RGBA", (side, side))
    kind.draw(ImageDraw.Draw(sprite), _FINER)
    sprite = sprite.rotate(part.angle, Image.Resampling.BICUBIC)
    corner = (round(part.x * _FINER - side / 2), round(part.y * _FINER - side / 2))
    outline = sprite.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
    labels.paste(part.kind + 1, corner, outline)
    if colours:
        tinted = sprite.convert("RGB").point(lambda value: min(255, int(value * part.tint)))
        colours.paste(tinted, corner, sprite.getchannel("A"))


def _blurred(where: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray((where * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius * _FINER / 2)), np.float32) / 255


def _shading(occupied: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Light from the upper left: bright and dark slopes, and cast shadows."""
    down, right = np.gradient(height)
    slopes = 1 + np.clip(2.2 * (down + right), -0.45, 0.45)
    cast = np.roll(_blurred(occupied, 8), (5 * _FINER, 4 * _FINER), axis=(0, 1))
    return slopes * (1 - 0.45 * np.where(occupied, 0, cast))


def _view(rng: np.random.Generator) -> tuple[float, ...]:
    """An affine view of the canvas: the tray is shifted by up to 4 px, rotated by up to 1° and scaled by 1
    %."""
    angle, scale = math.radians(rng.uniform(-1, 1)), rng.uniform(0.99, 1.01)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    (x, y), (dx, dy) = (side / 2 for side in _canvas()), rng.uniform(-4, 4, 2) * _FINER
    return a, b, x - a * x - b * y + dx, -b, a, y + b * x - a * y + dy


def _expose(canvas: Image.Image, view: tuple[float, ...], rng: np.random.Generator) -> Image.Image:
    turned = canvas.transform(canvas.size, Image.Transform.AFFINE, view, Image.Resampling.BICUBIC,
                              fillcolor=(198, 194, 186))
    pixels = np.asarray(turned.reduce(_FINER), np.float32)
    across, down = np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT)[:, None]
    slope_across, slope_down = rng.uniform(-0.06, 0.06, 2)
    light = rng.uniform(0.93, 1.07) * (1 + slope_across * across + slope_down * down)
    warmth = 1 + rng.uniform(-0.02, 0.02) * np.array([1, 0, -1])
    pixels = pixels * light[..., None] * warmth + rng.normal(0, 2, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _seen(labels: Image.Image, view: tuple[float, ...]) -> np.ndarray:
    turned = labels.transform(labels.size, Image.Transform.AFFINE, view, Image.Resampling.NEAREST)
    return np.asarray(turned)[::_FINER, ::_FINER]


def _bolt(draw: ImageDraw.ImageDraw, s: float) -> None:
    draw.rectangle((52 * s, 36 * s, 68 * s, 118 * s), fill=BRASS)
    for y in range(62, 116, 5):
        draw.line((52 * s, y * s, 68 * s, (y + 3) * s), fill=(126, 98, 50), width=int(2 * s))
    draw.polygon(_polygon(60, 22, 20, 6, s), fill=BRASS)
    draw.line((50 * s, 22 * s, 70 * s, 22 * s), fill=(126, 98, 50), width=int(4 * s))


def _washer(draw: ImageDraw.ImageDraw, s: float) -> None:
    _disc(draw, 32, 32, 31, s, PALE)
    _disc(draw, 32, 32, 14, s, (0, 0, 0, 0))


def _cap(draw: ImageDraw.ImageDraw, s: float) -> None:
    _disc(draw, 26, 26, 25, s, RED)
    _disc(draw, 26, 26, 16, s, (206, 84, 72))
    _disc(draw, 26, 26, 4, s, (132, 38, 34))


def _gear(draw: ImageDraw.ImageDraw, s: float) -> None:
    teeth = [(62 + r * math.cos(t), 62 + r * math.sin(t)) for i in range(16)
             for t, r in ((math.tau * (i + 0.15) / 16, 49), (math.tau * (i + 0.3) / 16, 61),
                          (math.tau * (i + 0.7) / 16, 61), (math.tau * (i + 0.85) / 16, 49))]
    draw.polygon([(x * s, y * s) for x, y in teeth], fill=STEEL)
    for i in range(5):
        t = math.tau * i / 5
        _disc(draw, 62 + 30 * math.cos(t), 62 + 30 * math.sin(t), 9, s, (0, 0, 0, 0))
    _disc(draw, 62, 62, 16, s, (138, 142, 150))
    _disc(draw, 62, 62, 8, s, DARK)


def _nut(draw: ImageDraw.ImageDraw, s: float) -> None:
    draw.polygon(_polygon(34, 34, 33, 6, s), fill=GREEN)
    _disc(draw, 34, 34, 17, s, (52, 98, 70))
    _disc(draw, 34, 34, 14, s, (0, 0, 0, 0))


def _capacitor(draw: ImageDraw.ImageDraw, s: float) -> None:
    draw.rounded_rectangle((34 * s, 4 * s, 96 * s, 108 * s), 10 * s, fill=BLUE)
    draw.rectangle((78 * s, 8 * s, 90 * s, 104 * s), fill=PALE)
    for y in (24, 50, 76):
        draw.rectangle((81 * s, y * s, 87 * s, (y + 4) * s), fill=DARK)
    for x in (52, 74):
        draw.rectangle((x * s, 108 * s, (x + 5) * s, 128 * s), fill=STEEL)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, s: float, fill: Colour) -> None:
    draw.ellipse(((x - radius) * s, (y - radius) * s, (x + radius) * s, (y + radius) * s), fill=fill)


def _polygon(x: float, y: float, radius: float, corners: int, s: float) -> list[tuple[float, float]]:
    return [((x + radius * math.cos(math.tau * i / corners)) * s,
             (y + radius * math.sin(math.tau * i / corners)) * s) for i in range(corners)]


# Compartment i holds KINDS[i]: three in the upper row, three in the lower.
KINDS = (
    Kind("bolt", 60, ((-36, 0), (36, 0)), 8, _bolt),
    Kind("washer", 32, ((0, -40), (-40, 36), (40, 36)), 180, _washer),
    Kind("cap", 26, ((-38, -40), (38, -40), (-38, 40), (38, 40)), 180, _cap),
    Kind("gear", 62, ((0, 0),), 180, _gear),
    Kind("nut", 34, ((-38, -34), (38, 34)), 180, _nut),
    Kind("capacitor", 65, ((0, 0),), 8, _capacitor),
)
