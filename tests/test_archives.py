"""A zip may come from anywhere: nothing of it lands outside its folder, and its size is bounded."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest
from PIL import Image

from ulsad.errors import InputError
from ulsad.photos.archives import extract_photos, gather_photos


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def make_zip(path, names, content=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, png() if content is None else content)
    return path


def test_photos_come_out_and_the_rest_stays(tmp_path):
    file = make_zip(tmp_path / "a.zip", ["good/2.png", "good/10.png", "readme.txt", "__MACOSX/good/._2.png"])
    photos = extract_photos(file, tmp_path / "out")
    assert [path.name for path in photos] == ["2.png", "10.png"]
    assert not (tmp_path / "out/readme.txt").exists()


def test_the_table_of_visa_comes_along_unless_it_is_huge(tmp_path):
    table = "VisA/split_csv/1cls.csv"
    with zipfile.ZipFile(make_zip(tmp_path / "a.zip", ["VisA/0.png", "VisA/1cls.csv"]), "a") as archive:
        archive.writestr(table, "object,split")
    assert [path.name for path in extract_photos(tmp_path / "a.zip", tmp_path / "out")] == ["0.png"]
    written = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.csv")]
    assert [path.as_posix() for path in written] == [table]
    with pytest.raises(InputError, match="the limit is 1"):
        extract_photos(tmp_path / "a.zip", tmp_path / "other", max_files=1)
    with zipfile.ZipFile(make_zip(tmp_path / "b.zip", ["0.png"]), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(table, bytes(20_000_000))
    extract_photos(tmp_path / "b.zip", tmp_path / "third")
    assert not (tmp_path / "third" / table).exists()


def test_folders_that_windows_wrote_stay_folders(tmp_path):
    """Taken for one long name, a set's defects would be trained on as good parts."""
    names = ["tray\\train\\good\\0.png", "tray\\test\\broken\\1.png"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            info = zipfile.ZipInfo()
            info.filename = info.orig_filename = name
            archive.writestr(info, b"x")
    photos = extract_photos(tmp_path / "a.zip", tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in photos] == [
        "tray/test/broken/1.png", "tray/train/good/0.png"]


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png",
                                  "..\\evil.png"])
def test_names_that_lead_outside_are_refused(tmp_path, name):
    file = make_zip(tmp_path / "a.zip", ["good.png", name])
    with pytest.raises(InputError, match="outside"):
        extract_photos(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="link"):
        extract_photos(tmp_path / "a.zip", tmp_path / "out")


def test_too_many_bytes_or_files_are_refused_before_anything_is_written(tmp_path):
    bomb = make_zip(tmp_path / "bomb.zip", ["zeros.png"], content=bytes(20_000_000))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to"):
        extract_photos(bomb, tmp_path / "out", max_bytes=10_000_000)
    with pytest.raises(InputError, match="the limit is 2"):
        extract_photos(make_zip(tmp_path / "many.zip", ["a.png", "b.png", "c.png"]),
                       tmp_path / "out", max_files=2)
    assert not (tmp_path / "out").exists()


def test_a_header_that_lies_about_the_size_is_refused(tmp_path):
    file = make_zip(tmp_path / "a.zip", ["zeros.png"], content=bytes(5_000_000))
    declared = (5_000_000).to_bytes(4, "little")
    file.write_bytes(file.read_bytes().replace(declared, (1000).to_bytes(4, "little")))
    with pytest.raises(InputError):
        extract_photos(file, tmp_path / "out", max_bytes=1_000_000)
    written = sum(path.stat().st_size for path in tmp_path.glob("out/**/*.png"))
    assert written <= 1000


@pytest.mark.parametrize("content", [b"", b"PK not really", b"text"])
def test_not_a_zip(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip"):
        extract_photos(tmp_path / "a.zip", tmp_path / "out")


def test_gather_mixes_files_folders_and_zips(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ["one.png", "folder/two.png"]:
        (tmp_path / name).write_bytes(png())
    file = make_zip(tmp_path / "a.zip", ["three.png"])
    photos = gather_photos([tmp_path / "one.png", tmp_path / "folder", file], tmp_path / "scratch")
    assert [path.stem for path in photos] == ["one", "two", "three"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_photo_is_damaged_inside(tmp_path, method):
    file = tmp_path / "damaged.zip"
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.png", bytes(range(256)) * 400)
    content = bytearray(file.read_bytes())
    content[40:80] = b"\xff" * 40
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.zip"):
        extract_photos(file, tmp_path / "out")


def test_a_colon_in_a_name_is_no_drive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("shift 1/photo 10:30.png", png())
    assert [path.name for path in extract_photos(tmp_path / "a.zip", tmp_path / "out")] == ["photo 10:30.png"]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("C:/windows/a.png", png())
    with pytest.raises(InputError, match="leads outside"):
        extract_photos(tmp_path / "b.zip", tmp_path / "other")
