"""Files as cameras and phones write them: kinds, pages, and what is said of those that can't be read."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys

import numpy as np
import photo_bytes as made
import pytest
from PIL import Image

from ulsad import InputError
from ulsad.photos.containers import SUFFIXES
from ulsad.photos.images import find_images, read_image, read_photo
from ulsad.runs.photo_check import check

COLOURS = np.zeros((32, 48, 3), np.uint8)
COLOURS[:16, :, 0], COLOURS[16:, :24, 1], COLOURS[16:, 24:, 2] = 250, 200, 150
SHORT = 3
PAGES = "It has several pages or frames: only the first is used."


def written(folder, name, content):
    file = folder / name
    file.write_bytes(content)
    return file


def saved(image, file, **how):
    image.save(file, **how)
    return file


@pytest.mark.parametrize("name, off", [
    ("a.ppm", 0), ("a.pnm", 0), ("a.jp2", 0), ("a.j2k", 0), ("a.jpx", 0), ("a.gif", 0), ("a.avif", 12),
    ("a.jpe", 6), ("a.jfif", 6)])
def test_colour_photos_of_every_kind(tmp_path, name, off):
    file = saved(Image.fromarray(COLOURS), tmp_path / name,
                 format="JPEG2000" if name.endswith("jpx") else None)
    assert find_images(tmp_path) == [file]
    reading = read_photo(file)
    assert np.abs(np.asarray(reading.image).astype(int) - COLOURS)[4:12].max() <= off
    assert reading.notes == () and reading.white is None


def test_grey_and_black_and_white_netpbm(tmp_path):
    grey = COLOURS[..., 0]
    assert read_image(written(tmp_path, "a.pgm", made.netpbm("P5", grey, 255))).getpixel((0, 0)) == (250,) * 3
    bits = b"P4\n# scan\n16 1\n" + bytes([0b10000000, 0])  # 1 is black
    scan = read_image(written(tmp_path, "a.pbm", bits))
    assert [scan.getpixel((x, 0)) for x in (0, 1)] == [(0,) * 3, (255,) * 3]


# --- HEIC

def heic(folder, name="phone.heic"):
    import pillow_heif

    pillow_heif.from_pillow(Image.fromarray(COLOURS)).save(folder / name, quality=95)
    return folder / name


@pytest.mark.parametrize("name", ["phone.heic", "phone.HEIF", "renamed.jpg"])
def test_heic(tmp_path, name):
    reading = read_photo(heic(tmp_path, name))
    assert reading.image.size == (48, 32) and reading.notes == ()
    assert np.abs(np.asarray(reading.image).astype(int) - COLOURS)[4:12].max() < 20
    assert find_images(tmp_path) == [tmp_path / name]


def test_heic_of_10_bits_is_read_as_8(tmp_path):
    """The file says how many bits it has, so white is known."""
    import pillow_heif

    ramp = np.tile((np.arange(64) * 1023).astype(np.uint16), (48, 1))
    colours = np.dstack([ramp] * 3)
    pillow_heif.from_bytes("RGB;16", (64, 48), colours.tobytes()).save(tmp_path / "deep.heic", quality=95)
    reading = read_photo(tmp_path / "deep.heic", 4095)
    assert reading.notes == () and reading.white is None
    assert np.abs(np.asarray(reading.image) - colours / 257).max() < 6


def test_heic_without_its_package(tmp_path, monkeypatch):
    file = heic(tmp_path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"phone.heic: .*pip install pillow-heif"):
        read_image(file)


def test_truncated_heic(tmp_path):
    whole = heic(tmp_path).read_bytes()
    for length in (len(whole) - 60, 200):
        with pytest.raises(InputError, match=r"cut.heic: truncated or damaged"):
            read_image(written(tmp_path, "cut.heic", whole[:length]))


def test_the_package_for_heic_is_not_loaded_for_other_photos(tmp_path):
    saved(Image.fromarray(COLOURS), tmp_path / "a.png")
    code = ("import sys; from ulsad.photos.images import read_image; "
            f"read_image({str(tmp_path / 'a.png')!r}); print('pillow_heif' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# --- pages and frames

def test_a_file_of_several_heic_photos(tmp_path):
    import pillow_heif

    file = pillow_heif.from_pillow(Image.fromarray(COLOURS))
    file.add_from_pillow(Image.new("RGB", (48, 32), "white"))
    file.save(tmp_path / "burst.heic", quality=95)
    reading = read_photo(tmp_path / "burst.heic")
    red, green, _ = reading.image.getpixel((5, 5))
    assert reading.notes == (PAGES,) and red > 200 > green


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png", "avif"])
def test_of_several_pages_the_first_is_used_and_that_is_said(tmp_path, suffix):
    file = saved(Image.fromarray(COLOURS), tmp_path / f"pages.{suffix}", save_all=True,
                 append_images=[Image.new("RGB", (48, 32), "white")])
    reading = read_photo(file)
    assert reading.notes == (PAGES,)
    assert np.abs(np.asarray(reading.image).astype(int) - COLOURS)[4:12].max() < 20
    problems = check({"good parts": [file]}).problems()
    assert any(f"pages.{suffix}: {PAGES}" in problem for problem in problems)


def test_the_second_picture_of_a_phone_is_not_said(tmp_path):
    photo = Image.fromarray(COLOURS)
    file = saved(photo, tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[photo])
    with Image.open(file) as opened:
        assert opened.format == "MPO" and opened.n_frames == 2
    assert read_photo(file).notes == ()


def test_pages_of_a_deep_tiff(tmp_path):
    file = written(tmp_path, "pages.tif", made.tiff(np.full((4, 5, 3), 2048, np.uint16), 2, pages=2))
    reading = read_photo(file, 4095)
    assert reading.notes == (PAGES,) and reading.image.getpixel((0, 0)) == (128, 128, 128)


# --- what can't be read

def ycbcr():
    return np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))


@pytest.mark.parametrize("subsampling", [{}, {530: (SHORT, [1, 1])}])
@pytest.mark.parametrize("order", "<>")
def test_uncompressed_ycbcr(tmp_path, subsampling, order):
    """Three bytes a pixel, whatever the tag says or leaves out."""
    image = read_image(written(tmp_path, "a.tif", made.tiff(ycbcr(), 6, order=order, tags=subsampling)))
    assert np.abs(np.asarray(image).astype(int) - COLOURS).max() <= 2


@pytest.mark.parametrize("content, reason", [
    (made.tiff(ycbcr(), 6, tags={279: (4, [32 * 48 * 3 // 2]), 530: (SHORT, [2, 2])}), "subsampled"),
    (made.tiff(np.zeros((4, 4, 2), np.uint16), 1, tags={338: (SHORT, [0])}), "unknown pixel mode"),
    (made.tiff(np.zeros((4, 4)), 1), "unknown pixel mode"),  # double precision
    (made.tiff(COLOURS, 2, tags={259: (SHORT, [34887])}), "34887"),  # LERC
    (made.tiff(COLOURS, 2, tags={259: (SHORT, [50001])}), "compression webp"),
    (b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 4, 4, 1, 24, 9, 48, 0, 0, 0, 0) + bytes(48),
     "Unsupported BMP compression"),
    (b"\xff\xd8\xff\xc1\x00\x0b\x0c\x00\x08\x00\x08\x01\x01\x11\x00\xff\xda", "12-bit"),  # JPEG of 12 bits
], ids=["subsampled", "grey with alpha", "double", "LERC", "WebP", "BMP", "JPEG"])
def test_what_is_whole_is_not_called_damaged(tmp_path, content, reason):
    with pytest.raises(InputError, match=f"{reason}.*Save it as PNG") as caught:
        read_image(written(tmp_path, "odd.img", content))
    assert "odd.img: unsupported kind of" in str(caught.value) and "damaged" not in str(caught.value)


@pytest.mark.parametrize("kind, how", [
    ("PNG", {}), ("JPEG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}), ("WEBP", {}), ("PPM", {}), ("JPEG2000", {}), ("AVIF", {}),
    ("GIF", {})])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_what_is_truncated_is_called_so(tmp_path, kind, how, share):
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, kind, **how)
    whole = buffer.getvalue()
    with pytest.raises(InputError, match=r"cut.img: truncated or damaged .* Copy it from the camera again"):
        read_image(written(tmp_path, "cut.img", whole[:int(share * len(whole))]))


DEEP = np.full((9, 9, 3), 900, np.uint16)


@pytest.mark.parametrize("content", [
    made.tiff(DEEP, 2), made.netpbm("P6", DEEP, 1023), made.netpbm("P2", DEEP[..., 0], 1023),
    made.png(DEEP, made.PNG_RGB)], ids=["tiff", "ppm", "pgm", "png"])
def test_truncated_deep_photos(tmp_path, content):
    with pytest.raises(InputError, match=r"cut.img: truncated or damaged"):
        read_image(written(tmp_path, "cut.img", content[:len(content) // 2]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_photo_that_must_not_be_read(tmp_path):
    file = saved(Image.fromarray(COLOURS), tmp_path / "secret.png")
    file.chmod(0)
    with pytest.raises(InputError, match=r"secret.png: could not be read \(Permission denied\)"):
        read_image(file)


def test_suffixes_are_lower_case_and_once():
    assert isinstance(SUFFIXES, tuple) and len(set(SUFFIXES)) == len(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)
