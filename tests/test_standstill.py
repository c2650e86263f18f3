"""When a training ends by itself: the measure against loops, and the stages of a real training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conftest import TINY

from ulsad import Ulsad, Watch
from ulsad.detector.standstill import LEAST, Standstill, misplaced
from ulsad.method.config import PRESETS, Config
from ulsad.photos.images import read_squares

STILL = dataclasses.replace(TINY, frn_width=16, autoencoder_width=8, steps=16, batch_size=2,
                            stop_when_still=True)


def test_misplaced_is_the_share_of_pairs_in_which_a_sound_patch_is_the_stranger_one():
    generator = np.random.default_rng(1)
    distances = generator.random((3, 4, 4)).astype(np.float32)
    masks = np.zeros((3, 16, 16), bool)
    masks[0, 2:6, 3:5], masks[1, 8:, 8:], masks[2, 15, 15] = True, True, True
    shares = []
    for map_, mask in zip(distances, masks, strict=True):
        touched = [[mask[4 * y:4 * y + 4, 4 * x:4 * x + 4].any() for x in range(4)] for y in range(4)]
        pairs = [(sound > defect) for sound in map_[~np.array(touched)] for defect in map_[np.array(touched)]]
        shares.append(max(np.mean(pairs), LEAST))
    assert misplaced(distances, masks) == pytest.approx(np.prod(shares) ** (1 / 3))
    assert misplaced(masks[:, ::4, ::4].astype(np.float32), masks) < 0.5


@pytest.mark.parametrize(("looks", "pays"), [
    ({}, False), ({120: 0.5}, False), ({120: 0.5, 240: 0.44}, True), ({120: 0.5, 240: 0.46}, False),
    ({480: 0.4, 120: 0.5, 240: 0.42}, False), ({120: 0.01, 240: 0.02}, False)])
def test_training_pays_while_a_tenth_less_is_misplaced(looks, pays):
    assert Standstill(torch.empty(0), np.empty(0), looks=looks).pays is pays


def test_a_real_look_is_a_share_and_photos_without_a_visible_defect_give_none(detector, good_photos):
    squares = read_squares([good_photos / name for name in detector.record["held_out"]], 256)[1]
    standstill = Standstill.of(squares, seed=0)
    standstill.look(12, detector.branches)
    assert 0 < standstill.looks[12] < 0.5  # better than chance after a dozen steps
    nothing = Standstill(standstill.damaged[:0], standstill.masks[:0])
    nothing.look(12, detector.branches)
    assert nothing.looks == {} and not nothing.pays


@pytest.fixture
def scripted(monkeypatch):
    """Stages of 4, 8, 16 … steps whose looks give these values, in turn."""
    def script(*values: float) -> None:
        left = list(values)
        monkeypatch.setattr("ulsad.detector.standstill.misplaced", lambda *maps: left.pop(0))

    monkeypatch.setattr("ulsad.detector.standstill.FIRST", 4)
    monkeypatch.setattr("ulsad.detector.standstill.DEFECTS", 2)
    return script


@pytest.mark.slow
@pytest.mark.parametrize(("values", "ended"), [
    ((0.5, 0.5), 8), ((0.5, 0.4, 0.39), 16), ((0.5, 0.4, 0.3), 16)])
def test_a_training_ends_with_the_first_stage_that_did_not_pay_or_at_its_limit(
    good_photos, scripted, values, ended
):
    scripted(*values)
    planned = []
    record = Ulsad.fit(good_photos, STILL, watch=Watch(
        lambda progress: progress.step and planned.append(progress.step.steps))).record
    assert record["steps"] == record["planned_steps"] == len(planned) == ended
    assert planned[:8] == [8] * 8 and planned[8:] == [16] * (ended - 8)
    assert dict(record["looks"]) == dict(zip((4, 8, 16), values))
    assert any("may pay: steps=32" in note for note in record["notes"]) is (values[-1] == 0.3)


def stopping(after: int) -> Watch:
    """A watch that stops a training after so many steps."""
    steps = []
    return Watch(lambda progress: progress.step and steps.append(progress.step.step),
                 lambda: steps[-1] == after)


@pytest.mark.slow
def test_a_resumed_training_looks_as_if_it_had_not_been_interrupted(good_photos, tmp_path, scripted):
    scripted(0.5, 0.4, 0.3)
    whole = Ulsad.fit(good_photos, STILL)
    for stopped in (3, 8, 11):  # before the first look, at the end of a stage, within one
        scripted(0.5, 0.4, 0.3)
        part = Ulsad.fit(good_photos, STILL, watch=stopping(stopped))
        part.save(tmp_path / "part.safetensors", resumable=True)
        resumed = Ulsad.fit(good_photos, resume=Ulsad.load(tmp_path / "part.safetensors"))
        assert part.record["steps"] == stopped and resumed.record["steps"] == 16
        assert resumed.record["looks"] == whole.record["looks"]
        networks, again = (one.branches.members[0].networks.state_dict() for one in (whole, resumed))
        assert all(torch.equal(networks[name], again[name]) for name in networks), stopped


def test_a_named_length_is_kept():
    assert PRESETS["quick"].stop_when_still
    for text in ("steps=500", "minutes=2", "epochs=3"):
        assert not Config().with_text([text]).stop_when_still
    assert Config().with_text(["steps=500", "stop_when_still=true"]).stop_when_still
    assert Config().with_text(["seed=1"]).stop_when_still
