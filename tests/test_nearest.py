"""The bank of patches against scikit-learn's nearest neighbours and plain numpy."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from sklearn.neighbors import NearestNeighbors

from ulsad import InputError
from ulsad.detector.photo_sets import read_and_split
from ulsad.detector.preparation import extract_features
from ulsad.evaluation.nearest import NearestNeighbours
from ulsad.method.backbones import load_backbone
from ulsad.photos.images import find_images, read_squares


def features_of(paths) -> np.ndarray:
    _, images, _ = read_squares(paths, TINY.image_size)
    return extract_features(load_backbone(TINY), images, lambda *counts: None).double().numpy()


def averaged(features: np.ndarray) -> np.ndarray:
    """(n, h, w, c), the mean over 3 × 3 with zeros beyond the border."""
    padded = np.pad(features, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = features.shape[2:]
    return sum(padded[:, :, y: y + height, x: x + width] for y in range(3) for x in range(3)
               ).transpose(0, 2, 3, 1) / 9


def test_scores_and_maps_are_those_of_the_nearest_neighbours(good_photos, demo_set):
    bank = NearestNeighbours.fit(good_photos, TINY)
    test = find_images(demo_set / "test")[:3]
    scores, maps = bank.score(test)
    good, *_ = read_and_split(good_photos, None, TINY)
    trained = features_of(good.paths)
    mean, std = (getattr(trained, name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "std"))
    patches = averaged((trained - mean) / std).reshape(-1, trained.shape[1])
    drawn = torch.randperm(len(patches), generator=torch.Generator().manual_seed(TINY.seed))[:8000].numpy()
    index = NearestNeighbors(n_neighbors=1).fit(patches[drawn])
    for photo, score, map_ in zip(averaged((features_of(test) - mean) / std), scores, maps, strict=True):
        distances = index.kneighbors(photo.reshape(-1, photo.shape[2]))[0][:, 0]
        assert score == pytest.approx(np.sort(distances)[-5:].mean(), rel=1e-3)
        assert map_.shape == (256, 256) and map_.max() <= distances.max() * 1.001


def test_held_out_photos_are_those_of_ulsad_and_not_in_the_bank(good_photos, detector):
    good, held_out, _ = read_and_split(good_photos, None, TINY)
    assert [path.name for path in good.paths] == detector.record["train"]
    assert [path.name for path in held_out.paths] == detector.record["held_out"]
    bank = NearestNeighbours.fit(good_photos, TINY)
    assert len(bank.patches) == 8000 < len(good.paths) * 1024
    assert not torch.equal(bank.patches, NearestNeighbours.fit(good_photos, replace(TINY, seed=1)).patches)


def test_an_unreadable_photo_is_named(good_photos, tmp_path):
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(InputError, match=r"x\.png"):
        NearestNeighbours.fit(good_photos, TINY).score([tmp_path / "x.png"])


def test_the_good_patches_of_a_model_need_no_training_photo(detector, demo_set, tmp_path):
    test = find_images(demo_set / "test")[:2]
    search = NearestNeighbours.of(detector)
    scores, maps = search.score(test)
    features = averaged((features_of(test) - detector.branches.mean.double().numpy())
                        / detector.branches.std.double().numpy())
    index = NearestNeighbors(n_neighbors=1).fit(detector.branches.bank.patches.numpy())
    distances = [index.kneighbors(photo.reshape(-1, photo.shape[2]))[0][:, 0] for photo in features]
    assert scores == pytest.approx([np.sort(one)[-5:].mean() for one in distances], rel=1e-3)
    assert maps.shape == (2, 256, 256)


def test_a_model_without_good_patches_says_so(detector):
    alone = copy.copy(detector)
    alone.branches = replace(detector.branches, bank=None)
    with pytest.raises(InputError, match="nearest_patches"):
        NearestNeighbours.of(alone)
