"""Photo files made byte by byte from their specifications, so that no encoder has to be trusted."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_TYPES = {3: "H", 4: "I", 12: "d"}  # SHORT, LONG and DOUBLE of TIFF
PNG_GREY, PNG_RGB, PNG_GREY_ALPHA, PNG_RGBA = 0, 2, 4, 6


def tiff(
    values: np.ndarray, photometric: int = 1, *, order: str = "<", compression: int = 1, planar: int = 1,
    tags: dict[int, tuple[int, list]] | None = None, bits: int | None = None, pages: int = 1,
) -> bytes:
    """An array (H, W) or (H, W, c), or planar (c, H, W), in one strip (a strip per plane) per page.

    photometric: 1 grey, 2 RGB, 6 YCbCr. compression: 1 none, 8 deflate. `tags`: further ones, number to
    (type, values).
    """
    channels = 1 if values.ndim == 2 else values.shape[0] if planar == 2 else values.shape[2]
    height, width = values.shape[-2:] if planar == 2 else values.shape[:2]
    strips = [values.astype(values.dtype.newbyteorder(order)).tobytes()] if planar == 1 else [
        plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in values]
    strips = [zlib.compress(strip) if compression == 8 else strip for strip in strips]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data, offsets = b"", []
    for strip in strips:
        offsets.append(8 + len(data))
        data += strip + bytes(len(strip) % 2)
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits or 8 * values.itemsize] * channels),
               259: (3, [compression]), 262: (3, [photometric]), 273: (4, offsets), 277: (3, [channels]),
               278: (4, [height]), 279: (4, [len(strip) for strip in strips]), 284: (3, [planar]),
               339: (3, [kind] * channels)} | (tags or {})
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    directories, start = b"", 8 + len(data)
    for page in range(pages):
        directories += _directory(entries, start + len(directories), order, is_last=page == pages - 1)
    return head + data + directories


def _directory(entries: dict[int, tuple[int, list]], start: int, order: str, is_last: bool) -> bytes:
    fields, beyond = b"", b""
    after = start + 2 + 12 * len(entries) + 4
    for number, (kind, values) in sorted(entries.items()):
        content = struct.pack(order + _TYPES[kind] * len(values), *values)
        if len(content) > 4:
            place, beyond = struct.pack(order + "I", after + len(beyond)), beyond + content
        else:
            place = content.ljust(4, b"\0")
        fields += struct.pack(order + "HHI", number, kind, len(values)) + place
    following = 0 if is_last else after + len(beyond)
    return struct.pack(order + "H", len(entries)) + fields + struct.pack(order + "I", following) + beyond


def png(values: np.ndarray, colour: int, extra: bytes = b"") -> bytes:
    """uint16 (H, W) or (H, W, c) as PNG of 16 bits, its rows in turn with each of the five filters.

    `extra`: chunks to come before the pixels, see `chunk`.
    """
    height, width = values.shape[:2]
    rows = np.frombuffer(values.astype(">u2").tobytes(), np.uint8).reshape(height, -1).astype(int)
    step = rows.shape[1] // width
    filtered = b""
    for y, row in enumerate(rows):
        up = rows[y - 1] if y else np.zeros_like(row)
        left, corner = (np.concatenate([np.zeros(step, int), line[:-step]]) for line in (row, up))
        guess = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[y % 5]
        filtered += bytes([y % 5]) + ((row - guess) % 256).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(filtered))
            + chunk(b"IEND", b""))


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    guess = left + up - corner
    a, b, c = (abs(guess - value) for value in (left, up, corner))
    return np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def netpbm(magic: str, values: np.ndarray, white: int) -> bytes:
    """P2, P3 (text), P5 or P6 (binary) of an array (H, W) or (H, W, 3)."""
    head = f"{magic}\n# a camera's remark\n{values.shape[1]} {values.shape[0]}\n{white}\n".encode()
    if magic in ("P2", "P3"):
        return head + b"# and one more\n" + " ".join(map(str, values.ravel())).encode() + b"\n"
    return head + values.astype(">u2" if white > 255 else np.uint8).tobytes()
