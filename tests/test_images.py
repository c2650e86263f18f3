"""One loader for every photo: formats, depths, orientation, and what a broken file is told."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import large_jpeg
from PIL import ExifTags, Image

from ulsad.errors import InputError
from ulsad.photos.images import find_images, read_image, read_photo, read_square, read_squares, to_square

GRADIENT = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (20, 1))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "tiff", "webp", "PNG"])
def test_formats(tmp_path, suffix):
    file = tmp_path / f"photo.{suffix}"
    Image.fromarray(GRADIENT).convert("RGB").save(file)
    image = read_image(file)
    assert image.mode == "RGB" and image.size == (40, 20)
    assert np.abs(np.asarray(image)[..., 0].astype(int) - GRADIENT).max() < 12


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_whole_range(tmp_path, suffix):
    file = tmp_path / f"deep.{suffix}"
    Image.fromarray(GRADIENT.astype(np.uint16) * 257).save(file)
    np.testing.assert_array_equal(np.asarray(read_image(file))[..., 1], GRADIENT)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
def test_modes(tmp_path, mode):
    file = tmp_path / "photo.png"
    Image.fromarray(GRADIENT).convert(mode).save(file)
    assert read_image(file).mode == "RGB"


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red, green, _ = read_image(tmp_path / "print.jpg").getpixel((4, 4))
    assert red > 200 > 60 > green


def test_transparency_lies_over_white(tmp_path):
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path):
    photo = Image.new("RGB", (40, 20))
    exif = photo.getexif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    photo.save(tmp_path / "phone.jpg", exif=exif)
    assert read_image(tmp_path / "phone.jpg").size == (20, 40)


def broken(tmp_path, kind):
    file = tmp_path / f"{kind}.png"
    if kind == "text":
        file.write_text("not a picture")
    elif kind == "empty":
        file.touch()
    elif kind == "float":
        file = file.with_suffix(".tif")
        Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(file)
    else:
        Image.effect_noise((64, 64), 50).save(file)
        file.write_bytes(file.read_bytes()[:800])
    return file


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "float"])
def test_a_broken_photo_is_named_with_a_remedy(tmp_path, kind):
    file = broken(tmp_path, kind)
    with pytest.raises(InputError, match=file.name):
        read_image(file)


def test_missing_photo(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "nothing.png")


def test_decompression_bomb_limit_stays_on(tmp_path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match="megapixels"):
        read_image(tmp_path / "bomb.png")


def test_read_squares_skips_with_reasons_and_mixes_sizes(tmp_path):
    for i, size in enumerate([(40, 20), (20, 80), (64, 64)]):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
    bad = broken(tmp_path, "text")
    kept, images, skipped = read_squares(find_images(tmp_path), 32)
    assert images.shape == (3, 3, 32, 32) and len(kept) == 3
    assert [item.path for item in skipped] == [bad]


def test_find_images_in_natural_order_without_hidden_files(tmp_path):
    for name in ["10.png", "2.png", ".hidden.png", "__MACOSX/x.png", "sub/1.JPG", "notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == [
        "2.png", "10.png", "sub/1.JPG"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_that_is_absent_or_empty(tmp_path, make):
    make(tmp_path / "photos")
    with pytest.raises(InputError):
        find_images(tmp_path / "photos")


def test_to_square_layout():
    square = to_square(Image.fromarray(np.dstack([GRADIENT, GRADIENT * 0, GRADIENT * 0 + 9])), 32)
    assert square.shape == (3, 32, 32) and int(square[2].min()) == 9 and int(square[0, 0, -1]) > 240


@pytest.mark.parametrize("options", [
    {}, {"mode": "L"}, {"mode": "CMYK"}, {"progressive": True}, {"subsampling": 0}, {"size": (4096, 3072)},
    {"format": "MPO", "save_all": True}])
def test_a_jpeg_at_a_fraction_of_its_size_is_the_same_to_the_networks(tmp_path, options):
    file = large_jpeg(tmp_path / "large.jpg", **options)
    whole, reduced = read_square(file, 256), read_square(file, 256, at_least=512)
    assert reduced.size == whole.size and reduced.notes == whole.notes
    difference = np.abs(reduced.pixels.numpy().astype(int) - whole.pixels.numpy())
    assert 0 < difference.mean() < 0.5 and difference.max() <= 8


def test_a_jpeg_that_can_not_be_divided_evenly_is_nearly_the_same(tmp_path):
    """Its last row and column then stand for a fraction of a pixel more than it has."""
    file = large_jpeg(tmp_path / "large.jpg", size=(1541, 3003))
    whole, reduced = read_square(file, 256), read_square(file, 256, at_least=512)
    assert reduced.size == whole.size == (3003, 1541)
    assert 0 < np.abs(reduced.pixels.numpy().astype(int) - whole.pixels.numpy()).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_lying_on_its_side_is_turned_at_a_fraction_of_its_size_too(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = large_jpeg(tmp_path / "turned.jpg", exif=exif)
    whole, reduced = read_photo(file), read_photo(file, at_least=512)
    assert reduced.size == whole.size == ((1540, 2100) if orientation < 5 else (2100, 1540))
    assert 2 * reduced.image.width == whole.image.width and 2 * reduced.image.height == whole.image.height
    difference = np.abs(np.asarray(reduced.image).astype(int) - np.asarray(whole.image.reduce(2)))
    assert difference.mean() < 3


@pytest.mark.parametrize(("at_least", "side"), [
    (None, 1540), (1541, 1540), (1000, 1540), (770, 770), (385, 385), (200, 385), (192, 193), (1, 193)])
def test_no_side_gets_shorter_than_that(tmp_path, at_least, side):
    reading = read_photo(large_jpeg(tmp_path / "large.jpg"), at_least=at_least)
    assert reading.image.height == side and reading.size == (1540, 2100)


def test_other_formats_are_decoded_whole(tmp_path):
    Image.open(large_jpeg(tmp_path / "large.jpg")).save(tmp_path / "large.png")
    assert read_photo(tmp_path / "large.png", at_least=10).image.size == (2100, 1540)
