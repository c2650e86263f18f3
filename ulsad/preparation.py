"""Before the first step: read the photos, split off the held-out ones, compute what never changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ulsad.augmentation import with_copies
from ulsad.backbones import FeatureExtractor, load_backbone
from ulsad.branches import BATCH, Branches
from ulsad.config import Config
from ulsad.errors import InputError
from ulsad.images import Skipped, find_images, read_squares
from ulsad.maps import attention
from ulsad.networks import Networks
from ulsad.training import TrainingData

MINIMUM_PHOTOS = 8

Photos = Path | str | Sequence[Path]
OnCount = Callable[[str, int, int], None]  # phase, done, total


@dataclass(frozen=True)
class PhotoSet:
    """Readable photos as uint8 squares (n, 3, s, s), where they came from, and what was left out."""

    paths: list[Path]
    images: Tensor
    skipped: list[Skipped]

    def subset(self, indices: Tensor) -> PhotoSet:
        return PhotoSet([self.paths[i] for i in indices], self.images[indices], self.skipped)


@dataclass(frozen=True)
class Prepared:
    """Everything `train` and the calibration need; the networks are seeded but untrained."""

    good: PhotoSet
    held_out: PhotoSet
    branches: Branches
    data: TrainingData


def prepare(
    photos: Photos, held_out: Photos | None, config: Config, weights: Path | str | None,
    device: str | None, on_count: OnCount,
) -> Prepared:
    """Read, split, extract, standardise. Raises `InputError` for too few photos or missing weights."""
    extractor = load_backbone(config, weights).to(choose_device(device))
    good, kept_back = read_and_split(photos, held_out, config, on_count)
    images = with_copies(good.images, config)
    features = extract_features(extractor, images, on_count)
    mean, std = feature_statistics(features)
    device = extractor.pixel_mean.device
    branches = Branches(config, extractor, _seeded_networks(config, extractor).to(device),
                        mean.to(device), std.to(device))
    return Prepared(good, kept_back, branches, training_data(images, (features - mean) / std, config))


def read_and_split(
    photos: Photos, held_out: Photos | None, config: Config, on_count: OnCount = lambda *counts: None
) -> tuple[PhotoSet, PhotoSet]:
    """Photos to train on, and those that training never sees: given ones, or a seeded share."""
    good = read_photos(photos, config, on_count)
    check_enough(good)
    if held_out is None:
        return split_held_out(good, config)
    kept_back = read_photos(held_out, config, on_count)
    check_enough(kept_back, minimum=2)
    _refuse_overlap(good, kept_back)
    return good, kept_back


def _refuse_overlap(good: PhotoSet, held_out: PhotoSet) -> None:
    """Quantiles of photos that were trained on would be too low, and everything else would look strange."""
    both = {path.resolve() for path in good.paths} & {path.resolve() for path in held_out.paths}
    if both:
        raise InputError(f"{len(both)} photos are both trained on and held out, {min(both)} for one. "
                         "Take them out of one of the two.")


def choose_device(name: str | None) -> torch.device:
    """The named device, or a GPU where there is one. Raises `InputError` for one that is not here."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).cpu()
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"There is no device '{name}' here. Leave it out, or write cpu.") from error


def _seeded_networks(config: Config, extractor: FeatureExtractor) -> Networks:
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return Networks(config, extractor.channels, extractor.grid)


def read_photos(photos: Photos, config: Config, on_count: OnCount) -> PhotoSet:
    """All readable photos of a folder or a list. Raises `InputError` when there are defects among them."""
    paths = find_images(photos) if isinstance(photos, (str, Path)) else [Path(path) for path in photos]
    paths = list({path.resolve(): path for path in paths}.values())  # given twice, it still counts once
    _refuse_whole_dataset(paths)
    counter = iter(range(1, len(paths) + 1))
    kept, images, skipped = read_squares(
        paths, config.image_size, lambda: on_count("reading", next(counter), len(paths)))
    return PhotoSet(kept, images, skipped)


def _refuse_whole_dataset(paths: list[Path]) -> None:
    """Training on the root of a benchmark dataset would train on its defects."""
    folders = {folder.name: folder for path in paths for folder in path.parents}
    if "train" in folders and folders["train"].parent in (folders.get("test", Path()).parent,
                                                          folders.get("ground_truth", Path()).parent):
        raise InputError(f"{folders['train'].parent} is a whole dataset, with defects in it. "
                         f"Train on {folders['train'] / 'good'}.")


def split_held_out(photos: PhotoSet, config: Config) -> tuple[PhotoSet, PhotoSet]:
    """A seeded split into photos for training and held-out ones (at least two) for the quantiles."""
    count = len(photos.paths)
    held_out = max(2, round(config.held_out * count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed))
    return photos.subset(order[held_out:].sort().values), photos.subset(order[:held_out].sort().values)


def check_enough(photos: PhotoSet, minimum: int = MINIMUM_PHOTOS) -> None:
    """Raise `InputError`, with the reasons, when too few photos could be read."""
    if len(photos.paths) >= minimum:
        return
    reasons = "".join(f"\n  {skipped.reason}" for skipped in photos.skipped[:5])
    left_out = f" {len(photos.skipped)} could not be read:{reasons}" if photos.skipped else ""
    raise InputError(f"Only {len(photos.paths)} readable good photos; at least {minimum} are "
                     f"needed, and 20 or more to be useful. Add photos.{left_out}")


@torch.no_grad()
def extract_features(extractor: FeatureExtractor, images: Tensor, on_count: OnCount) -> Tensor:
    """Patch features U of uint8 squares, float32 (n, c*, h*, w*), not standardised, on the CPU."""
    parts, device = [], extractor.pixel_mean.device
    for batch in images.split(BATCH):
        parts.append(extractor(extractor.normalise(batch.to(device))).cpu())
        on_count("features", sum(map(len, parts)), len(images))
    return torch.cat(parts)


def feature_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Channel-wise μ and σ over all photos and positions, float32 (1, c*, 1, 1), σ never 0.

    Sums run in float64, photo by photo.
    """
    count = features.shape[0] * features.shape[2] * features.shape[3]
    total = sum(photo.double().sum(dim=(1, 2)) for photo in features)
    mean = total / count
    squares = sum((photo.double() - mean[:, None, None]).square().sum(dim=(1, 2)) for photo in features)
    std = (squares / count).sqrt()
    std = torch.where(std < 1e-6, torch.ones_like(std), std)  # a dead channel stays 0, not infinite
    return mean.float()[None, :, None, None], std.float()[None, :, None, None]


def training_data(images: Tensor, features: Tensor, config: Config) -> TrainingData:
    """Standardised features with their self-attention A where the configuration uses it."""
    if config.global_target != "attention":
        return TrainingData(images, features, None)
    targets = [attention(batch, batch) for batch in features.flatten(2).split(BATCH)]
    return TrainingData(images, features, torch.cat(targets))
