"""Before the first step: features of all photos, targets, networks and bank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from ulsad.compute import distributed, rows
from ulsad.compute.device import choose_device
from ulsad.compute.rows import IN_MEMORY, Rows, Space, each_row, take
from ulsad.detector.photo_sets import (
    OnCount,
    Photos,
    PhotoSet,
    Split,
    paths_of,
    read_and_split,
    with_white_level,
)
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

    @property
    def features(self) -> Tensor | None:
        """Those of the good photos, standardised; None where they were rounded to fit into a file."""
        features = self.data.features
        return features[:len(self.good.paths)] if isinstance(features, Tensor) else None

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


def bytes_needed(photos: int, config: Config, extractor: FeatureExtractor, per_value: int = 4) -> int:
    """Bytes that training keeps for `photos` photos: squares, features and targets.

    `per_value` is the number of bytes per feature: 4 in memory, 2 in a file.
    """
    values = extractor.channels * extractor.grid**2
    tensors = 2 if config.global_target == "attention" else 1
    return size_with_copies(photos, config) * (
        3 * config.image_size**2 + per_value * tensors * values)


def _seeds(config: Config, members: int) -> Iterator[Config]:
    """The configuration of each member, with a seed of its own."""
    return (replace(config, seed=(config.seed + i * 10_007) % 2**63) for i in range(members))


def _seeded_networks(config: Config, extractor: FeatureExtractor) -> Networks:
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return Networks(config, extractor.channels, extractor.grid)


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
    mean = sum((photo.double().sum(dim=(1, 2)) for photo in each_row(features)), zeros) / count
    squares = sum(((photo.double() - mean[:, None, None]).square().sum(dim=(1, 2))
                   for photo in each_row(features)), zeros)
    std = (squares / count).sqrt()
    std = torch.where(std < 1e-6, torch.ones_like(std), std)  # a dead channel stays 0, not infinite
    return mean.float()[None, :, None, None], std.float()[None, :, None, None]


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
