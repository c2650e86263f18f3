"""Algorithm 1's losses at a draw of positions, against the same losses over all of them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ulsad.config import PRESETS, Config
from ulsad.maps import attention, distance
from ulsad.networks import Outputs
from ulsad.training import losses_of, queries


@pytest.fixture
def maps() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, 6, 4, 5, generator=generator) for _ in range(4)]


def attention_loss_at(maps, positions: torch.Tensor) -> float:
    features, reconstruction, second, global_features = maps
    target = attention(features.flatten(2), features.flatten(2))[..., positions]
    outputs = Outputs(reconstruction, second, global_features)
    return float(losses_of(outputs, features, target, positions, Config())[1])


def test_drawn_positions_give_the_mean_of_eq_5_over_just_these(maps):
    z, z_hat = maps[0].flatten(2), maps[3].flatten(2)
    whole = distance(attention(z, z_hat), attention(z, z), Config().lambda_g)
    for positions in (torch.tensor([3, 17, 0]), torch.arange(20)):
        expected = float(whole[:, positions].mean())
        assert attention_loss_at(maps, positions) == pytest.approx(expected, rel=1e-5)


def test_the_mean_over_single_positions_is_the_whole_loss(maps):
    single = [attention_loss_at(maps, torch.tensor([k])) for k in range(20)]
    assert sum(single) / 20 == pytest.approx(attention_loss_at(maps, torch.arange(20)), rel=1e-5)


def test_draws_are_distinct_positions_anew_for_each_step_and_seeded():
    first, again = (queries(1024, Config()) for _ in range(2))
    a, b = next(first), next(first)
    assert len(set(a.tolist())) == 256 and a.max() < 1024 and not torch.equal(a, b)
    assert torch.equal(a, next(again))
    assert not torch.equal(a, next(queries(1024, dataclasses.replace(Config(), seed=1))))


def test_paper_uses_all_positions():
    assert torch.equal(next(queries(1024, PRESETS["paper"])), torch.arange(1024))
