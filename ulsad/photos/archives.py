"""Find photos in files, folders and zips, which may come from untrusted sources."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from ulsad.errors import InputError
from ulsad.photos.files import place_inside
from ulsad.photos.images import find_images, is_photo

MAX_FILES = 20_000
MAX_BYTES = 8 * 2**30
_MAX_TABLE = 2**24  # bytes; ten times the size of VisA's table


def gather_photos(sources: list[Path], scratch: Path) -> list[Path]:
    """All photos in the given files, folders and zips; zips are unpacked below `scratch`."""
    photos = []
    for i, source in enumerate(sources):
        is_zip = source.suffix.lower() == ".zip" and source.is_file()
        photos += extract_photos(source, scratch / f"zip{i}") if is_zip else find_images(source)
    return photos


def named_photos(source: Path, scratch: Path) -> dict[Path, str]:
    """The photos of a folder, a zip or one file, with their names relative to it; a zip is unpacked below
    `scratch`."""
    paths = gather_photos([source], scratch)
    root = source if source.is_dir() else paths[0].parent
    if source.suffix.lower() == ".zip":
        root = scratch / "zip0"
    return {path: path.relative_to(root).as_posix() for path in paths}


def extract_photos(
    archive: Path | str, folder: Path, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES
) -> list[Path]:
    """Unpack the photos of a zip below `folder` (subfolders kept) and return their paths.

    VisA's split_csv/1cls.csv, which labels its photos, is unpacked too but not returned. Raises `InputError`
    before anything is written: for names that lead outside the folder, links, encryption, too many files or
    bytes, and for a file that is not a zip.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {place_of(member, archive): member for member in opened.infolist()
                       if not member.is_dir()}
            photos = [place for place in members if is_photo(place)]
            tables = [place for place, member in members.items()
                      if is_table(place) and member.file_size <= _MAX_TABLE]
            unpacked = {place: members[place] for place in (*photos, *tables)}
            refuse_too_large(list(unpacked.values()), archive, folder, max_files, max_bytes)
            for place, member in unpacked.items():
                extract(opened, member, folder / place)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, zlib.error, LZMAError) as error:
        raise InputError(f"{archive} could not be unpacked ({error}). Is the disk full? If not, create the "
                         "zip again, or use the photos without a zip.") from error
    if not photos:
        raise InputError(f"{archive} holds no photos.")
    return find_images(folder)


def is_table(place: PurePosixPath) -> bool:
    """Whether a file is the table that labels VisA's photos."""
    return place.parts[-2:] == ("split_csv", "1cls.csv")


def extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path) -> None:
    """Extract one entry; zipfile itself would turn folders that Windows wrote with \\ into one long name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, open(file, "wb") as target:
        shutil.copyfileobj(source, target)


def place_of(member: zipfile.ZipInfo, archive: Path | str) -> PurePosixPath:
    """The path of an entry. Raises `InputError` if it is unsafe to unpack."""
    try:
        place = place_inside(member.orig_filename)
    except InputError as error:
        raise InputError(f"{archive}: {error}") from error
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"{archive}: refused, the entry '{member.filename}' is a link.")
    if member.flag_bits & 1:
        raise InputError(f"{archive}: is protected by a password. Create it again without one.")
    return place


def refuse_too_large(
    files: list[zipfile.ZipInfo], archive: Path | str, folder: Path, max_files: int, max_bytes: int
) -> None:
    """Raises `InputError` for too many files or bytes, or more than `folder`'s disk has room for."""
    # zipfile never unpacks more of an entry than its header says, so the sum is reliable.
    total = sum(member.file_size for member in files)
    if len(files) > max_files:
        raise InputError(f"{archive}: refused, {len(files):,} files; the limit is {max_files:,}.")
    if total > max_bytes:
        raise InputError(f"{archive}: refused, it unpacks to {total / 2**30:.1f} GB; "
                         f"the limit is {max_bytes / 2**30:.1f} GB.")
    free = shutil.disk_usage(_existing(folder)).free
    if total > free:
        raise InputError(f"{archive}: unpacks to {total / 2**30:.1f} GB, "
                         f"but only {free / 2**30:.1f} GB are free at {folder}.")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
