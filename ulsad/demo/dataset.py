"""The demo set: good part trays, and trays with known logical and structural defects.

It has the layout of MVTec LOCO: train/good, validation/good, test/{good, logical_anomalies,
structural_anomalies}, ground_truth/<kind>/<photo>/000.png.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ulsad.demo.tray import KINDS, WIDTH, Part, Photo, arrange, photograph, place
from ulsad.errors import InputError

GOOD, LOGICAL, STRUCTURAL = "good", "logical_anomalies", "structural_anomalies"

Rng = np.random.Generator


def missing(parts: list[Part], rng: Rng) -> tuple[list[Part], list[Part]]:
    """One part is missing."""
    gone = parts[rng.integers(len(parts))]
    return [part for part in parts if part is not gone], [gone]


def surplus(parts: list[Part], rng: Rng) -> tuple[list[Part], list[Part]]:
    """One extra part in its own compartment, between the others."""
    kind = int(rng.choice([i for i, kind in enumerate(KINDS) if kind.name in ("washer", "cap", "nut")]))
    extra = place(kind, kind, (0, 0), rng)
    return [*parts, extra], [extra]


def swapped(parts: list[Part], rng: Rng) -> tuple[list[Part], list[Part]]:
    """Two parts of different kinds are swapped."""
    a, b = _two_kinds(parts, rng)
    changed = {id(a): replace(a, kind=b.kind), id(b): replace(b, kind=a.kind)}
    return [changed.get(id(part), part) for part in parts], list(changed.values())


def misplaced(parts: list[Part], rng: Rng) -> tuple[list[Part], list[Part]]:
    """A part lies in the middle of another compartment instead of its slot."""
    a, b = _two_kinds([part for part in parts if KINDS[part.kind].radius < 40], rng)
    moved = place(a.kind, b.kind, (0, 0), rng)
    return [*(part for part in parts if part is not a), moved], [a, moved]


def _two_kinds(parts: list[Part], rng: Rng) -> tuple[Part, Part]:
    kinds = rng.permutation(sorted({part.kind for part in parts}))[:2]
    a, b = ([part for part in parts if part.kind == kind] for kind in kinds)
    return a[rng.integers(len(a))], b[rng.integers(len(b))]


def scratch(colours: Image.Image, height: np.ndarray, parts: list[Part], rng: Rng) -> Image.Image:
    """A thin bright line, slightly bent, across a part."""
    x, y = _middle_of(parts, rng, colours)
    angle, length = rng.uniform(0, math.pi), rng.uniform(80, 130) * _per_px(colours)
    along = np.linspace(-0.5, 0.5, 12) * length
    bend = rng.uniform(-0.15, 0.15) * length * (1 - (2 * along / length) ** 2)
    line = [(x + a * math.cos(angle) - b * math.sin(angle), y + a * math.sin(angle) + b * math.cos(angle))
            for a, b in zip(along, bend)]
    width = int(rng.uniform(2.6, 3.6) * _per_px(colours))
    shifted = [(x + width, y + width) for x, y in line]
    ImageDraw.Draw(colours).line(shifted, fill=(48, 48, 50), width=width)
    ImageDraw.Draw(colours).line(line, fill=(236, 236, 232), width=width)
    mask = Image.new("L", colours.size)
    ImageDraw.Draw(mask).line(line, fill=255, width=3 * width)
    return mask


def dent(colours: Image.Image, height: np.ndarray, parts: list[Part], rng: Rng) -> Image.Image:
    """A dent in a large part, visible only by the light on its slopes."""
    large = [part for part in parts if KINDS[part.kind].name in ("gear", "capacitor")]
    x, y = _middle_of(large, rng, colours)
    radius = rng.uniform(16, 22) * _per_px(colours)
    rows, columns = np.ogrid[: height.shape[0], : height.shape[1]]
    distance = np.hypot(columns - x, rows - y) / radius
    height -= 9 * np.exp(-2 * distance**2).astype(np.float32)
    return Image.fromarray(((distance < 1.2) * 255).astype(np.uint8))


def contamination(colours: Image.Image, height: np.ndarray, parts: list[Part], rng: Rng) -> Image.Image:
    """A brown spill with a soft, irregular edge, on a part or beside it."""
    x, y = _middle_of(parts, rng, colours)
    mask = Image.new("L", colours.size)
    draw = ImageDraw.Draw(mask)
    for _ in range(9):
        dx, dy, radius = (value * _per_px(colours) for value in
                          (*rng.normal(0, 9, 2), rng.uniform(6, 11)))
        draw.ellipse((x + dx - radius, y + dy - radius, x + dx + radius, y + dy + radius), fill=255)
    soft = mask.filter(ImageFilter.GaussianBlur(2 * _per_px(colours)))
    colours.paste((74, 52, 34), mask=soft.point(lambda value: int(0.9 * value)))
    return mask


def _per_px(canvas: Image.Image) -> float:
    return canvas.width / WIDTH


def _middle_of(parts: list[Part], rng: Rng, canvas: Image.Image) -> tuple[float, float]:
    """A point on a part, at most a third of its radius from the centre, in px of the canvas."""
    part = parts[rng.integers(len(parts))]
    dx, dy = rng.uniform(-1, 1, 2) * KINDS[part.kind].radius / 3
    return (part.x + dx) * _per_px(canvas), (part.y + dy) * _per_px(canvas)


LOGICAL_DEFECTS = {defect.__name__: defect for defect in (missing, surplus, swapped, misplaced)}
STRUCTURAL_DEFECTS = {defect.__name__: defect for defect in (scratch, dent, contamination)}
DEFECTS = {**dict.fromkeys(LOGICAL_DEFECTS, LOGICAL), **dict.fromkeys(STRUCTURAL_DEFECTS, STRUCTURAL)}


def render(rng: Rng, defect: str | None = None) -> Photo:
    """One photo of a tray: good, or with one of `DEFECTS`.

    With a logical defect, all parts are intact but wrongly arranged; with a structural one, the tray is
    complete and correct, but damaged or dirty.
    """
    parts = arrange(rng)
    if defect in LOGICAL_DEFECTS:
        parts, odd = LOGICAL_DEFECTS[defect](parts, rng)
        return photograph(parts, rng, odd=odd)
    return photograph(parts, rng, blemish=STRUCTURAL_DEFECTS.get(defect) if defect else None)


def write_demo(
    folder: Path | str, seed: int = 0, train: int = 60, validation: int = 15, test_good: int = 30,
    per_kind: int = 10,
) -> None:
    """Write a whole set with `per_kind` photos of each of the seven defects.

    Raises `InputError` if the folder is not empty, so that sets are never mixed.
    """
    folder, rng = _empty(folder), np.random.default_rng(seed)
    for split, count in (("train", train), ("validation", validation), ("test", test_good)):
        for i in range(count):
            _write_photo(folder / split / GOOD / f"tray_{i:03}.png", render(rng))
    for defect, kind in DEFECTS.items():
        for i in range(per_kind):
            name, photo = f"{defect}_{i:03}", render(rng, defect)
            _write_photo(folder / "test" / kind / f"{name}.png", photo)
            mask = folder / "ground_truth" / kind / name / "000.png"
            mask.parent.mkdir(parents=True)
            Image.fromarray((photo.mask * 255).astype(np.uint8)).save(mask)


def write_sample(folder: Path | str, seed: int = 0) -> None:
    """Write eight small sample photos: a good tray, and one with each of the seven defects."""
    folder, rng = _empty(folder), np.random.default_rng(seed)
    for i, defect in enumerate((None, *DEFECTS)):
        _write_photo(folder / f"{i} {defect or GOOD}.jpg", render(rng, defect))


def _empty(folder: Path | str) -> Path:
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not an empty folder. Choose a new one.")
    return folder


def _write_photo(file: Path, photo: Photo) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    photo.image.save(file, quality=92, compress_level=1)
