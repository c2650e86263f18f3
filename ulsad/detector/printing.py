"""Figures for print: page and picture sizes, text that stays text, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ulsad.errors import InputError
from ulsad.photos.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 7.0  # of a figure, inches: the text width of a page
HEIGHT = 9.0  # inches, the maximum, so that the figure fits on a page
LOWEST = 0.3  # inches, the minimum height of one picture
RESOLUTION = 300  # dots per inch, of a PNG and of the pictures in a PDF
TEXT = 8  # points, the size of captions
FORMATS = (".pdf", ".png", ".svg")

# Text stays text, and the same figure is the same file.
_SETTINGS: Any = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "ulsad"}
_UNDATED: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}

_writing = Lock()  # settings are those of the whole process


def require_writable(file: Path) -> None:
    """Raise `InputError` unless a figure can be written under this name: before the work, not after it."""
    if file.suffix.lower() not in FORMATS:
        raise InputError(f"{file}: a figure can be written as {', '.join(FORMATS)} only.")
    if file.is_dir():
        raise InputError(f"{file} is a folder, so no figure can be written under its name. Choose another "
                         "one.")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent} is not a folder, so no figure can be written there. Create it "
                         "first.")


def write(file: Path, *pages: Figure) -> list[Path]:
    """Write a PDF, PNG or SVG, by the file's suffix, and return what was written.

    A PDF holds all pages. Of several pages, each becomes a PNG or SVG of its own: figure-1.png, figure-2.png,
    … Raises `InputError` as `require_writable`.
    """
    from matplotlib import rc_context

    require_writable(file)
    with _writing, rc_context(_SETTINGS):
        if file.suffix.lower() == ".pdf":
            _write_pdf(file, pages)
            return [file]
        files = [file] if len(pages) == 1 else [file.with_stem(f"{file.stem}-{number}")
                                                for number in range(1, len(pages) + 1)]
        suffix = file.suffix.lower()
        for place, page in zip(files, pages, strict=True):
            with replacing(place) as partial:
                page.savefig(partial, format=suffix[1:], dpi=RESOLUTION, metadata=_UNDATED[suffix])
        return files


def _write_pdf(file: Path, pages: Sequence[Figure]) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    with replacing(file) as partial, PdfPages(partial, metadata=_UNDATED[".pdf"]) as opened:
        for page in pages:
            opened.savefig(page, dpi=RESOLUTION)


def require_letters(texts: Iterable[str]) -> None:
    """Raise `InputError` for texts with letters that the font lacks: it would draw boxes in their place."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    letters = dict.fromkeys("".join("".join(text.split()) for text in texts))
    if missing := [letter for letter in letters if not font.get_char_index(ord(letter))]:
        raise InputError(f"The font of figures ({font.family_name}) has no '{''.join(missing[:10])}'. Write "
                         "captions and titles without, and add them in the document.")


def wrapped(text: str, width: float, size: float = TEXT) -> list[str]:
    """A text divided into lines of at most `width` inches at `size` points; [] for an empty one.

    Lines break between words, though not at a no-break space, and within a word that is longer than a line.
    """
    lines: list[str] = []
    for word in filter(None, re.split(r"[ \t\r\n]+", text)):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and breadth(joined, size) <= width:
            lines[-1] = joined
        else:
            lines += _pieces(word, width, size)
    return lines


def _pieces(word: str, width: float, size: float) -> Iterable[str]:
    piece = ""
    for letter in word:
        if piece and breadth(piece + letter, size) > width:
            yield piece
            piece = ""
        piece += letter
    yield piece


def breadth(text: str, size: float = TEXT) -> float:
    """The width of one line of text, inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    points, _, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(points) / 72
