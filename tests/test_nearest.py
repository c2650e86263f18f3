"""The bank of patches against scikit-learn's nearest neighbours and plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from sklearn.neighbors import NearestNeighbors

from ulsad import InputError
from ulsad.detector.preparation import extract_features, read_and_split
from ulsad.evaluation.nearest import Bank
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
    bank = Bank.fit(good_photos, TINY)
    test = find_images(demo_set / "test")[:3]
    scores, maps = bank.score(test)
    good, _ = read_and_split(good_photos, None, TINY)
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
    good, held_out = read_and_split(good_photos, None, TINY)
    assert [path.name for path in good.paths] == detector.record["train"]
    assert [path.name for path in held_out.paths] == detector.record["held_out"]
    bank = Bank.fit(good_photos, TINY)
    assert len(bank.patches) == 8000 < len(good.paths) * 1024
    assert not torch.equal(bank.patches, Bank.fit(good_photos, replace(TINY, seed=1)).patches)


def test_an_unreadable_photo_is_named(good_photos, tmp_path):
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(InputError, match=r"x\.png"):
        Bank.fit(good_photos, TINY).score([tmp_path / "x.png"])
