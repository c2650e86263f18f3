"""Algorithm 1: its losses at drawn positions, its schedule, and that it goes on where it was interrupted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conftest import TINY
from made_up import made_up_training, not_finite_losses_stay_away_from_the_weights

from ulsad import InputError, Ulsad, Watch
from ulsad.method.config import PRESETS, Config
from ulsad.method.equations import attention, distance
from ulsad.method.networks import Outputs
from ulsad.method.training import WARM_UP, losses_of, queries


@pytest.fixture
def maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, 6, 4, 5, generator=generator) for _ in range(4)]


def attention_loss_at(maps, positions: torch.Tensor | None) -> float:
    features, reconstruction, second, global_features = maps
    target = attention(features.flatten(2), features.flatten(2))
    target = target if positions is None else target[..., positions]
    outputs = Outputs(reconstruction, second, global_features)
    return float(losses_of(outputs, features, target, positions, Config())[1])


def test_drawn_positions_give_the_mean_of_eq_5_over_just_these(maps):
    z, z_hat = maps[0].flatten(2), maps[3].flatten(2)
    whole = distance(attention(z, z_hat), attention(z, z), Config().lambda_g)
    for positions in (torch.tensor([3, 17, 0]), None):
        expected = float((whole if positions is None else whole[:, positions]).mean())
        assert attention_loss_at(maps, positions) == pytest.approx(expected, rel=1e-5)


def test_the_mean_over_single_positions_is_the_whole_loss(maps):
    single = [attention_loss_at(maps, torch.tensor([k])) for k in range(20)]
    assert sum(single) / 20 == pytest.approx(attention_loss_at(maps, None), rel=1e-5)


def test_draws_are_distinct_positions_anew_for_each_step_and_seeded():
    first, again = (queries(1024, Config()) for _ in range(2))
    a, b = next(first), next(first)
    assert len(set(a.tolist())) == 128 and a.max() < 1024 and not torch.equal(a, b)
    assert torch.equal(a, next(again))
    assert not torch.equal(a, next(queries(1024, dataclasses.replace(Config(), seed=1))))


def test_paper_uses_all_positions():
    assert next(queries(1024, PRESETS["paper"])) is None
    assert next(queries(128, Config())) is None  # the grid has no more than would be drawn


def test_averaged_networks_are_the_mean_of_all_steps_weights_the_later_ones_more():
    """Shamir and Zhang's mean in closed form: with η = 8, w̄_n = Σ_t w_t p_t, where p_t is the share of step t
    times what each later step leaves of it."""
    training, weights = made_up_training("cpu", dataclasses.replace(TINY, schedule="averaged", steps=6)), []
    for _ in training:
        weights.append([value.clone() for value in training.live.state_dict().values()])
    shares = [9 / (t + 8) for t in range(1, 7)]
    expected = [sum(share * np.prod([1 - later for later in shares[t + 1:]]) * value[k].double()
                    for t, (share, value) in enumerate(zip(shares, weights))) for k in range(len(weights[0]))]
    for found, value in zip(training.networks.state_dict().values(), expected, strict=True):
        if found.is_floating_point():
            torch.testing.assert_close(found.double(), value, rtol=1e-5, atol=1e-6)
    assert shares[0] == 1 and not torch.equal(weights[0][0], weights[-1][0])


def fit(photos, config: Config, until: int | None = None, resume: Ulsad | None = None):
    """A detector, stopped after `until` steps, and the steps it was told of."""
    steps = []
    detector = Ulsad.fit(photos, config, resume=resume, watch=Watch(
        lambda progress: progress.step and steps.append(progress.step), lambda: steps[-1].step == until))
    return detector, steps


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "folds"), [("float32", 1), ("bfloat16", 3)])
def test_an_interrupted_training_goes_on_to_the_same_bits(good_photos, tmp_path, precision, folds, request):
    if precision == "float32":
        request.getfixturevalue("two_threads")  # the bits are the same each time on them as well
    config = dataclasses.replace(TINY, precision=precision, steps=3, batch_size=2, folds=folds)
    whole, all_steps = fit(good_photos, config)
    part, before = fit(good_photos, config, until=2)
    part.save(tmp_path / "part.safetensors", resumable=True)
    resumed, after = fit(good_photos, Config(), resume=Ulsad.load(tmp_path / "part.safetensors"))
    for one, other in zip([*before, *after], all_steps, strict=True):
        assert dataclasses.replace(one, seconds_left=0) == dataclasses.replace(other, seconds_left=0)
    for one, other in zip(whole.branches.members, resumed.branches.members, strict=True):
        for name, values in one.networks.state_dict().items():
            assert torch.equal(values, other.networks.state_dict()[name]), name
    assert len(whole.branches.members) == folds
    assert (whole.held_out == resumed.held_out).all()
    assert (part.record["steps"], resumed.record["steps"], resumed.record["planned_steps"]) == (2, 3, 3)
    assert resumed.record["seconds"] > part.record["seconds"]


def test_what_a_training_can_not_go_on_from(detector, good_photos, demo_set, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="not a checkpoint"):
        Ulsad.fit(good_photos, resume=Ulsad.load(tmp_path / "m.safetensors"))
    with pytest.raises(InputError, match="photos differ"):
        Ulsad.fit(good_photos, held_out=demo_set / "validation/good", resume=detector)


@pytest.mark.slow
def test_a_time_budget_is_kept(good_photos):
    detector, steps = fit(good_photos, dataclasses.replace(TINY, steps=None, minutes=0.2))
    record = detector.record
    assert record["seconds"] == pytest.approx(12, rel=0.1)
    assert record["planned_steps"] == record["steps"] == steps[-1].step == steps[-1].steps
    rates = [step.learning_rate for step in steps]
    assert rates == pytest.approx([TINY.learning_rate * min(1, (k + 1) / WARM_UP) for k in range(len(steps))])
    assert steps[-1].seconds_left == 0
    seconds_left = [step.seconds_left for step in steps[len(steps) // 2:]]
    assert 2 < seconds_left[0] < 9 and seconds_left == sorted(seconds_left, reverse=True)


def test_a_time_budget_that_is_over_before_the_first_step(good_photos):
    with pytest.raises(InputError, match=r"all of the 0\.001 minutes"):
        Ulsad.fit(good_photos, dataclasses.replace(TINY, steps=None, minutes=0.001))


def test_losses_that_are_not_finite_do_not_reach_the_weights():
    not_finite_losses_stay_away_from_the_weights("cpu")
