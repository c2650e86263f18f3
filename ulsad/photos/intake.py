"""Sort a user's photos into three slots: good parts, held-out good parts, known defects for testing.

Training and calibration use only `good` and `held_out`, and no photo is in two slots. Only paths are used
here; no photo is opened.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from ulsad.errors import InputError
from ulsad.photos.archives import extract_photos
from ulsad.photos.datasets import GOOD, GROUPS, UNNAMED_DEFECT, LabelledPhoto, plain, recognise
from ulsad.photos.images import SUFFIXES, find_images, is_photo

LAYOUT = "layout.txt"  # beside the kept photos
_GOOD, _MASKS = {"good", "ok", "normal"}, {"ground_truth", "masks"}  # folders of labelled sets, in lower case
_DEFECTS = {"test", "defects", "ko", "anomaly"}


GOOD_PARTS, HELD_OUT, DEFECTS = "good parts", "held-out good parts", "known defects"


@dataclass(frozen=True)
class Intake:
    """The three slots; no photo is in two of them."""

    good: tuple[Path, ...]
    held_out: tuple[Path, ...]  # also good; if empty, a seeded share of `good` is held out later
    test: tuple[LabelledPhoto, ...]  # known defects, and a data set's good test photos
    layout: str = ""  # "MVTec AD", … if the slot of good parts held a whole data set

    @property
    def slots(self) -> dict[str, tuple[Path, ...]]:
        """Photos by slot, under the names shown to the user."""
        return {GOOD_PARTS: self.good, HELD_OUT: self.held_out,
                DEFECTS: tuple(photo.path for photo in self.test if not photo.is_good)}


def take_in(
    good: Sequence[Path], held_out: Sequence[Path], defects: Sequence[Path], scratch: Path
) -> Intake:
    """Sort photos, folders and zips into the slots; zips are unpacked below `scratch`.

    If `good` is a single folder or zip with a whole data set, it fills all three slots. Photos given for a
    slot replace the set's photos for it, except that the set's good test photos are kept beside given
    defects. Folders in `defects` are kinds. Raises `InputError` when there are no good parts, when defects
    seem to be among them, for a photo in two slots, for a set with several categories, and for an unsafe zip.
    """
    intake = _good_parts(_unpacked(good, scratch / "good"))
    if held_out:
        intake = replace(intake, held_out=_only_good(_unpacked(held_out, scratch / "held-out")))
    if defects:
        good_tests = [photo for photo in intake.test if photo.is_good]
        given = _labelled(_unpacked(defects, scratch / "defects"))
        intake = replace(intake, test=tuple(dict.fromkeys([*good_tests, *given])))
    if not intake.good:
        raise InputError("Drop photos of good parts first: 20 to 300 images, or one zip.")
    _refuse_overlap(intake)
    return intake


def keep(intake: Intake, folder: Path, lasting: Path | None = None) -> Intake:
    """Store all photos in a new `folder`, in the plain layout of `ulsad.photos.datasets`, and return them
    from there.

    Photos are hard links where possible, else links to files below `lasting` (a permanent folder, unlike
    uploads), else copies. A second photo with the same name gets -2 appended. The folder appears only when
    complete. Raises `InputError` when it already exists or can't be written.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for source, place in _places(intake):
            _put(source, part / place, lasting)
        (part / LAYOUT).write_text(intake.layout, encoding="utf-8")
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise InputError(f"The photos could not be saved in {folder} ({error}). Is the disk full or "
                         "write-protected? Free some space and try again.") from error
    return kept(folder)


def is_kept(folder: Path) -> bool:
    """Whether `keep` created the folder."""
    return (folder / LAYOUT).is_file()


def kept(folder: Path) -> Intake:
    """The photos that `keep` stored in a folder. Raises `InputError` when some are missing by now."""
    gone = [path for path in folder.rglob("*") if not path.exists()]
    if gone:
        raise InputError(f"{len(gone)} photos are no longer where they were, for example "
                         f"{_shown(gone[0].readlink())}. Put them back, or start a new training.")
    category, layout = plain(folder), folder / LAYOUT
    if not category.train:
        raise InputError(f"{folder} holds no photos of good parts. Start a new training.")
    return Intake(category.train, category.held_out, category.test,
                  layout.read_text(encoding="utf-8") if layout.is_file() else "")


def _unpacked(sources: Sequence[Path], scratch: Path) -> list[Path]:
    """The same photos and folders, with zips replaced by the folders they are unpacked to."""
    places = []
    for i, source in enumerate(map(Path, sources)):
        if source.suffix.lower() == ".zip" and source.is_file():
            extract_photos(source, scratch / str(i))
            source = scratch / str(i)
        elif source.is_file() and not is_photo(Path(source.name)):
            raise InputError(f"{_shown(source)} is not a photo ({', '.join(SUFFIXES)}), zip or folder. "
                             "Leave it out.")
        places.append(source)
    return places


def _good_parts(places: list[Path]) -> Intake:
    """The slots filled from the good parts: all three if they are a whole data set."""
    category = recognise(places[0]) if len(places) == 1 and places[0].is_dir() else None
    if category is None:
        return Intake(_only_good(places), (), ())
    return Intake(category.train, category.held_out, category.test, category.layout)


def _only_good(places: list[Path]) -> tuple[Path, ...]:
    found = [(place, find_images(place)) for place in places]
    for place, photos in found:
        _refuse_defects(place, photos)
    return tuple(_once(photo for _, photos in found for photo in photos))


def _once(photos: Iterable[Path]) -> Iterable[Path]:
    """The photos, where one given both by itself and in its folder counts once."""
    return {photo.resolve(): photo for photo in photos}.values()


def _refuse_defects(place: Path, photos: list[Path]) -> None:
    """Refuse folders that look like defects, as in part of a data set or in an unknown layout: the model
    would be trained on them."""
    parents = {photo.parent.relative_to(place) for photo in photos if photo != place}
    folders = {folder for parent in parents for folder in (parent, *parent.parents) if folder.name}
    with_good = {folder.parent for folder in folders if folder.name.lower() in _GOOD | {"train"}}
    for folder in sorted(folders):
        name = folder.name.lower()
        beside_good = folder.parent in with_good and name not in _GOOD | {"train"}
        if beside_good or name in _DEFECTS | _MASKS:
            raise InputError(f"'{_shown(folder)}' looks like a folder of defects among good parts. "
                             "Give only folders of good parts, or one whole data set and nothing else.")


def _labelled(places: list[Path]) -> list[LabelledPhoto]:
    """Photos of defects; the kind is the name of a photo's folder."""
    found = {photo: photo.relative_to(place).parts[:-1] for place in places for photo in find_images(place)}
    masks = [photo for photo, folders in found.items() if _MASKS.intersection(folders)]
    if masks:
        raise InputError(f"{len(masks)} masks are among the defects, for example {_shown(masks[0])}. Leave "
                         "them out, or give one folder or zip with good, defects and masks as good parts.")
    labelled = []
    for photo in _once(found):
        kind = found[photo][-1] if found[photo] else UNNAMED_DEFECT
        kind = GOOD if kind.lower() in _GOOD else kind
        labelled.append(LabelledPhoto(photo, kind, GROUPS.get(kind)))
    return labelled


def _refuse_overlap(intake: Intake) -> None:
    slots = {
        "good parts": intake.good,
        "held-out good parts": intake.held_out,
        "good parts to test on": [photo.path for photo in intake.test if photo.is_good],
        "known defects": [photo.path for photo in intake.test if not photo.is_good],
    }
    resolved = [(name, {path.resolve() for path in paths}) for name, paths in slots.items()]
    for (one, first), (other, second) in combinations(resolved, 2):
        if both := first & second:
            raise InputError(f"Among the {one} and among the {other} at once: {_shown(min(both))}"
                             f"{f' and {len(both) - 1} more' if len(both) > 1 else ''}. Remove them from one "
                             "of the two.")


def _places(intake: Intake) -> Iterator[tuple[Path, Path]]:
    """Every file with its path in the plain layout.

    Masks always go into a folder named after their photo, as a file NAME_mask.png could belong to two photos.
    """
    for slot, paths in (("good", intake.good), ("held-out", intake.held_out)):
        for path, stem in zip(paths, _unique_names(path.stem for path in paths)):
            yield path, Path(slot, stem + path.suffix)
    for kind in dict.fromkeys(photo.kind for photo in intake.test):
        photos = [photo for photo in intake.test if photo.kind == kind]
        folder = Path("test-good") if kind == GOOD else Path("defects", kind)
        for photo, stem in zip(photos, _unique_names(photo.path.stem for photo in photos)):
            yield photo.path, folder / (stem + photo.path.suffix)
            for i, mask in enumerate(photo.masks):
                yield mask, Path("masks", kind, stem, f"{i:03}{mask.suffix}")


def _unique_names(stems: Iterable[str]) -> Iterator[str]:
    """The same names made unique, ignoring case: a repeated name gets -2, -3, … appended."""
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    for stem in stems:
        free = stem
        while free.casefold() in taken:
            counts[stem.casefold()] += 1
            free = f"{stem}-{counts[stem.casefold()] + 1}"
        taken.add(free.casefold())
        yield free


def _put(source: Path, place: Path, lasting: Path | None) -> None:
    source = source.resolve()  # a link to a link would break with the first
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:
        if lasting and source.is_relative_to(lasting.resolve()):
            place.symlink_to(source)
        else:
            shutil.copyfile(source, place)


def _shown(path: Path) -> str:
    """A path as printable text, even if its bytes are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
