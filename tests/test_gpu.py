"""What a GPU computes is what a CPU computes, but for rounding. Hidden from all other tests, see conftest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL, DEMO_PHOTOS, TINY
from made_up import made_up_training, not_finite_losses_stay_away_from_the_weights

from ulsad import Skipped, Ulsad, Watch
from ulsad.compute import rows
from ulsad.method.config import PRESETS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(),
                                reason="needs a GPU that is shown: CUDA_VISIBLE_DEVICES=0")
GPU = torch.device("cuda")


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_a_recorded_training_is_that_of_a_cpu(preset):
    config = dataclasses.replace(PRESETS[preset], epochs=None, steps=20, precision="float32")
    here, there = (made_up_training(device, config) for device in ("cpu", "cuda"))
    for one, other in zip(here, there, strict=True):
        for name in ("local", "attention", "local_global", "learning_rate"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-7), name
    for name, values in here.networks.state_dict().items():  # statistics of BatchNorm as well
        torch.testing.assert_close(there.networks.state_dict()[name].cpu(), values, rtol=1e-5, atol=1e-7)


def test_losses_that_are_not_finite_do_not_reach_the_weights():
    not_finite_losses_stay_away_from_the_weights("cuda")


def test_rows_move_to_a_gpu_with_room(monkeypatch, tmp_path):
    values = torch.randn(130, 3, 5)
    mapped = rows.MappedRows.allocated(tmp_path / "values", tuple(values.shape), torch.float32)
    mapped[0:130] = values
    for kept in (values, mapped):
        moved = rows.to_gpu(kept, GPU)
        assert moved.is_cuda and torch.equal(moved.cpu(), kept[0:130])
        monkeypatch.setattr(rows, "GPU_SHARE", 0)
        assert rows.to_gpu(kept, GPU) is kept
        monkeypatch.undo()
    monkeypatch.setattr(rows, "GPU_SHARE", 0)  # a training whose photos stay outside goes on all the same
    outside, inside = (made_up_training(device, TINY) for device in ("cuda", "cpu"))
    first, expected = next(iter(outside)), next(iter(inside))
    assert first.local == pytest.approx(expected.local, rel=1e-2) and not outside.data.on_gpu


def test_maps_are_those_of_a_cpu(tmp_path):
    """To 1e-4 of the largest value; TF32 would be 2e-2 off."""
    photos = [*DEMO_PHOTOS, tmp_path / "missing.jpg"]
    here, there = (list(Ulsad.load(DEMO_MODEL, device=device).predict_many(photos))
                   for device in ("cpu", "cuda"))
    assert isinstance(here.pop(), Skipped) and isinstance(there.pop(), Skipped)
    for one, other in zip(here, there, strict=True):
        for name in ("local_map", "global_map", "combined_map"):
            expected = getattr(one, name)
            np.testing.assert_allclose(getattr(other, name), expected, rtol=0, atol=1e-4 * expected.max())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_trained_on_a_gpu_gone_on_with_and_used_on_a_cpu(good_photos, tmp_path, precision):
    config, steps = dataclasses.replace(TINY, precision=precision), []
    Ulsad.fit(good_photos, config, device="cuda", watch=Watch(
        lambda progress: progress.step and steps.append(progress.step), lambda: len(steps) == 5)).save(
        tmp_path / "part.safetensors", resumable=True)
    whole = Ulsad.fit(good_photos, device="cuda", resume=Ulsad.load(tmp_path / "part.safetensors"))
    assert whole.record["steps"] == TINY.steps
    whole.save(tmp_path / "model.safetensors")
    on_cpu, photo = Ulsad.load(tmp_path / "model.safetensors", device="cpu"), sorted(good_photos.glob("*"))[0]
    assert on_cpu.predict(photo).score == pytest.approx(whole.predict(photo).score, rel=1e-3)
