"""The only image loader: find photos, read them as 8-bit RGB, resize them to the network's square."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from ulsad.compute.workers import in_parallel
from ulsad.errors import InputError
from ulsad.photos import depth
from ulsad.photos.containers import SUFFIXES, has_more, opened
from ulsad.photos.depth import Samples

_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


@dataclass(frozen=True)
class Skipped:
    """A photo that could not be used, and why."""

    path: Path
    reason: str


def find_images(source: Path | str) -> list[Path]:
    """All photos below a folder (or the given file), in natural order: 2.png before 10.png.

    Hidden files and macOS resource forks are ignored. Raises `InputError` when there is no photo.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist. Give a folder of photos, or one photo.")
    found = [path for path in source.rglob("*") if is_photo(path.relative_to(source)) and path.is_file()]
    if not found:
        raise InputError(f"{source} holds no photos ({', '.join(SUFFIXES)}). Is it the right folder?")
    return sorted(found, key=natural_order)


def is_photo(path: PurePath) -> bool:
    """Whether a relative path names a photo: a known suffix, and nothing hidden in the path."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def natural_order(path: PurePath) -> list[tuple[bool, int, str]]:
    """A sort key: 2.png comes before 10.png."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part)
            for part in re.split(r"(\d+)", path.as_posix())]


class Reading(NamedTuple):
    """A photo as networks and users see it."""

    image: Image.Image  # 8-bit RGB, upright, at its own size unless it was decoded at a fraction of it
    notes: tuple[str, ...]  # sentences on what was lost or guessed; usually none
    mode: str  # Pillow's mode of the file: L, RGB, I;16, P, …; or RGB;16, which Pillow has no name for
    white: float | None  # the white level of a photo with more than 8 bits
    size: tuple[int, int]  # the photo's own height and width, upright


def read_photo(path: Path | str, white_level: float | None = None, at_least: int | None = None) -> Reading:
    """Read one photo upright (EXIF rotation applied), with notes.

    `at_least`: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as no side is
    shorter than that. It is several times as fast, since the JPEG's own transform does the averaging.

    `white_level` is the white level for more than 8 bits; None: what the file says, or else the smallest
    depth (8, 10, 12, 14 or 16 bits) that this photo doesn't exceed. Transparency is blended with white, and
    only the first page or frame is used. Raises an `InputError` that names the file and says what to do.
    """
    with opened(path) as file:
        more, size = has_more(file), file.size
        if at_least is not None:
            file.draft(None, (at_least, at_least))  # changes the size of a JPEG that is large enough
        own = None if file.size == size else _upright(file, size)
        reading = _reading(file, white_level)
        if own:
            reading = reading._replace(size=own)
    pages = ("It has several pages or frames: only the first is used.",) if more else ()
    return reading._replace(notes=pages + reading.notes)


def _upright(file: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """The height and width of a photo whose file has this width and height."""
    turned = file.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
    return size if turned else size[::-1]


def read_image(path: Path | str, white_level: float | None = None) -> Image.Image:
    """The image of `read_photo`."""
    return read_photo(path, white_level).image


def as_reading(image: Image.Image | np.ndarray, white_level: float | None = None) -> Reading:
    """A Pillow image of any mode, or an (H, W) or (H, W, 3) uint8 array, as `read_photo` reads files.

    Raises `InputError` for anything else.
    """
    if isinstance(image, Image.Image):
        return _reading(image.copy(), white_level)  # as it is turned in place
    array = np.asarray(image)
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not fits or not array.size:
        raise InputError(f"Give a uint8 array of shape (H, W) or (H, W, 3), not {array.dtype} {array.shape}.")
    return _reading(Image.fromarray(array), white_level)


def _reading(image: Image.Image, white_level: float | None) -> Reading:
    mode, lost = image.mode, depth.shortfall(image)
    deep = depth.samples(image)
    if deep is None:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _own_size(_flat(image), (lost,) if lost else (), mode, None)
    mode = mode if mode[0] in "IF" else f"{mode};16"
    white, notes = _white(deep, white_level)
    return _own_size(_from_samples(deep, white), notes, mode, white)


def _own_size(image: Image.Image, notes: tuple[str, ...], mode: str, white: float | None) -> Reading:
    return Reading(image, notes, mode, white, (image.height, image.width))


def _white(deep: Samples, given: float | None) -> tuple[float, tuple[str, ...]]:
    """The white level of a photo, and notes on it."""
    if given is not None:
        return given, depth.remarks(deep, given)
    white = depth.white_of([deep.seen])
    assert white is not None  # None only for an empty list
    own = f"It has more than 8 bits: white is {white.reason}."
    return white.level, (own, *depth.remarks(deep, white.level))


def _from_samples(deep: Samples, white: float) -> Image.Image:
    image = Image.fromarray(deep.at(white)).convert("RGB")
    if deep.alpha is not None:
        image.putalpha(Image.fromarray(deep.alpha))
    return _flat(image)


def _flat(image: Image.Image) -> Image.Image:
    """RGB, with transparency blended with white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def to_square(image: Image.Image, size: int) -> Tensor:
    """An RGB image scaled to the network's square: uint8 (3, size, size), bilinear, antialiased."""
    resized = image.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def digest(square: Tensor) -> str:
    """A fingerprint of a network's input, uint8 (3, s, s): equal for equal pixels."""
    return hashlib.sha256(square.numpy().tobytes()).hexdigest()[:16]


class Square(NamedTuple):
    """What is kept of a photo until the networks process it."""

    path: Path | None
    size: tuple[int, int]  # its own height and width
    pixels: Tensor  # uint8 (3, s, s)
    notes: tuple[str, ...]  # of its `Reading`
    white: float | None  # of its `Reading`


def square_of(path: Path | None, reading: Reading, size: int) -> Square:
    """A reading scaled to the networks' square."""
    return Square(path, reading.size, to_square(reading.image, size), reading.notes, reading.white)


def read_square(
    path: Path, size: int, white_level: float | None = None, at_least: int | None = None
) -> Square | Skipped:
    """A photo as a square, or why it was skipped. See `read_photo` for `white_level` and `at_least`."""
    try:
        return square_of(path, read_photo(path, white_level, at_least), size)
    except InputError as error:
        return Skipped(path, str(error))


def read_squares(
    paths: Iterable[Path], size: int, on_photo: Callable[[], None] | None = None,
    white_level: float | None = None, at_least: int | None = None,
) -> tuple[list[Path], Tensor, list[Skipped]]:
    """All readable photos as one uint8 tensor (n, 3, size, size), their paths, and what was skipped."""
    def read(path: Path) -> Square | Skipped:
        return read_square(path, size, white_level, at_least)

    kept, squares, skipped = [], [], []
    paths = list(paths)
    for path, square in zip(paths, in_parallel(read, paths)):
        if isinstance(square, Skipped):
            skipped.append(square)
        else:
            squares.append(square.pixels)
            kept.append(path)
        if on_photo:
            on_photo()
    images = torch.stack(squares) if squares else torch.empty(0, 3, size, size, dtype=torch.uint8)
    return kept, images, skipped
