"""Photos of more than 8 bits: every value is read, from bytes written by hand, and the right one is white."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import photo_bytes as made
import pytest
from conftest import TINY
from PIL import Image

from ulsad import Config, InputError, Ulsad, Watch
from ulsad.__main__ import main
from ulsad.detector import spreadsheet
from ulsad.detector.model_file import read_header
from ulsad.line.verdict import COLUMNS
from ulsad.photos import depth
from ulsad.photos.containers import opened
from ulsad.photos.depth import DEPTH, TAGS, Seen, white_of
from ulsad.photos.images import as_reading, read_image, read_photo

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 65536, (11, 9)).astype(np.uint16)
RGB = RNG.integers(0, 65536, (11, 9, 3)).astype(np.uint16)
RGBA = np.dstack([RGB, RNG.integers(0, 65536, (11, 9)).astype(np.uint16)])
PLANES = np.ascontiguousarray(RGB.transpose(2, 0, 1))
MAX_SAMPLE, FLOAT_MAX_SAMPLE, ORIENTATION = 281, 341, 274
SHORT, LONG, DOUBLE = 3, 4, 12
# Eleven rows of nine pixels of six bytes, in strips of four rows at most.
STRIPS = {273: (LONG, [8, 8 + 216, 8 + 432]), 278: (LONG, [4]), 279: (LONG, [216, 216, 162])}


def written(folder, name, content):
    file = folder / name
    file.write_bytes(content)
    return file


def samples_of(file):
    with opened(file) as image:
        return depth.samples(image)


@pytest.mark.parametrize("name, content, expected", [
    ("grey.png", made.png(GREY, made.PNG_GREY), GREY),
    ("rgb.png", made.png(RGB, made.PNG_RGB), RGB),
    ("rgba.png", made.png(RGBA, made.PNG_RGBA), RGB),
    ("la.png", made.png(RGBA[..., 2:], made.PNG_GREY_ALPHA), RGB[..., 2]),
    *((f"grey{order}{packed}.tif", made.tiff(GREY, order=order, compression=packed), GREY)
      for order in "<>" for packed in (1, 8)),
    *((f"rgb{order}{packed}.tif", made.tiff(RGB, 2, order=order, compression=packed), RGB)
      for order in "<>" for packed in (1, 8)),
    *((f"planes{order}.tif", made.tiff(PLANES, 2, planar=2, order=order), RGB) for order in "<>"),
    *((f"strips{order}.tif", made.tiff(RGB, 2, order=order, tags=STRIPS), RGB) for order in "<>"),
    ("rgba.tif", made.tiff(RGBA, 2, tags={338: (SHORT, [2])}), RGB),
    ("rgbx.tif", made.tiff(RGBA, 2, tags={338: (SHORT, [0])}), RGB),
    ("signed.tif", made.tiff((GREY // 2).astype(np.int16)), GREY // 2),
    ("integer.tif", made.tiff(GREY.astype(np.uint32) * 16), GREY.astype(np.uint32) * 16),
    ("float.tif", made.tiff(GREY.astype(np.float32) / 65536), GREY / np.float32(65536)),
    *((f"{magic}.pnm", made.netpbm(magic, values, 65535), values)
      for magic, values in (("P2", GREY), ("P3", RGB), ("P5", GREY), ("P6", RGB))),
    ("P5.pgm", made.netpbm("P5", GREY // 16, 4095), GREY // 16),
    ("P6.ppm", made.netpbm("P6", RGB // 16, 4095), RGB // 16),
    ("P2.pgm", made.netpbm("P2", GREY // 64, 1023), GREY // 64),
], ids=lambda value: value if isinstance(value, str) else "")
def test_every_bit_of_every_value_is_read(tmp_path, name, content, expected):
    np.testing.assert_array_equal(samples_of(written(tmp_path, name, content)).values, expected)


def test_jpeg_2000_of_12_bits(tmp_path):
    """Pillow can only write 16 bits, but losslessly, around the middle of the range: a header that says 12
    moves that middle, and nothing else."""
    values = RNG.integers(0, 4096, (40, 50))
    file = tmp_path / "camera.j2k"
    Image.fromarray((values + 2**15 - 2**11).astype(np.uint16)).save(file)
    content = bytearray(file.read_bytes())
    assert content[42] == 16 - 1
    content[42] = 12 - 1
    found = samples_of(written(tmp_path, "camera.j2k", content))
    np.testing.assert_array_equal(found.values, values)
    assert found.tag == 4095


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_orientation_of_deep_photos(tmp_path, suffix):
    values = RGB // 16
    if suffix == "tif":
        content = made.tiff(values, 2, tags={ORIENTATION: (SHORT, [6])})
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees to see it upright
        content = made.png(values, made.PNG_RGB, made.chunk(b"eXIf", exif.tobytes()[6:]))
    image = read_image(written(tmp_path, f"lying.{suffix}", content), 4095)
    np.testing.assert_array_equal(np.asarray(image), np.rot90(np.rint(values / 4095 * 255), -1))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize(
    "kind", ["png grey", "png rgb", "png la", "png rgba", "tif grey", "tif rgb", "ppm", "pgm"])
def test_a_photo_alone_is_as_bright_as_with_8_bits(tmp_path, bits, kind):
    """All 256 greys, saved with more bits, come back as they were."""
    eight = np.tile(np.arange(256), (4, 1))
    deep = np.rint(eight / 255 * (2**bits - 1)).astype(np.uint16)
    opaque = np.full_like(deep, 65535)
    content = {
        "png grey": lambda: made.png(deep, made.PNG_GREY),
        "png rgb": lambda: made.png(np.dstack([deep] * 3), made.PNG_RGB),
        "png la": lambda: made.png(np.dstack([deep, opaque]), made.PNG_GREY_ALPHA),
        "png rgba": lambda: made.png(np.dstack([deep] * 3 + [opaque]), made.PNG_RGBA),
        "tif grey": lambda: made.tiff(deep), "tif rgb": lambda: made.tiff(np.dstack([deep] * 3), 2),
        "pgm": lambda: made.netpbm("P5", deep, 65535),
        "ppm": lambda: made.netpbm("P6", np.dstack([deep] * 3), 65535)}[kind]()
    reading = read_photo(written(tmp_path, f"photo.{kind[:3]}", content))
    np.testing.assert_array_equal(np.asarray(reading.image), np.dstack([eight] * 3))
    assert reading.white == 2**bits - 1
    assert f"white is {2**bits - 1} ({bits} bits), the smallest depth" in reading.notes[0]


def test_16_bits_read_as_older_models_learned_them(tmp_path):
    """Grey is divided by 257, and of colours the upper byte is taken, as Pillow does."""
    grey = read_photo(written(tmp_path, "grey.png", made.png(GREY, made.PNG_GREY)), 65535)
    np.testing.assert_array_equal(np.asarray(grey.image)[..., 0], np.rint(GREY / 257))
    file = written(tmp_path, "rgb.png", made.png(RGB, made.PNG_RGB))
    assert grey.notes == read_photo(file, 65535).notes == ()
    np.testing.assert_array_equal(np.asarray(read_image(file, 65535)), np.asarray(Image.open(file)))


@pytest.mark.parametrize("tags, bits, level", [
    ({MAX_SAMPLE: (SHORT, [4095])}, 16, 4095),
    ({MAX_SAMPLE: (SHORT, [5000])}, 16, 5000),  # more than any pixel has: no mere maximum
    ({MAX_SAMPLE: (SHORT, [3000])}, 16, 4095),  # what the brightest pixel has
    ({MAX_SAMPLE: (SHORT, [65535])}, 16, 4095),  # the file's whole range: says nothing
    ({FLOAT_MAX_SAMPLE: (DOUBLE, [16383.0])}, 16, 16383),
    ({}, 16, 4095)])
def test_what_a_tiff_says_of_its_own_white(tmp_path, tags, bits, level):
    values = np.array([[0, 3000]], np.uint16)
    assert read_photo(written(tmp_path, "photo.tif", made.tiff(values, tags=tags, bits=bits))).white == level


def test_a_tiff_packed_to_12_bits_needs_no_tag(tmp_path):
    values = np.array([[0x12, 0x3A, 0xBC]], np.uint8)  # 0x123 and 0xABC
    tags = {256: (4, [2]), 258: (SHORT, [12])}
    found = samples_of(written(tmp_path, "photo.tif", made.tiff(values, tags=tags)))
    assert found.values.tolist() == [[0x123, 0xABC]] and found.tag == 4095


@pytest.mark.parametrize("seen, level, source", [
    ([Seen(None, 200, False)], 255, DEPTH), ([Seen(None, 256, False)], 1023, DEPTH),
    ([Seen(None, 4095, False), Seen(None, 12, False)], 4095, DEPTH),
    ([Seen(None, 4096, False), Seen(4095, 12, False)], 16383, DEPTH),
    ([Seen(4095, 900, False), Seen(4095, 3900, False)], 4095, TAGS),
    ([Seen(900, 900, False), Seen(3900, 3900, False)], 4095, DEPTH),  # merely the largest of each
    ([Seen(None, 0.7, True), Seen(None, 1.0, True)], 1, DEPTH),
    ([Seen(None, 1.01, True)], 255, DEPTH), ([Seen(None, 1, False)], 255, DEPTH),
    ([Seen(2**20 - 1, 2.0**18, False)], 2**20 - 1, TAGS)])
def test_the_white_of_photos_that_belong_together(seen, level, source):
    assert white_of(seen)[0] == level and white_of(seen).source == source
    assert white_of(seen[::-1]) == white_of(seen)


def test_a_white_that_nothing_tells(tmp_path):
    assert white_of([]) is None
    file = written(tmp_path, "astronomy.tif", made.tiff(np.array([[0, 70_000]], np.uint32)))
    with pytest.raises(InputError, match=r"astronomy.tif.*values up to 70000.*Set white_level"):
        read_image(file)
    np.testing.assert_array_equal(np.asarray(read_image(file, 140_000))[0, :, 0], [0, 128])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    file = written(tmp_path, "odd.tif", made.tiff(np.array([[0.5, value]], np.float32)))
    with pytest.raises(InputError, match=r"odd.tif: some of its values are not numbers"):
        read_image(file)


def test_what_lies_outside_is_said():
    values = np.full((10, 10), 2000, np.int32)
    values[0, :7], values[1, :3] = 5000, -4
    reading = as_reading(Image.fromarray(values), 4095)
    assert reading.notes == (
        "7.0 % of its pixels are brighter than white (4095), up to 5000: they are read as white.",
        "3.0 % of its pixels are negative: they are read as black.")
    assert np.asarray(reading.image)[:2, 0, 0].tolist() == [255, 0]
    [dark] = as_reading(Image.fromarray(np.full((4, 4), 4095, np.uint16)), 65535).notes
    assert dark == "Its brightest value is 4095, but white is 65535: it is read as almost black."


def test_photos_of_8_bits_have_their_own_white(tmp_path):
    Image.fromarray((GREY >> 8).astype(np.uint8)).save(tmp_path / "photo.png")
    reading = read_photo(tmp_path / "photo.png", 4095)
    np.testing.assert_array_equal(np.asarray(reading.image)[..., 0], GREY >> 8)
    assert reading.white is None and reading.notes == () and depth.look(tmp_path / "photo.png") is None


def test_8_bits_are_not_decoded_to_find_white(tmp_path):
    """A file cut off after its header: only who decodes it would find out."""
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    file = written(tmp_path, "cut.png", (tmp_path / "whole.png").read_bytes()[:800])
    assert depth.look(file) is None
    with opened(file) as image:
        assert not depth.is_deep(image) and image._im is None


@pytest.mark.parametrize("content", [
    made.tiff(RGBA, 2, tags={338: (SHORT, [1])}), made.tiff(PLANES, 2, planar=2, compression=8)],
    ids=["premultiplied", "compressed planes"])
def test_colour_that_cannot_be_had_at_full_depth_is_said(tmp_path, content):
    [note] = read_photo(written(tmp_path, "colour.tif", content)).notes
    assert note.startswith("Only the upper 8 of its 16 bits")


# --- models

@pytest.fixture(scope="module")
def versions(good_photos, demo_set, tmp_path_factory):
    """The same grey photos with 8 bits, with 12 of 16, and with 16: good ones and one with a defect."""
    root = tmp_path_factory.mktemp("depths")
    defect = next(demo_set.glob("test/structural_anomalies/*.png"))
    for source in (*sorted(good_photos.iterdir()), defect):
        eight = np.asarray(Image.open(source).convert("L"))
        eight = np.where(np.arange(eight.size).reshape(eight.shape) == 0, 255, eight)
        deep = {8: eight.astype(np.uint8), 12: np.rint(eight * (4095 / 255)).astype(np.uint16),
                16: eight.astype(np.uint16) * 257}
        for bits, values in deep.items():
            place = root / f"{bits}" / ("defect" if source == defect else "good") / source.name
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(place, compress_level=1)
    return root


@pytest.fixture(scope="module")
def models(versions):
    return {bits: Ulsad.fit(versions / str(bits) / "good", TINY) for bits in (8, 12, 16)}


def maps_of(model, folder):
    [photo] = folder.iterdir()
    return model.predict(photo).maps().combined


@pytest.mark.slow
def test_maps_do_not_depend_on_the_depth_of_training_photos(models, versions):
    maps = {bits: maps_of(model, versions / str(bits) / "defect") for bits, model in models.items()}
    for bits in (12, 16):
        difference = np.abs(maps[bits] - maps[8]).max() / maps[8].max()
        print(f"{bits} bits against 8: {difference:.2e} of the largest value, {maps[8].max():.3f}")
        assert difference < 0.01
    assert [model.config.white_level for model in models.values()] == [None, 4095, 65535]


@pytest.mark.slow
def test_one_model_sees_all_depths(models, versions):
    model = models[12]
    photos = {bits: next((versions / str(bits) / "defect").iterdir()) for bits in (8, 12, 16)}
    seen = {bits: model.predict(photo) for bits, photo in photos.items()}
    largest = seen[12].maps().combined.max()
    difference = np.abs(seen[8].maps().combined - seen[12].maps().combined).max() / largest
    print(f"8 bits against 12 under one model: {difference:.2e} of {largest:.3f}")
    assert difference < 0.01 and seen[8].notes == seen[12].notes == ()
    assert "brighter than white (4095), up to 65535" in seen[16].notes[-1]
    assert [prediction.notes for prediction in model.predict_many(photos.values())] == [
        (), (), seen[16].notes]


@pytest.mark.slow
def test_a_model_of_8_bits_reads_deep_photos_by_themselves(models, versions):
    photos = {bits: next((versions / str(bits) / "defect").iterdir()) for bits in (8, 12)}
    seen = {bits: models[8].predict(photo) for bits, photo in photos.items()}
    np.testing.assert_array_equal(seen[8].raw_local, seen[12].raw_local)
    assert seen[8].notes == ()
    assert "white is 4095 (12 bits)" in seen[12].notes[0] and "photos of 8 bits" in seen[12].notes[-1]


@pytest.mark.slow
def test_the_model_file_says_what_is_white(models, versions, tmp_path):
    models[12].save(tmp_path / "m.safetensors")
    assert json.loads(read_header(tmp_path / "m.safetensors")["config"])["white_level"] == 4095
    again = Ulsad.load(tmp_path / "m.safetensors")
    folder = versions / "12" / "defect"
    np.testing.assert_array_equal(maps_of(again, folder), maps_of(models[12], folder))
    assert models[12].record["notes"] == [
        "12 photos have more than 8 bits: white is 4095 (12 bits), the smallest depth that none of them "
        "exceeds. Set white_level if your camera says otherwise."]
    assert models[8].record["notes"] == []
    reference = np.asarray(again.references.photo(0).convert("L"), float)
    eight = Image.open(versions / "8" / "good" / again.references.names[0])
    eight.thumbnail((384, 384))
    assert np.abs(reference - np.asarray(eight, float)).mean() < 2  # it's a JPEG


@pytest.mark.slow
def test_a_given_white_is_kept_and_what_exceeds_it_said(versions):
    config = Config.from_json(TINY.to_json()).with_text(["white_level=2047", "steps=3"])
    model = Ulsad.fit(versions / "12" / "good", config)
    assert model.config.white_level == 2047 and len(model.record["notes"]) == 12
    assert all("brighter than white (2047)" in note for note in model.record["notes"])


@pytest.mark.slow
def test_a_training_that_goes_on_keeps_white_and_what_was_said_of_it(versions, tmp_path):
    part = Ulsad.fit(versions / "12" / "good", replace(TINY, steps=3), watch=Watch(should_stop=lambda: True))
    part.save(tmp_path / "part.safetensors", resumable=True)
    again = Ulsad.fit(versions / "12" / "good", resume=Ulsad.load(tmp_path / "part.safetensors"))
    assert part.record["steps"] == 1 and again.record["steps"] == 3
    assert again.config.white_level == 4095 and again.record["notes"] == part.record["notes"] != []


@pytest.mark.slow
def test_predict_says_and_draws_what_the_model_sees(models, versions, tmp_path, capsys):
    models[12].save(tmp_path / "m.safetensors")
    for bits in (8, 12, 16):
        out = tmp_path / str(bits)
        assert main(["predict", str(tmp_path / "m.safetensors"), str(versions / f"{bits}" / "defect"),
                     "--out", str(out)]) == 0
    assert "Photos with notes: 1," in capsys.readouterr().err
    notes = [spreadsheet.read(tmp_path / bits / "scores.csv")[1][COLUMNS.index("notes")]
             for bits in ("8", "12", "16")]
    assert notes[:2] == ["", ""] and "brighter than white (4095)" in notes[2]
    eight, twelve = (np.asarray(Image.open(next((tmp_path / bits / "maps").iterdir())))
                     for bits in ("8", "12"))
    np.testing.assert_array_equal(eight, twelve)


def test_older_models_keep_their_white():
    older = json.loads(Config().to_json())
    del older["white_level"]
    assert Config.from_json(json.dumps(older)).white_level == 65535
    assert Config.from_json(Config().to_json()).white_level is None
    assert Config().with_text(["white_level=4095"]).white_level == 4095
    assert Config().with_text(["white_level=0.5"]).white_level == 0.5
    for wrong in ("0", "-1", "true", "bright", "Infinity", "NaN"):
        with pytest.raises(InputError):
            Config().with_text([f"white_level={wrong}"])
