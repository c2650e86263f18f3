"""Photos with more than 8 bits: read the original values, and find the white level (the value that is white).

A 12-bit camera writes 0 … 4095 into 16-bit files, and most of these files don't say so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from ulsad.errors import InputError
from ulsad.photos.containers import PLANAR, SEPARATE, opened, rawmode, reopened, with_rawmode

DEPTHS = (8, 10, 12, 14, 16)  # bits of common cameras
FULL = 65535  # white level of 16 bits
_HARDLY = 16  # a photo is almost black if its brightest value is this many times smaller than white

_BITS, _MAXIMUM, _FORMAT, _FLOAT_MAXIMUM = 258, 281, 339, 341  # TIFF tags
_SIGNED, _FLOATING = 2, 3


class Samples(NamedTuple):
    """A photo with more than 8 bits: the original values of its file, upright."""

    values: np.ndarray  # (H, W) or (H, W, 3): integers, or finite floats
    alpha: np.ndarray | None  # uint8 (H, W)
    tag: float | None  # the white level according to the file

    @property
    def is_float(self) -> bool:
        return self.values.dtype.kind == "f"

    @property
    def seen(self) -> Seen:
        return Seen(self.tag, float(self.values.max()), self.is_float)

    def at(self, white: float) -> np.ndarray:
        """uint8 in the same shape: 0 stays 0, `white` becomes 255, and values outside are clipped."""
        if self.values.ndim == 3 and white == FULL and self.values.dtype == np.uint16:
            return (self.values >> 8).astype(np.uint8)  # as Pillow does, and as older models were trained
        if self.values.dtype == np.uint16:
            return _scaled(np.arange(FULL + 1), white)[self.values]
        return _scaled(self.values, white)


class Seen(NamedTuple):
    """What is needed from a photo to find the white level."""

    tag: float | None
    highest: float
    is_float: bool


class White(NamedTuple):
    """The white level of some photos, and how it was found."""

    level: float
    photos: int  # with more than 8 bits
    source: str  # SET, TAGS or DEPTH

    def __str__(self) -> str:
        has = "1 photo has" if self.photos == 1 else f"{self.photos:,} photos have"
        remedy = "" if self.source == SET else " Set white_level if your camera says otherwise."
        return f"{has} more than 8 bits: white is {self.reason}.{remedy}"

    @property
    def reason(self) -> str:
        """The level, and where it comes from."""
        level = written(self.level) + (f" ({bits} bits)" if (bits := _bits_of(self.level)) else "")
        if self.source == SET:
            return f"{level}, as set"
        if self.source == TAGS:
            return f"{level}, as {'its file says' if self.photos == 1 else 'all their files say'}"
        which = "the range of floating point" if self.level == 1 else "the smallest depth"
        return f"{level}, {which} that {'it does not exceed' if self.photos == 1 else 'none of them exceeds'}"


SET, TAGS, DEPTH = "set", "tags", "depth"  # by the user; by all files; smallest depth that no photo exceeds


def look(path: Path) -> Seen | None:
    """What a photo tells about the white level. None for 8 bits, where no pixels are decoded, and for an
    unreadable photo, which is reported when it is read."""
    try:
        with opened(path) as image:
            found = samples(image)
            return found and found.seen
    except InputError:
        return None


def white_of(photos: Sequence[Seen]) -> White | None:
    """The common white level of a set of photos; None without photos.

    If all files state a level and agree, it is that; else the smallest depth that no photo exceeds, or 1 for
    floating point. Raises `InputError` when it can't be determined.
    """
    if not photos:
        return None
    if tag := _agreed(photos):
        return White(tag, len(photos), TAGS)
    highest = max(photo.highest for photo in photos)
    if highest <= 1 and all(photo.is_float for photo in photos):
        return White(1.0, len(photos), DEPTH)
    fitting = [2**bits - 1 for bits in DEPTHS if highest <= 2**bits - 1]
    if not fitting:
        raise InputError(f"there are values up to {written(highest)}, beyond 16 bits, and nothing says which "
                         "value is white. Set white_level to that value.")
    return White(fitting[0], len(photos), DEPTH)


def white_of_set(photos: Sequence[Seen]) -> White | None:
    """`white_of` for all photos of a training, with a matching error message."""
    try:
        return white_of(photos)
    except InputError as error:
        raise InputError(f"Among the photos with more than 8 bits {error}") from error


def _agreed(photos: Sequence[Seen]) -> float | None:
    """The level that all files state. In TIFF it may be just the largest value of the photo, so the level of
    a single photo counts only if it is a camera's range or exceeds all pixels."""
    tag, *others = {photo.tag for photo in photos}
    if others or tag is None:
        return None
    alone = len(photos) == 1 and tag <= photos[0].highest and not _bits_of(tag)
    return None if alone else tag


def remarks(photo: Samples, white: float) -> tuple[str, ...]:
    """Sentences on what the photo loses at this white level."""
    highest, found = float(photo.values.max()), []
    if highest > white:
        found.append(f"{_share(photo.values > white)} of its pixels are brighter than white "
                     f"({written(white)}), up to {written(highest)}: they are read as white.")
    if (photo.values < 0).any():
        found.append(f"{_share(photo.values < 0)} of its pixels are negative: they are read as black.")
    if 0 < highest * _HARDLY < white:
        found.append(f"Its brightest value is {written(highest)}, but white is {written(white)}: it is read "
                     "as almost black.")
    return tuple(found)


def _share(pixels: np.ndarray) -> str:
    share = float((pixels.any(axis=2) if pixels.ndim == 3 else pixels).mean())
    return "less than 0.1 %" if share < 0.001 else f"{share:.1%}".replace("%", " %")


def written(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def _bits_of(level: float) -> int | None:
    """n if the level is 2ⁿ − 1 for a possible camera depth n, else None."""
    return next((bits for bits in range(8, 33) if level == 2**bits - 1), None)


def _scaled(values: np.ndarray, white: float) -> np.ndarray:
    return np.rint(np.clip(values, 0, white) / (white / 255)).astype(np.uint8)


def is_deep(image: Image.Image) -> bool:
    """Whether an image, its pixels not read yet, has more than 8 readable bits per channel."""
    if image.mode[0] in "IF":
        return True
    if not _on_disk(image):
        return False
    is_deep_colour = image.mode in ("RGB", "RGBA") and ";16" in rawmode(image) and not shortfall(image)
    return is_deep_colour or (image.format == "PPM" and _netpbm_white(image) > 255)


def _on_disk(image: Image.Image) -> TypeGuard[ImageFile.ImageFile]:
    """Whether the pixels are still in a file, so that they can be read differently."""
    return isinstance(image, ImageFile.ImageFile) and bool(image.tile and image.filename)


def shortfall(image: Image.Image) -> str | None:
    """A sentence for a photo with 16 bits of which only the upper 8 can be read, else None."""
    if not _on_disk(image) or image.mode not in ("RGB", "RGBA"):
        return None
    premultiplied = rawmode(image).startswith("RGBa;16")
    colour_2000 = image.format == "JPEG2000" and _jpeg_2000_bits(image) == 16
    # For planes that libtiff unpacks, Pillow always takes the upper bytes.
    planes = (isinstance(image, TiffImageFile) and rawmode(image).endswith(";16N")
              and image.tag_v2.get(PLANAR) == SEPARATE)
    if premultiplied or colour_2000 or planes:
        return ("Only the upper 8 of its 16 bits can be read from such a file: it is too dark if the camera "
                "has fewer. Save it as PNG, or as TIFF without transparency and separate planes.")
    return None


def samples(image: Image.Image) -> Samples | None:
    """The pixels of an image from a file, or of a Pillow image in memory; None if it has 8 bits.

    Raises `InputError` for NaN or infinite values.
    """
    if not is_deep(image):
        return None
    found = _as_in_file(image) if _on_disk(image) else None
    if found is None:
        found = Samples(_grey(image), None, _tiff_white(image))
    if found.is_float and not np.isfinite(found.values).all():
        raise InputError("some of its values are not numbers (NaN or infinite). Save it with 16 bits.")
    return found


def _as_in_file(image: ImageFile.ImageFile) -> Samples | None:
    """The original pixels where Pillow would change them on reading, else None."""
    if image.format == "PPM" and image.mode != "F":
        return Samples(_netpbm(image), None, _unless_full(_netpbm_white(image), 16))
    if image.mode in ("RGB", "RGBA"):
        return _colour(image)
    if image.format == "JPEG2000":
        bits = _jpeg_2000_bits(image)  # Pillow shifts the values up to 16 bits
        return Samples(_grey(image) >> (16 - bits), None, _unless_full(2**bits - 1, 16))
    return None


def _grey(image: Image.Image) -> np.ndarray:
    values = np.asarray(ImageOps.exif_transpose(image))
    return values.astype(values.dtype.newbyteorder("="))


def _colour(image: ImageFile.ImageFile) -> Samples:
    """Pillow keeps only the upper byte of each value; with the other byte order it keeps the lower byte."""
    tag = _tiff_white(image)
    if rawmode(image) == "LA;16B":  # four channels: upper and lower byte of grey, then of opacity
        grey, lower, alpha, _ = np.moveaxis(_bytes(with_rawmode(image, lambda _: "RGBA")), 2, 0)
        return Samples(_joined(grey, lower), alpha, tag)
    with reopened(image) as other:
        upper, lower = _bytes(image), _bytes(with_rawmode(other, _other_order))
    alpha = upper[..., 3] if image.mode == "RGBA" else None
    return Samples(_joined(upper[..., :3], lower[..., :3]), alpha, tag)


def _other_order(packed: str) -> str:
    little = packed[-1] == "L" or (packed[-1] == "N" and sys.byteorder == "little")
    return packed[:-1] + ("B" if little else "L")


def _bytes(image: ImageFile.ImageFile) -> np.ndarray:
    image.load()
    return np.asarray(ImageOps.exif_transpose(image))


def _joined(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return upper.astype(np.uint16) << 8 | lower


def _unless_full(white: float, bits: int) -> float | None:
    """The level, or None if it is the file's full range, which says nothing about the camera."""
    return white if 0 < white < 2**bits - 1 else None


def _tiff_white(image: Image.Image) -> float | None:
    """The white level according to a TIFF's tags; None for other files."""
    if not isinstance(image, TiffImageFile):
        return None
    tags = image.tag_v2
    bits, kind = max(tags.get(_BITS, (1,))), max(tags.get(_FORMAT, (1,)))
    maximum = tags.get(_MAXIMUM) or tags.get(_FLOAT_MAXIMUM)
    white = float(np.max(maximum)) if maximum is not None else 0.0
    if kind == _FLOATING:
        return white if 0 < white < np.inf else None
    if bits not in (16, 32):  # packed with the camera's own depth
        return _unless_full(white, bits) or 2**bits - 1
    return _unless_full(white, bits - 1 if kind == _SIGNED else bits)


def _netpbm_white(image: ImageFile.ImageFile) -> int:
    args = image.tile[0].args if image.tile else ""
    return FULL if args == "I;16B" else args[1] if isinstance(args, tuple) and len(args) == 2 else 255


def _netpbm(image: ImageFile.ImageFile) -> np.ndarray:
    """The original values; Pillow would stretch grey to 16 bits and reduce colours to 8."""
    shape = (image.height, image.width, 3)[:3 if image.mode == "RGB" else 2]
    data = _content(image)[image.tile[0].offset:]
    if image.tile[0].codec_name == "ppm_plain":
        words = re.sub(rb"#[^\r\n]*", b" ", data).split()[:np.prod(shape)]
        return np.array(words, dtype=np.uint16).reshape(shape)
    return np.frombuffer(data, ">u2", int(np.prod(shape))).reshape(shape).astype(np.uint16)


def _jpeg_2000_bits(image: ImageFile.ImageFile) -> int:
    """Bits per channel, from the codestream's header."""
    data = _content(image)
    start = data.index(b"\xff\x4f\xff\x51")
    return (data[start + 42] & 0x7F) + 1


def _content(image: ImageFile.ImageFile) -> bytes:
    with open(image.filename, "rb") as file:
        return file.read()
