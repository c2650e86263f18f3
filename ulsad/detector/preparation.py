"""Before the first step: read the photos, split off the held-out ones, compute features and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from ulsad.compute import distributed, rows
from ulsad.compute.rows import IN_MEMORY, Rows, Space, batches, take
from ulsad.compute.workers import in_parallel
from ulsad.errors import InputError
from ulsad.method.augmentation import size_with_copies, with_copies
from ulsad.method.backbones import FeatureExtractor, load_backbone
from ulsad.method.bank import Bank
from ulsad.method.branches import BATCH, Branches
from ulsad.method.config import Config
from ulsad.method.equations import attention
from ulsad.method.member import Member
from ulsad.method.networks import Networks
from ulsad.method.training import TrainingData
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


@dataclass(frozen=True)
class Prepared:
    """Everything a training and its calibration need; the networks are seeded but untrained."""

    good: PhotoSet
    held_out: PhotoSet  # cross-fitted: the same photos
    branches: Branches
    data: TrainingData
    white: depth.White | None  # the white level, if it was found from the photos

    @property
    def made_from(self) -> range | None:
        """The training photo that each held-out photo is, see `Branches.analyse`; None: not trained on."""
        return None if self.branches.folds is None else range(len(self.held_out.paths))

    def rows_of(self, member: int) -> Tensor:
        """The indices of the photos and copies in `data` that a member is trained on."""
        rows, folds = torch.arange(len(self.data.images)), self.branches.folds
        if folds is None:
            return rows
        return rows[folds[rows % len(folds)] != member]  # copies come in the order of the photos, repeatedly


@contextmanager
def preparing(
    photos: Photos, held_out: Photos | None, config: Config, weights: Path | str | None,
    device: str | None, on_count: OnCount = lambda *counts: None, scratch: Path | None = None,
) -> Iterator[Prepared]:
    """Read, split, extract, standardise. The result is valid only inside the block.

    If the data needs more than `rows.MEMORY` bytes, it goes into temporary files below `scratch` (default:
    the system's temporary folder). Raises `InputError` for too few photos, missing weights or a full disk.
    """
    extractor = load_backbone(config, weights).to(choose_device(device))
    paths = paths_of(photos)
    is_large = bytes_needed(len(paths), config, extractor) > rows.MEMORY
    if scratch:
        scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="features-", dir=scratch) as folder:
        space = Space(Path(folder) if is_large else None)
        config, white = with_white_level(config, paths, held_out, on_count)
        split = read_and_split(paths, held_out, config, on_count, space)
        yield _prepared(split, config, extractor, space, on_count, white)


def _prepared(
    split: Split, config: Config, extractor: FeatureExtractor, space: Space, on_count: OnCount,
    white: depth.White | None,
) -> Prepared:
    good, held_out, folds = split
    images = with_copies(good.images, config, space)
    features = extract_features(extractor, images, on_count, space)
    mean, std = feature_statistics(features)
    device = extractor.pixel_mean.device
    data = TrainingData(images, features, standardise(features, mean, std, config, space, device))
    members = tuple(Member(seeded, _seeded_networks(seeded, extractor).to(device))
                    for seeded in _seeds(config, 1 if folds is None else config.folds))
    bank = Bank.of(take(features, torch.arange(len(good.paths))), config, device
                   ) if config.nearest_patches else None
    branches = Branches(config, extractor, members, mean.to(device), std.to(device), bank, folds)
    return Prepared(good, held_out, branches, data, white)


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


def bytes_needed(photos: int, config: Config, extractor: FeatureExtractor, per_value: int = 4) -> int:
    """Bytes that training keeps for `photos` photos: squares, features and targets.

    `per_value` is the number of bytes per feature: 4 in memory, 2 in a file.
    """
    values = extractor.channels * extractor.grid**2
    tensors = 2 if config.global_target == "attention" else 1
    return size_with_copies(photos, config) * (
        3 * config.image_size**2 + per_value * tensors * values)


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


def choose_device(name: str | None) -> torch.device:
    """The named device, or else a GPU if there is one. Raises `InputError` for a device that doesn't exist.

    On a GPU, convolutions are set to float32: with TF32, torch's default, combined maps of the demo photos
    differed by up to 2 % from a CPU's.
    """
    name = name or distributed.local_device() or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"There is no device '{name}'. Leave it out, or use cpu.") from error
    device = torch.device(name)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return device


def _seeds(config: Config, members: int) -> Iterator[Config]:
    """The configuration of each member, with a seed of its own."""
    return (replace(config, seed=(config.seed + i * 10_007) % 2**63) for i in range(members))


def _seeded_networks(config: Config, extractor: FeatureExtractor) -> Networks:
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return Networks(config, extractor.channels, extractor.grid)


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
        return read_square(path, config.image_size, config.white_level)

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
    digests = [digest(square) for square in _each(squares)]
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


def extract_features(
    extractor: FeatureExtractor, images: Rows, on_count: OnCount = lambda *counts: None,
    space: Space = IN_MEMORY,
) -> Rows:
    """Patch features U of uint8 squares, float32 (n, c*, h*, w*), not standardised, on the CPU."""
    shape = (len(images), extractor.channels, extractor.grid, extractor.grid)
    features = space.empty("features", shape, torch.float32)
    distributed.fill(features, BATCH, lambda a, b: extractor.features_of(images[a:b]),
                     lambda done: on_count("features", done, len(images)))
    return features


def feature_statistics(features: Rows) -> tuple[Tensor, Tensor]:
    """Channel-wise μ and σ over all photos and positions, float32 (1, c*, 1, 1), σ never 0.

    Sums run in float64, photo by photo.
    """
    count = features.shape[0] * features.shape[2] * features.shape[3]
    zeros = torch.zeros(features.shape[1], dtype=torch.float64)
    mean = sum((photo.double().sum(dim=(1, 2)) for photo in _each(features)), zeros) / count
    squares = sum(((photo.double() - mean[:, None, None]).square().sum(dim=(1, 2))
                   for photo in _each(features)), zeros)
    std = (squares / count).sqrt()
    std = torch.where(std < 1e-6, torch.ones_like(std), std)  # a dead channel stays 0, not infinite
    return mean.float()[None, :, None, None], std.float()[None, :, None, None]


def _each(rows: Rows) -> Iterator[Tensor]:
    return (photo for batch in batches(rows, BATCH) for photo in batch)


def standardise(features: Rows, mean: Tensor, std: Tensor, config: Config, space: Space,
                device: torch.device) -> Rows | None:
    """Standardise features in place. If self-attention is the global target, return A (Eq. 3), computed on
    the device."""
    targets = None
    if config.global_target == "attention":
        targets = space.empty("targets", (*features.shape[:2], features.shape[2] * features.shape[3]),
                              torch.float32)

    def standardised(start: int, end: int) -> Tensor:
        return (features[start:end] - mean) / std

    def attended(start: int, end: int) -> Tensor:
        patches = features[start:end].flatten(2).to(device)
        return attention(patches, patches).cpu()

    distributed.fill(features, BATCH, standardised)
    if targets is not None:
        distributed.fill(targets, BATCH, attended)
    return targets
