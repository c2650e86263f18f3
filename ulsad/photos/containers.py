"""Open photo files with Pillow: supported formats, and error messages for unreadable files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from ulsad.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm",
            ".pnm", ".pbm", ".jp2", ".j2k", ".jpx", ".avif", ".gif", ".heic", ".heif")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "GIF")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

PHOTOMETRIC, STRIP_LENGTHS, PLANAR = 262, 279, 284  # TIFF tags
SEPARATE, _YCBCR = 2, 6
_RARE = {"lzma", "zstd", "webp", "thunderscan", "tiff_sgilog", "tiff_sgilog24", "tiff_raw_16"}  # compressions
# Parts of Pillow's messages for intact files that it can't read.
_UNSUPPORTED = ("unknown pixel mode", "unknown data organization", "unsupported", "not yet supported",
                "cannot handle", "not available", "raw mode", "image mode", "unrecognized")


@contextmanager
def opened(path: Path | str) -> Iterator[ImageFile.ImageFile]:
    """Open a photo's file and read its header, but not its pixels.

    Any error, also one inside the block, becomes an `InputError` that names the file and says what to do.
    """
    image = None
    try:
        with _open(Path(path)) as image:
            yield image
    except Image.DecompressionBombError as error:
        assert Image.MAX_IMAGE_PIXELS is not None  # without a limit there is no such error
        raise InputError(f"{path}: more than {2 * Image.MAX_IMAGE_PIXELS // 10**6} megapixels. "
                         "Scale it down first.") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder. Choose a single photo.") from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:  # damaged files
        raise InputError(f"{path}: {_complaint(Path(path), image, error)}") from error


def reopened(image: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """The same file opened again, pixels not read yet."""
    assert image.format is not None  # set for every opened file
    return _mended(Image.open(image.filename, formats=(image.format,)))


def has_more(image: ImageFile.ImageFile) -> bool:
    """Whether a file has more than one page or frame.

    The second picture in a phone's JPEG (MPO) doesn't count: it is a preview or a depth map.
    """
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _open(path: Path) -> ImageFile.ImageFile:
    try:
        return _mended(Image.open(path, formats=_FORMATS))
    except UnidentifiedImageError:
        if not _is_heif(path):
            raise
    _register_heif()
    return Image.open(path, formats=("HEIF",))


def _is_heif(path: Path) -> bool:
    head = _head(path)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(16)


def _register_heif() -> None:
    """Load pillow-heif for the first HEIC file only, as the package is optional."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise InputError("HEIC photos need the package pillow-heif, which is not installed. Run "
                         "'python -m pip install pillow-heif', or save the photo as JPEG.") from error
    register_heif_opener()


def _mended(image: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """The image, corrected if it is an uncompressed TIFF whose byte layout Pillow would misread."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.info.get("compression") != "raw":
        return image
    if image.tag_v2.get(PHOTOMETRIC) == _YCBCR:
        return _as_ycbcr(image)
    if image.tag_v2.get(PLANAR) == SEPARATE and set(image.tag_v2.get(258, ())) == {16}:
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        return with_rawmode(image, lambda band: f"{band};16{order}")
    return image


def _as_ycbcr(image: TiffImagePlugin.TiffImageFile) -> ImageFile.ImageFile:
    subsampled = sum(image.tag_v2.get(STRIP_LENGTHS, ())) != 3 * image.width * image.height
    if subsampled or image.tag_v2.get(PLANAR) == SEPARATE:
        raise InputError(_unsupported("TIFF", "uncompressed YCbCr with subsampled or separate colours"))
    image._mode = "YCbCr"  # Pillow would read four bytes of RGBX
    return with_rawmode(image, lambda rawmode: "YCbCr")


def with_rawmode(image: ImageFile.ImageFile, change: Callable[[str], str]) -> ImageFile.ImageFile:
    """The image, with its pixels unpacked from `change(rawmode)` instead of rawmode."""
    image.tile = [tile._replace(args=_with_first(tile.args, change)) for tile in image.tile]
    return image


def _with_first(args: tuple[Any, ...] | str | None, change: Callable[[str], str]) -> tuple[Any, ...] | str:
    """A decoder's arguments with the first one, the rawmode, changed."""
    if isinstance(args, str):
        return change(args)
    rawmode, *others = args or ("",)
    return (change(rawmode), *others)


def rawmode(image: ImageFile.ImageFile) -> str:
    """Pillow's name for the pixel layout in the file, such as "RGB;16B"; "" if unknown."""
    args = image.tile[0].args if getattr(image, "tile", None) else ""
    args = args if isinstance(args, str) else (args or ("",))[0]
    return args if isinstance(args, str) else ""


def _complaint(path: Path, image: ImageFile.ImageFile | None, error: Exception) -> str:
    """What is wrong with a file, and what to do."""
    if isinstance(error, OSError) and error.errno:
        return f"could not be read ({error.strerror}). Check its permissions and the disk."
    kind, cause = (image.format, error) if image else _hidden_cause(path, error)
    if kind is None:
        return ("not a PNG, JPEG, BMP, TIFF, WebP, PNM, JPEG 2000, AVIF, GIF or HEIC image, despite its "
                "name. Export it again or leave it out.")
    compression = image.info.get("compression") if image else None
    if compression in _RARE:
        return _unsupported(kind, f"compression {compression}")
    if isinstance(cause.__cause__, KeyError) or any(words in str(cause).lower() for words in _UNSUPPORTED):
        return _unsupported(kind, str(cause))
    return f"truncated or damaged ({cause}). Copy it from the camera again or leave it out."


def _unsupported(kind: str, reason: str) -> str:
    return (f"unsupported kind of {kind} file ({reason}). Save it as PNG, or as TIFF in grey or RGB with 8 "
            "or 16 bits.")


def _hidden_cause(path: Path, error: Exception) -> tuple[str | None, Exception]:
    """The format of a file by its first bytes, if any, and the error that `Image.open` hides."""
    for kind in _FORMATS:
        factory, accepts = Image.OPEN[kind]
        if accepts and accepts(_head(path)) is True:
            try:
                with open(path, "rb") as file:
                    factory(file, str(path)).close()
            except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as cause:
                return kind, cause
    return "HEIF" if _is_heif(path) else None, error
