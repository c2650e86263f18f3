"""Both branches' results for one photo between features and maps, with each term of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ulsad.method.branches import Branches
from ulsad.method.equations import attention, direction_distance, distance, value_distance


@dataclass(frozen=True)
class Term:
    """One of the three losses for this photo alone: value + weight · direction, means over all patches."""

    name: str  # "L_pl", "L_pg", "L_lg"
    equation: int  # 1, 5 or 6
    value: float  # l_v of Eq. 2, ≥ 0
    direction: float  # l_d of Eq. 2, in [0, 2]
    weight: float  # λ_l or λ_g

    @property
    def total(self) -> float:
        return self.value + self.weight * self.direction


@dataclass(frozen=True)
class Inside:
    """Features and losses of one photo, on the h* × w* grid."""

    features: Tensor  # U, standardised with the training photos' μ and σ, float32 (c*, h*, w*)
    global_features: Tensor | None  # Û, the same shape; None without a global branch
    attention_error: np.ndarray | None  # float32 (h*, w*): l_v + λ_g l_d of Â and A, the summand of Eq. 5
    terms: tuple[Term, ...]  # those that the model was trained with


def look_inside(branches: Branches, square: Tensor) -> Inside:
    """Run both branches on one photo as the networks see it, uint8 (3, s, s), in float32."""
    config = branches.config
    features, outputs = branches.forward(square)
    terms = [_term("L_pl", 1, outputs.reconstruction, features, config.lambda_l)]
    if outputs.global_features is None:
        return Inside(features[0], None, None, tuple(terms))
    z = features.flatten(2)
    cross, target = attention(z, outputs.global_features.flatten(2)), attention(z, z)
    error = distance(cross, target, config.lambda_g).unflatten(1, features.shape[2:])
    compared = (cross, target) if config.global_target == "attention" else (outputs.global_features, features)
    terms.append(_term("L_pg", 5, *compared, config.lambda_g))
    if outputs.second is not None:
        terms.append(_term("L_lg", 6, outputs.second, outputs.global_features, config.lambda_g))
    return Inside(features[0], outputs.global_features[0], error[0].numpy(), tuple(terms))


def _term(name: str, equation: int, a: Tensor, b: Tensor, weight: float) -> Term:
    value, direction = value_distance(a, b).mean(), direction_distance(a, b).mean()
    return Term(name, equation, float(value), float(direction), weight)
