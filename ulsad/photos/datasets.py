"""Find labelled data sets in the layouts of common benchmarks.

layout          train              held out           test                     masks
MVTec AD, MPDD  train/good         –                  test/KIND                ground_truth/KIND/NAME_mask.png
MVTec LOCO      train/good         validation/good    test/KIND                ground_truth/KIND/NAME/*.png
BTAD            train/ok           –                  test/ok, test/ko         ground_truth/ko/NAME.*
VisA            split_csv/1cls.csv with the columns object, split, label, image, mask
plain           good               held-out           test-good, defects/KIND  masks/KIND/NAME*.png

Only paths are used here; no photo is opened.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ulsad.errors import InputError
from ulsad.photos.images import find_images, is_photo

GOOD, LOGICAL, STRUCTURAL = "good", "logical", "structural"
UNNAMED_DEFECT = "defect"  # the kind of a defect that lies in no folder
GROUPS = {"logical_anomalies": LOGICAL, "structural_anomalies": STRUCTURAL}  # groups of LOCO's kinds
VISA, PLAIN = "VisA", "plain"

_MPDD = {"tubes", "metal_plate", "connector", "bracket_white", "bracket_black", "bracket_brown"}
_TABLE = "split_csv/1cls.csv"
_ABOVE = 6  # VisA's photos are five folders below its own
_MASKS = (".png", ".bmp", ".tif", ".tiff", ".gif")  # lossless; JPEG would blur the labels


@dataclass(frozen=True)
class LabelledPhoto:
    """One test photo."""

    path: Path
    kind: str  # "good", or the kind of its defect
    group: str | None = None  # "logical" or "structural", where known
    masks: tuple[Path, ...] = ()  # the defect: pixels that are not 0 in at least one mask

    @property
    def is_good(self) -> bool:
        return self.kind == GOOD


@dataclass(frozen=True)
class Category:
    """One kind of part: good training photos and labelled test photos, with no photo in both."""

    layout: str  # "MVTec AD", "MVTec LOCO", "BTAD", "MPDD", "VisA" or "plain"
    name: str
    train: tuple[Path, ...]
    held_out: tuple[Path, ...]  # if empty, a seeded share of `train` is held out
    test: tuple[LabelledPhoto, ...]


def find_categories(root: Path | str, groups: dict[str, str] | None = None) -> list[Category]:
    """All categories at a path. `groups` says which kinds are logical or structural.

    Raises `InputError` for an unknown layout, and for a category without good or defective test photos.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder. Give the folder of a data set or of one category.")
    found = _at(root) or [category for folder in _folders(root) for category in _at(folder)]
    if not found:
        raise InputError(f"{root} has none of the known layouts (MVTec AD, MVTec LOCO, BTAD, MPDD, VisA). "
                         "Put your own photos into folders good, test-good, defects, and optionally masks "
                         "and held-out.")
    found = [_with_good_to_test(category) for category in found]
    for category in found:
        _require_both_labels(category)
    _require_kinds(groups or {}, found)
    return [_grouped(category, groups or {}) for category in found]


def recognise(root: Path) -> Category | None:
    """The single category in a folder to train on, or None if the layout is unknown.

    It may lack test photos, and may lie in a subfolder, as in a zip of its folder. Photos that VisA's table
    lists but that are missing are left out; in a plain layout, all held-out photos stay held out. Raises
    `InputError` for a set with several categories.
    """
    beside = _visa(root.parent) if (root.parent / _TABLE).is_file() else []
    found, level = [category for category in beside if category.name == root.name], [root]
    while level and not found:
        found = [category for folder in level for category in _at(folder)]
        alone = len(level) == 1 and not any(map(_is_at_hand, level[0].iterdir()))
        level = _folders(level[0]) if alone else []
    found = [category for category in map(_at_hand, found) if category.train or category.layout != VISA]
    if len(found) > 1:
        names = ", ".join(category.name for category in found)
        raise InputError(f"This set has {len(found)} categories ({names}). Give one of them.")
    return found[0] if found else None


def plain(folder: Path) -> Category:
    """The category in a folder with the plain layout; missing folders count as empty."""
    defects, bad = folder / "defects", []
    for path in _photos(defects):
        parts = path.relative_to(defects).parts
        kind = parts[0] if len(parts) > 1 else UNNAMED_DEFECT
        masks = masks_of(path, folder / "masks" / "/".join(parts[:-1]))
        bad.append(LabelledPhoto(path, kind, GROUPS.get(kind), masks))
    test = [LabelledPhoto(path, GOOD) for path in _photos(folder / "test-good")] + bad
    return Category(PLAIN, folder.name, _photos(folder / "good"), _photos(folder / "held-out"), tuple(test))


def labels_of(photos: Iterable[Path], within: Path | None = None) -> list[LabelledPhoto | None]:
    """What the data set around each photo says of it; None where it lies in no known layout.

    Looked for in up to `_ABOVE` folders above the photo, and only in those inside `within`. Raises
    `InputError` for a damaged table of VisA.
    """
    found: dict[Path, dict[Path, LabelledPhoto]] = {}
    labels = []
    for photo in photos:
        place = Path(os.path.abspath(photo))
        above = [folder for folder in place.parents[:_ABOVE]
                 if within is None or folder.is_relative_to(os.path.abspath(within))]
        for folder in above:
            if folder not in found:
                found[folder] = {labelled.path: labelled for category in _at(folder) or _without_train(folder)
                                 for labelled in _all_photos(category)}
        labels.append(next((found[folder][place] for folder in above if place in found[folder]), None))
    return labels


def _without_train(folder: Path) -> list[Category]:
    """The test photos of MVTec's layouts, whose masks are there even if the training photos are not."""
    return [_mvtec(folder)] if (folder / "ground_truth").is_dir() and (folder / "test").is_dir() else []


def _all_photos(category: Category) -> Iterable[LabelledPhoto]:
    return (*category.test, *(LabelledPhoto(path, GOOD) for path in category.train + category.held_out))


def read_mask(paths: Iterable[Path], size: int) -> np.ndarray:
    """The union of masks as bool (size, size), scaled to a square like the photo, by nearest neighbour.

    Raises `InputError` when a mask can't be read.
    """
    union = np.zeros((size, size), dtype=bool)
    for path in paths:
        try:
            with Image.open(path) as opened:  # labels may be palette indices or small numbers; only 0 is good
                plain = opened.mode in ("1", "L", "P", "I", "I;16", "F")
                mask = Image.fromarray(np.asarray(opened if plain else opened.convert("L")) != 0)
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"{path}: not a readable mask ({error}).") from error
        union |= np.asarray(mask.resize((size, size), Image.Resampling.NEAREST))
    return union


def _at(folder: Path) -> list[Category]:
    """The category in this folder, or all of VisA's categories, which are listed in one table."""
    if (folder / _TABLE).is_file():
        return _visa(folder)
    if (folder / "train/good").is_dir():
        return [_mvtec(folder)]
    if (folder / "train/ok").is_dir():
        return [_btad(folder)]
    beside = [folder / name for name in ("defects", "held-out", "test-good")]
    return [plain(folder)] if (folder / "good").is_dir() and any(map(Path.is_dir, beside)) else []


def _mvtec(folder: Path) -> Category:
    """MVTec AD; MPDD, which has the same layout; and MVTec LOCO, which has several masks per photo."""
    test = []
    for kind in _folders(folder / "test"):
        masks = folder / "ground_truth" / kind.name
        test += [LabelledPhoto(path, kind.name, GROUPS.get(kind.name), masks_of(path, masks))
                 for path in _photos(kind)]
    is_loco = any(photo.kind in GROUPS for photo in test)
    layout = "MVTec LOCO" if is_loco else "MPDD" if folder.name in _MPDD else "MVTec AD"
    return Category(layout, folder.name, _photos(folder / "train/good"),
                    _photos(folder / "validation/good"), tuple(test))


def _btad(folder: Path) -> Category:
    good = [LabelledPhoto(path, GOOD) for path in _photos(folder / "test/ok")]
    bad = [LabelledPhoto(path, "ko", None, masks_of(path, folder / "ground_truth/ko"))
           for path in _photos(folder / "test/ko")]
    return Category("BTAD", folder.name, _photos(folder / "train/ok"), (), tuple(good + bad))


def _with_good_to_test(category: Category) -> Category:
    """Without test-good, use every second held-out photo for testing and only the others for quantiles."""
    if category.layout != PLAIN or any(photo.is_good for photo in category.test):
        return category
    good = tuple(LabelledPhoto(path, GOOD) for path in category.held_out[1::2])
    return replace(category, held_out=category.held_out[::2], test=good + category.test)


def _visa(root: Path) -> list[Category]:
    try:
        with open(root / _TABLE, newline="", encoding="utf-8") as file:
            by_name: dict[str, list[dict[str, str]]] = {}
            for row in csv.DictReader(file):
                by_name.setdefault(row["object"], []).append(row)
        return [_visa_category(root, name, rows) for name, rows in by_name.items()]
    except (KeyError, TypeError) as error:
        raise InputError(f"{root / _TABLE} lacks a column ({error}). "
                         "It needs object, split, label, image and mask.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{root / _TABLE} is not a table ({error}). "
                         "Use the one that came with VisA.") from error


def _visa_category(root: Path, name: str, rows: list[dict[str, str]]) -> Category:
    train = tuple(_below(root, row["image"]) for row in rows if row["split"] == "train")
    test = [LabelledPhoto(_below(root, row["image"]), GOOD if row["label"] == "normal" else "anomaly",
                          masks=(_below(root, row["mask"]),) if row["mask"] else ())
            for row in rows if row["split"] == "test"]
    return Category(VISA, name, train, (), tuple(test))


def _below(root: Path, name: str) -> Path:
    """The path of a table's entry. Tables may be untrusted and must not open other files of this machine."""
    if Path(name).anchor or ".." in Path(name).parts:
        raise InputError(f"{root / _TABLE} names '{name}', which leads outside its folder. "
                         "Use the table that came with VisA.")
    return root / name


def _at_hand(category: Category) -> Category:
    """The category without missing files: a user may have only some categories of VisA."""
    test = [replace(photo, masks=tuple(filter(_is_at_hand, photo.masks)))
            for photo in category.test if _is_at_hand(photo.path)]
    return replace(category, train=tuple(filter(_is_at_hand, category.train)), test=tuple(test))


def _is_at_hand(path: Path) -> bool:
    return is_photo(Path(path.name)) and os.path.isfile(path)


def _folders(folder: Path) -> list[Path]:
    """The visible folders in a folder, if it is there."""
    found = [path for path in folder.glob("*") if path.is_dir()]
    return sorted(path for path in found if not path.name.startswith(".") and path.name != "__MACOSX")


def _photos(folder: Path) -> tuple[Path, ...]:
    return tuple(find_images(folder)) if folder.is_dir() and any(folder.iterdir()) else ()


def masks_of(photo: Path, folder: Path) -> tuple[Path, ...]:
    """The masks of a photo in its kind's folder: NAME_mask.*, NAME.*, or all in a folder NAME."""
    if (several := folder / photo.stem).is_dir():
        return tuple(find_images(several))
    names = [f"{photo.stem}{tail}{suffix}" for tail in ("_mask", "") for suffix in _MASKS]
    return tuple([folder / name for name in names if (folder / name).is_file()][:1])


def _require_both_labels(category: Category) -> None:
    good = sum(photo.is_good for photo in category.test)
    if not category.train or not good or good == len(category.test):
        raise InputError(f"{category.name}: {len(category.train)} training photos, {good} good and "
                         f"{len(category.test) - good} defective test photos; each must be more than 0.")


def _require_kinds(kinds: Iterable[str], categories: list[Category]) -> None:
    known = {photo.kind for category in categories for photo in category.test}
    if unknown := sorted(set(kinds) - known):
        raise InputError(f"There is no kind {', '.join(unknown)}. Known kinds: {', '.join(sorted(known))}.")


def _grouped(category: Category, groups: dict[str, str]) -> Category:
    test = tuple(replace(photo, group=groups.get(photo.kind, photo.group)) for photo in category.test)
    return replace(category, test=test)
