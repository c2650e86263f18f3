from __future__ import annotations

import json

import pytest

from ulsad import PRESETS, Config, InputError


@pytest.mark.parametrize("preset", PRESETS)
def test_json_round_trip(preset):
    assert Config.from_json(PRESETS[preset].to_json()) == PRESETS[preset]


def test_paper_preset_is_the_published_recipe():
    paper = PRESETS["paper"]
    assert (paper.backbone, paper.image_size) == ("wide_resnet50_2", 256)
    assert (paper.epochs, paper.steps) == (200, None)
    assert (paper.learning_rate, paper.weight_decay, paper.batch_size) == (2e-4, 2e-5, 8)
    assert (paper.lambda_l, paper.lambda_g, paper.alpha, paper.beta) == (0.5, 0.5, 0.9, 0.995)
    assert (paper.feature_dim, paper.frn_width, paper.frn_kernel, paper.blur_sigma) == (384, 1536, 5, 4.0)
    assert (paper.local_metric, paper.relative_maps, paper.augmented_photos) == ("plain", False, 0)
    assert (paper.combination, paper.global_weight) == ("mean", 1.0)


def test_text_assignments():
    config = Config().with_text(["epochs=3", "lambda_l=0", "backbone=resnet18", "layers=layer1,layer2"])
    assert (config.epochs, config.steps, config.lambda_l) == (3, None, 0)
    assert (config.backbone, config.layers) == ("resnet18", ("layer1", "layer2"))


@pytest.mark.parametrize("assignment", [
    "image_size=300", "image_size=224", "steps=0", "alpha=0.999", "beta=2", "batch_size=1", "frn_width=7",
    "learning_rate=-1", "precision=float16", "global_target=all", "nonsense=1", "steps", "steps=many",
    "held_out=1", "layers=layer1", "frn_kernel=4", "seed=x", "steps=1.5", "lambda_l=NaN",
    "global_weight=-1", "combination=product", "augmented_photos=-1", "local_metric=cosine",
    "relative_maps=2", "expected_power=-1", "nearest_patches=-1", "nearest_patches=0.5"])
def test_impossible_settings_are_refused(assignment):
    with pytest.raises(InputError):
        Config().with_text([assignment])


def test_a_configuration_of_an_older_version_keeps_what_it_was_trained_with():
    values = json.loads(Config(relative_maps=True).to_json())
    for name in ("white_level", "expected_power", "nearest_patches", "stop_when_still"):
        del values[name]
    values["schedule"] = "one_cycle"
    older = Config.from_json(json.dumps(values))
    assert (older.white_level, older.expected_power, older.nearest_patches) == (65535, 1.0, 0)
    assert (older.stop_when_still, older.schedule) == (False, "averaged")
    assert Config.from_json(Config().to_json()) == Config()
