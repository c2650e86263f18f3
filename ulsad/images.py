"""The one image loader: find photos, read any of them as 8-bit RGB, resize to the network's square."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ulsad.errors import InputError
from ulsad.workers import in_parallel

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")


@dataclass(frozen=True)
class Skipped:
    """A photo that could not be used, and why."""

    path: Path
    reason: str


def find_images(source: Path | str) -> list[Path]:
    """All photos below a folder (or the one file), in natural order: 2.png before 10.png.

    Hidden files and macOS resource forks are passed over. Raises `InputError` when there is none.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist. Give a folder of photos, or one photo.")
    found = [path for path in source.rglob("*") if is_photo(path.relative_to(source)) and path.is_file()]
    if not found:
        raise InputError(f"{source} holds no photos ({', '.join(SUFFIXES)}). Is it the right folder?")
    return sorted(found, key=_natural_order)


def is_photo(path: PurePath) -> bool:
    """Whether a relative path names a photo: a known suffix, nothing hidden on the way."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _natural_order(path: Path) -> list[tuple[bool, int, str]]:
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part)
            for part in re.split(r"(\d+)", path.as_posix())]


def read_image(path: Path | str) -> Image.Image:
    """One photo as 8-bit RGB, upright (EXIF rotation applied), at its own size.

    16-bit values are divided by 257, so that equal exposures stay equal; transparency is laid over
    white. Raises `InputError` naming the file and the remedy.
    """
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a PNG, JPEG, BMP, TIFF or WebP image, whatever its name says. "
                         "Export it again or leave it out.") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: more than {2 * Image.MAX_IMAGE_PIXELS // 10**6} megapixels. "
                         "Scale it down first.") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder. Give one photo.") from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        raise InputError(f"{path}: truncated or damaged ({error}). "
                         "Copy it from the camera again or leave it out.") from error


def to_rgb(image: Image.Image | np.ndarray) -> Image.Image:
    """A Pillow image of any mode, or an (H, W) or (H, W, 3) uint8 array, as 8-bit RGB.

    Raises `InputError` for anything else.
    """
    if isinstance(image, Image.Image):
        return _to_rgb(image)
    array = np.asarray(image)
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not fits or not array.size:
        raise InputError(f"Give a uint8 array of shape (H, W) or (H, W, 3), not {array.dtype} {array.shape}.")
    return _to_rgb(Image.fromarray(array))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise InputError("32-bit floating point pixels have no fixed white. Save it with 8 or 16 bits.")
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise InputError("32-bit integer pixels have no fixed white. Save it with 8 or 16 bits.")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")


def try_to_read(path: Path) -> Image.Image | Skipped:
    """`read_image`, or why it was not possible."""
    try:
        return read_image(path)
    except InputError as error:
        return Skipped(path, str(error))


def to_square(image: Image.Image, size: int) -> Tensor:
    """An RGB image squeezed to the network's square: uint8 (3, size, size), bilinear, antialiased."""
    resized = image.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def digest(square: Tensor) -> str:
    """A fingerprint of what a network sees of a photo, uint8 (3, s, s): the same for the same pixels."""
    return hashlib.sha256(square.numpy().tobytes()).hexdigest()[:16]


def read_squares(
    paths: Iterable[Path], size: int, on_photo: Callable[[], None] | None = None
) -> tuple[list[Path], Tensor, list[Skipped]]:
    """All readable photos as one uint8 tensor (n, 3, size, size), their paths, and what was skipped."""
    kept, squares, skipped = [], [], []
    paths = list(paths)
    for path, square in zip(paths, in_parallel(lambda path: _square_of(path, size), paths), strict=True):
        if isinstance(square, Skipped):
            skipped.append(square)
        else:
            squares.append(square)
            kept.append(path)
        if on_photo:
            on_photo()
    images = torch.stack(squares) if squares else torch.empty(0, 3, size, size, dtype=torch.uint8)
    return kept, images, skipped


def _square_of(path: Path, size: int) -> Tensor | Skipped:
    image = try_to_read(path)
    return image if isinstance(image, Skipped) else to_square(image, size)
