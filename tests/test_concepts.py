"""Concepts are groups of patches that belong together: planted ones, and the kinds of parts in a tray."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import adjusted_mutual_info_score

from ulsad.attention.attention import attention_over, patch_features, spread, standardised
from ulsad.attention.concepts import concepts
from ulsad.demo import tray
from ulsad.method.backbones import load_backbone
from ulsad.method.config import Config


@pytest.fixture(scope="module")
def extractor():
    return load_backbone(Config())


def labels_of(found, shape) -> np.ndarray:
    labels = np.full(shape, -1)
    for i, concept in enumerate(found):
        assert (labels[concept.members] == -1).all()
        labels[concept.members] = i
    return labels


def test_concepts_are_the_planted_groups():
    """Four kinds of things planted on a backdrop, two of a kind: each is found, and attends to itself."""
    kinds = torch.zeros(24, 36, dtype=torch.long)
    for kind in range(4):
        for top in (3, 15):
            kinds[top : top + 6, 2 + 8 * kind : 8 + 8 * kind] = kind + 1
    noise = torch.randn(10, 24, 36, generator=torch.Generator().manual_seed(0))
    features = 0.1 * noise + 4 * torch.nn.functional.one_hot(kinds, 10).permute(2, 0, 1)
    found = concepts(features, 4, temperature=1.0)
    assert sorted(int(kinds[concept.row, concept.column]) for concept in found) == [1, 2, 3, 4]
    for concept in found:
        planted = (kinds == kinds[concept.row, concept.column]).numpy()
        assert planted[concept.members].all() and concept.temperature == 1
        query = features[:, concept.row, concept.column]
        np.testing.assert_allclose(concept.attention, attention_over(features, query), atol=1e-7)
        assert concept.attention[planted].sum() > 0.8


def test_attention_spreads_over_as_many_patches_as_the_concept_has(extractor):
    rng = np.random.default_rng(3)
    photo = tray.photograph(tray.arrange(rng), rng)
    found = concepts(standardised(patch_features(extractor, photo.image, 256)), 12)
    sizes = [int(concept.members.sum()) for concept in found]
    assert sum(sizes) == 1024
    for concept, size in zip(found, sizes, strict=True):
        assert concept.members[concept.row, concept.column]
        assert spread(concept.attention) == pytest.approx(size, rel=1e-2)
        assert concept.attention.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", [100, 101, 102])
def test_concepts_tell_the_kinds_of_parts_apart(extractor, seed):
    """Against the masks of the tray's generator, on the patches that mostly show a part."""
    rng = np.random.default_rng(seed)
    photo = tray.photograph(tray.arrange(rng), rng)
    labels = labels_of(concepts(standardised(patch_features(extractor, photo.image, 256)), 12), (32, 32))
    pixels = np.asarray(Image.fromarray(photo.labels).resize((256, 256), Image.Resampling.NEAREST))
    patches = pixels.reshape(32, 8, 32, 8).transpose(0, 2, 1, 3).reshape(32, 32, 64)
    kinds = np.array([[np.bincount(patch, minlength=7).argmax() for patch in row] for row in patches])
    parts = kinds > 0
    assert set(np.unique(kinds)) == set(range(7))
    assert adjusted_mutual_info_score(kinds[parts], labels[parts]) >= 0.5


def test_a_photo_without_anything_on_it(extractor):
    features = standardised(patch_features(extractor, Image.new("RGB", (300, 200), "white"), 256))
    found = concepts(features, 4)
    assert found and all(np.isfinite(concept.attention).all() for concept in found)
