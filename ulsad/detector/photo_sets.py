"""Read the photos of good parts, and divide them into those to train on and those held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ulsad.compute import distributed
from ulsad.compute.rows import IN_MEMORY, Rows, Space, each_row, take
from ulsad.compute.workers import in_parallel
from ulsad.errors import InputError
from ulsad.method.config import Config
from ulsad.photos import depth
from ulsad.photos.images import Skipped, Square, digest, find_images, read_square

MINIMUM_PHOTOS = 8
READ_AT_ONCE = 4  # photos between two progress reports
FEW = 120  # good photos; up to so many are cross-fitted
MOST_HELD_OUT = 500  # photos split off; more would add no information, and are better used for training

Photos = Path | str | Sequence[Path]
OnCount = Callable[[str, int, int], None]  # phase, done, total


@dataclass(frozen=True)
class PhotoSet:
    """Readable photos as uint8 squares (n, 3, s, s), with their paths and what was skipped."""

    paths: list[Path]
    images: Rows
    digests: list[str]  # see `images.digest`
    skipped: list[Skipped]
    notes: list[str] = field(default_factory=list)  # on readable photos, see `images.Reading`

    def subset(self, indices: Tensor) -> PhotoSet:
        return PhotoSet([self.paths[i] for i in indices], take(self.images, indices),
                        [self.digests[i] for i in indices], self.skipped, self.notes)


class Split(NamedTuple):
    """The photos that the networks are trained on, and those that set the quantiles."""

    good: PhotoSet
    held_out: PhotoSet
    folds: Tensor | None  # cross-fitted, see `folds_of`: both are the same photos


def with_white_level(
    config: Config, photos: Photos, held_out: Photos | None = None, on_count: OnCount = lambda *counts: None
) -> tuple[Config, depth.White | None]:
    """The configuration with the white level of these photos, unless it already has one, and how it was
    found.

    The level stays None if all photos have 8 bits; their pixels are not decoded. Each process reads a share
    of the photos. Raises `InputError` when the level can't be determined.
    """
    if config.white_level is not None:
        return config, None
    paths = paths_of(photos) + (paths_of(held_out) if held_out is not None else [])
    seen = []
    for photo in in_parallel(depth.look, paths[distributed.rank()::distributed.size()]):
        if photo:
            seen.append(photo)
            on_count("reading", 0, len(paths))
    white = depth.white_of_set(distributed.gathered(seen))
    return (replace(config, white_level=white.level) if white else config), white


def read_and_split(
    photos: Photos, held_out: Photos | None, config: Config, on_count: OnCount = lambda *counts: None,
    space: Space = IN_MEMORY,
) -> Split:
    """The training photos, and the held-out ones: given ones, all in turns, or a seeded share."""
    good = read_photos(photos, config, on_count, space, "good")
    check_enough(good)
    if held_out is None:
        folds = folds_of(len(good.paths), config)
        return Split(good, good, folds) if folds is not None else Split(*split_held_out(good, config), None)
    kept_back = read_photos(held_out, config, on_count, space, "held-out")
    check_enough(kept_back, minimum=2)
    _refuse_overlap(good, kept_back)
    return Split(good, kept_back, None)


def _refuse_overlap(good: PhotoSet, held_out: PhotoSet) -> None:
    """Refuse held-out photos that are also trained on: their quantiles would be too low for other photos."""
    both = set(good.digests) & set(held_out.digests)
    if both:
        first = good.paths[min(map(good.digests.index, both))]
        raise InputError(f"{len(both)} photos are both trained on and held out, for example {first}. "
                         "Remove them from one of the two.")


def paths_of(photos: Photos) -> list[Path]:
    """The photos of a folder or a list, without repetitions. Raises `InputError` for a whole data set."""
    paths = find_images(photos) if isinstance(photos, (str, Path)) else [Path(path) for path in photos]
    paths = list({path.resolve(): path for path in paths}.values())
    _refuse_whole_dataset(paths)
    return paths


def read_photos(
    photos: Photos, config: Config, on_count: OnCount = lambda *counts: None, space: Space = IN_MEMORY,
    name: str = "good",
) -> PhotoSet:
    """All readable photos of a folder or a list; of equal ones, only the first."""
    paths = paths_of(photos)
    squares = space.empty(f"{name}-squares", (len(paths), 3, config.image_size, config.image_size),
                          torch.uint8)
    failures: list[tuple[int, str]] = []  # by index, as each process may have unpacked its own copy of a zip
    notes: list[tuple[int, str]] = []

    def look(path: Path) -> Square | Skipped:
        return read_square(path, config.image_size, config.white_level, config.decoded_side)

    def read(start: int, end: int) -> Tensor:
        result = torch.zeros(end - start, *squares.shape[1:], dtype=torch.uint8)
        for i, photo in enumerate(in_parallel(look, paths[start:end])):
            if isinstance(photo, Skipped):
                failures.append((start + i, photo.reason))
            else:
                result[i] = photo.pixels
                notes.extend((start + i, f"{paths[start + i].name}: {note}") for note in photo.notes)
        return result

    distributed.fill(squares, READ_AT_ONCE, read, lambda done: on_count("reading", done, len(paths)))
    unreadable = dict(sorted(distributed.gathered(failures)))
    digests = [digest(square) for square in each_row(squares)]
    kept = [i for i in range(len(paths)) if i not in unreadable]
    skipped = [Skipped(paths[i], reason) for i, reason in unreadable.items()]
    all_notes = [note for _, note in sorted(distributed.gathered(notes))]
    return replace(_without_copies(paths, squares, digests, kept, skipped), notes=all_notes)


def _without_copies(
    paths: list[Path], squares: Rows, digests: list[str], kept: list[int], skipped: list[Skipped]
) -> PhotoSet:
    """The photos without equal ones, so that no held-out photo has a copy in training."""
    first = {digests[i]: i for i in reversed(kept)}
    copies = [i for i in kept if first[digests[i]] != i]
    indices = torch.tensor(sorted(first.values()), dtype=torch.long)
    return PhotoSet(
        [paths[i] for i in indices], take(squares, indices), [digests[i] for i in indices],
        skipped + [Skipped(paths[i], f"{paths[i]}: shows the same as {paths[first[digests[i]]]}.")
                   for i in copies])


def _refuse_whole_dataset(paths: list[Path]) -> None:
    """Refuse the root of a benchmark data set: its defects would be trained on."""
    folders = {folder.name: folder for folder in {folder for path in paths for folder in path.parents}}
    if "train" in folders and folders["train"].parent in (folders.get("test", Path()).parent,
                                                          folders.get("ground_truth", Path()).parent):
        raise InputError(f"{folders['train'].parent} is a whole dataset, with defects in it. "
                         f"Train on {folders['train'] / 'good'} instead.")


def split_held_out(photos: PhotoSet, config: Config) -> tuple[PhotoSet, PhotoSet]:
    """A seeded split into photos for training and held-out ones (at least two) for the quantiles."""
    count = len(photos.paths)
    held_out = held_out_share(count, config)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed))
    return photos.subset(order[held_out:].sort().values), photos.subset(order[:held_out].sort().values)


def folds_of(photos: int, config: Config) -> Tensor | None:
    """The fold of each of so many good photos, seeded: int (n,), from 0; None if they are not cross-fitted.

    Folds have equally many photos, give or take one.
    """
    if config.folds == 1 or photos > FEW:
        return None
    order = torch.randperm(photos, generator=torch.Generator().manual_seed(config.seed))
    return torch.empty(photos, dtype=torch.long).scatter_(0, order, torch.arange(photos) % config.folds)


def held_out_share(photos: int, config: Config) -> int:
    """How many of `photos` photos are held out, without cross-fitting."""
    return min(max(2, round(config.held_out * photos)), MOST_HELD_OUT)


def check_enough(photos: PhotoSet, minimum: int = MINIMUM_PHOTOS) -> None:
    """Raise `InputError`, with reasons, if too few photos could be read."""
    if len(photos.paths) >= minimum:
        return
    reasons = "".join(f"\n  {skipped.reason}" for skipped in photos.skipped[:5])
    left_out = f" {len(photos.skipped)} could not be used:{reasons}" if photos.skipped else ""
    raise InputError(f"Only {len(photos.paths)} readable good photos; at least {minimum} are "
                     f"needed, and 20 or more for a useful model. Add photos.{left_out}")
