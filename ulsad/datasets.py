"""Labelled sets of photos in the layouts that benchmarks come in, from a path.

layout          train              held out           test                     masks
MVTec AD, MPDD  train/good         –                  test/KIND                ground_truth/KIND/NAME_mask.png
MVTec LOCO      train/good         validation/good    test/KIND                ground_truth/KIND/NAME/*.png
BTAD            train/ok           –                  test/ok, test/ko         ground_truth/ko/NAME.*
VisA            split_csv/1cls.csv with the columns object, split, label, image, mask
plain           good               held-out           test-good, defects/KIND  masks/KIND/NAME*.png

Only paths are looked at here; no photo is opened.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ulsad.errors import InputError
from ulsad.images import find_images

GOOD, LOGICAL, STRUCTURAL = "good", "logical", "structural"

_MPDD = {"tubes", "metal_plate", "connector", "bracket_white", "bracket_black", "bracket_brown"}
_LOCO_GROUPS = {"logical_anomalies": LOGICAL, "structural_anomalies": STRUCTURAL}


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo to test on."""

    path: Path
    kind: str  # "good", or the name of its defect
    group: str | None = None  # "logical" or "structural", where that is known
    masks: tuple[Path, ...] = ()  # where the defect is: any pixel that is not 0 in any of them

    @property
    def is_good(self) -> bool:
        return self.kind == GOOD


@dataclass(frozen=True)
class Category:
    """One kind of part: good photos to train on, and labelled ones to test on, none of them in both."""

    layout: str  # "MVTec AD", "MVTec LOCO", "BTAD", "MPDD", "VisA" or "plain"
    name: str
    train: tuple[Path, ...]
    held_out: tuple[Path, ...]  # empty: a seeded share of `train` is kept back
    test: tuple[LabelledPhoto, ...]


def find_categories(root: Path | str, groups: dict[str, str] | None = None) -> list[Category]:
    """The one category, or every category, at a path. `groups` says which kinds are logical or structural.

    Raises `InputError` for a layout that is none of those above, and for a category that lacks good or
    defective test photos.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is no folder. Give a data set's folder, or that of one of its categories.")
    found = _visa(root) if (root / "split_csv/1cls.csv").is_file() else _categories_at(root)
    if not found:
        raise InputError(f"{root} is laid out like none of MVTec AD, MVTec LOCO, BTAD, MPDD, VisA. Photos of "
                         "your own go into good, test-good and defects, with masks and held-out beside them.")
    for category in found:
        _require_both_labels(category)
    _require_kinds(groups or {}, found)
    return [_grouped(category, groups or {}) for category in found]


def read_mask(paths: Iterable[Path], size: int) -> np.ndarray:
    """The union of masks as bool (size, size), nearest neighbour, as the photo is squeezed to a square.

    Raises `InputError` when one can't be read.
    """
    union = np.zeros((size, size), dtype=bool)
    for path in paths:
        try:
            with Image.open(path) as opened:  # labels may be palette indices or tiny numbers, all but 0 count
                plain = opened.mode in ("1", "L", "P", "I", "I;16", "F")
                mask = Image.fromarray(np.asarray(opened if plain else opened.convert("L")) != 0)
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"{path}: not a readable mask ({error}).") from error
        union |= np.asarray(mask.resize((size, size), Image.Resampling.NEAREST))
    return union


def _categories_at(root: Path) -> list[Category]:
    """The category at `root` itself, or else those in its folders."""
    for folders in ([root], sorted(path for path in root.iterdir() if path.is_dir())):
        if found := [category for folder in folders if (category := _category_at(folder))]:
            return found
    return []


def _category_at(folder: Path) -> Category | None:
    if (folder / "train/good").is_dir() and (folder / "test").is_dir():
        return _mvtec(folder)
    if (folder / "train/ok").is_dir() and (folder / "test/ko").is_dir():
        return _btad(folder)
    if (folder / "good").is_dir() and (folder / "defects").is_dir():
        return _plain(folder)
    return None


def _mvtec(folder: Path) -> Category:
    """MVTec AD and MPDD, which is laid out alike; MVTec LOCO, with several masks a photo."""
    test = []
    for kind in sorted(path for path in (folder / "test").iterdir() if path.is_dir()):
        masks = folder / "ground_truth" / kind.name
        test += [LabelledPhoto(path, kind.name, _LOCO_GROUPS.get(kind.name), _masks_of(path, masks))
                 for path in _photos(kind)]
    is_loco = any(photo.kind in _LOCO_GROUPS for photo in test)
    layout = "MVTec LOCO" if is_loco else "MPDD" if folder.name in _MPDD else "MVTec AD"
    return Category(layout, folder.name, _photos(folder / "train/good"),
                    _photos(folder / "validation/good"), tuple(test))


def _btad(folder: Path) -> Category:
    good = [LabelledPhoto(path, GOOD) for path in _photos(folder / "test/ok")]
    bad = [LabelledPhoto(path, "ko", None, _masks_of(path, folder / "ground_truth/ko"))
           for path in _photos(folder / "test/ko")]
    return Category("BTAD", folder.name, _photos(folder / "train/ok"), (), tuple(good + bad))


def _plain(folder: Path) -> Category:
    """Without test-good every second held-out photo is tested on, and only the others set the quantiles."""
    held_out, good = _photos(folder / "held-out"), _photos(folder / "test-good")
    if not good:
        held_out, good = held_out[::2], held_out[1::2]
    defects = folder / "defects"
    bad = []
    for path in _photos(defects):
        parts = path.relative_to(defects).parts
        kind = parts[0] if len(parts) > 1 else "defect"
        bad.append(LabelledPhoto(path, kind, None, _masks_of(path, folder / "masks" / "/".join(parts[:-1]))))
    test = [LabelledPhoto(path, GOOD) for path in good] + bad
    return Category("plain", folder.name, _photos(folder / "good"), held_out, tuple(test))


def _visa(root: Path) -> list[Category]:
    with open(root / "split_csv/1cls.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        names = dict.fromkeys(row["object"] for row in rows)
        return [_visa_category(root, name, [row for row in rows if row["object"] == name]) for name in names]
    except (KeyError, TypeError) as error:
        raise InputError(f"{root / 'split_csv/1cls.csv'} lacks a column ({error}). "
                         "It needs object, split, label, image and mask.") from error


def _visa_category(root: Path, name: str, rows: list[dict[str, str]]) -> Category:
    train = tuple(root / row["image"] for row in rows if row["split"] == "train")
    test = [LabelledPhoto(root / row["image"], GOOD if row["label"] == "normal" else "anomaly", None,
                          (root / row["mask"],) if row["mask"] else ())
            for row in rows if row["split"] == "test"]
    return Category("VisA", name, train, (), tuple(test))


def _photos(folder: Path) -> tuple[Path, ...]:
    return tuple(find_images(folder)) if folder.is_dir() and any(folder.iterdir()) else ()


def _masks_of(photo: Path, folder: Path) -> tuple[Path, ...]:
    """The masks of a photo in its kind's folder: NAME_mask.*, NAME.*, or all in a folder NAME."""
    if (several := folder / photo.stem).is_dir():
        return tuple(find_images(several))
    names = [f"{photo.stem}{tail}{suffix}" for tail in ("_mask", "") for suffix in (".png", ".bmp", ".tif")]
    return tuple([folder / name for name in names if (folder / name).is_file()][:1])


def _require_both_labels(category: Category) -> None:
    good = sum(photo.is_good for photo in category.test)
    if not category.train or not good or good == len(category.test):
        raise InputError(f"{category.name}: {len(category.train)} photos to train on, {good} good and "
                         f"{len(category.test) - good} defective ones to test on; each must be more than 0.")


def _require_kinds(kinds: Iterable[str], categories: list[Category]) -> None:
    known = {photo.kind for category in categories for photo in category.test}
    if unknown := sorted(set(kinds) - known):
        raise InputError(f"There is no kind {', '.join(unknown)}. There are {', '.join(sorted(known))}.")


def _grouped(category: Category, groups: dict[str, str]) -> Category:
    test = tuple(replace(photo, group=groups.get(photo.kind, photo.group)) for photo in category.test)
    return replace(category, test=test)
