"""What training does to be quick changes nothing but rounding: against Algorithm 1 as the paper has it."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from conftest import TINY

from ulsad.detector.preparation import feature_statistics
from ulsad.method.backbones import load_backbone
from ulsad.method.config import PRESETS
from ulsad.method.equations import attention
from ulsad.method.networks import Networks
from ulsad.method.training import Training, TrainingData
from ulsad.photos.images import find_images, read_squares
from ulsad.speed import plain

STEPS = 5


@pytest.mark.slow
@pytest.mark.usefixtures("in_float64")
def test_losses_of_the_paper_preset_are_those_of_the_plain_procedure(good_photos):
    """The layers are narrow here, but of the paper's kinds."""
    config = replace(PRESETS["paper"], backbone=TINY.backbone, frn_width=32, autoencoder_width=16,
                     batch_size=4, epochs=None, steps=STEPS)
    extractor, backbone = load_backbone(config), plain.PublishedBackbone.pretrained(config)
    _, squares, _ = read_squares(find_images(good_photos), config.image_size)
    features = extractor.features_of(squares)
    mean, std = feature_statistics(features)
    features = (features - mean) / std
    data = TrainingData(squares, features, attention(features.flatten(2), features.flatten(2)))

    torch.manual_seed(0)
    networks = Networks(config, extractor.channels, extractor.grid)
    twin = plain.plain_networks(networks)
    training = Training(networks, data, config, extractor.normalise)
    expected = plain.train(twin, backbone, extractor.normalise(squares), mean, std, config,
                           list(islice(training._batches(), STEPS)))
    all_losses = []
    for step, losses in zip(training, expected, strict=True):
        found = torch.tensor((step.local, step.attention, step.local_global))
        torch.testing.assert_close(found, torch.tensor(losses), rtol=1e-7, atol=0)
        all_losses.append(sum(losses))
    assert all_losses[-1] < 0.95 * all_losses[0]
