"""How long a training pays, seen without a real defect.

Losses on held-out photos fall as long as a training goes on, long after its maps have stopped getting
better (assets/EXPERIMENTS.md). So held-out photos are damaged on purpose, and now and then it is measured how
well the local map shows where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ulsad.compute.rows import Rows
from ulsad.method.branches import Branches
from ulsad.photos.self_made import self_made

FIRST, FIRST_OF_SEVERAL = 120, 50  # steps of each network before the first look; then after twice as many
DEFECTS = 64
PHOTOS = 32  # held-out photos that are damaged, at most
GAIN = 0.1  # a training pays if `misplaced` falls by more than this share from one look to the next
LEAST = 1e-4  # of one defect: what lies below is found


@dataclass
class Standstill:
    """The looks at one training."""

    damaged: Tensor  # uint8 (n, 3, s, s)
    masks: np.ndarray  # bool (n, s, s)
    made_from: Sequence[int] | None = None  # see `Branches.analyse`
    looks: dict[int, float] = field(default_factory=dict)  # `misplaced` by the number of steps
    last: np.ndarray | None = None  # float32 (n, b, g, g): distances at the last look of this process

    @classmethod
    def of(cls, held_out: Rows, seed: int, cross_fitted: bool = False,
           looks: dict[int, float] | None = None) -> Standstill:
        """For these held-out photos, uint8 (n, 3, s, s), which may also be trained on (cross-fitted); `looks`
        are those before an interruption."""
        damaged, masks, made_from = self_made(held_out[:PHOTOS], DEFECTS, seed)
        return cls(damaged, masks, made_from if cross_fitted else None, dict(looks or {}))

    def look(self, steps: int, branches: Branches) -> None:
        """Measure fitted branches, see `Branches.fitted`."""
        if len(self.damaged):
            self.last = branches.analyse(self.damaged, self.made_from).distances
            self.looks[steps] = misplaced(self.last[:, 0], self.masks)

    @property
    def pays(self) -> bool:
        return pays(self.looks)


def first_look(networks: int) -> int:
    """The number of steps, of all networks together, before the first look."""
    return FIRST if networks == 1 else FIRST_OF_SEVERAL * networks


def pays(looks: Mapping[int, float]) -> bool:
    """Whether the last look was better enough than the one before. False before two looks."""
    if len(looks) < 2:
        return False
    before, now = (looks[steps] for steps in sorted(looks)[-2:])
    return now < (1 - GAIN) * before


def advice(looks: Mapping[int, float], steps: int) -> str:
    """What to do about a training that ended at its limit of so many steps; "" if it had stopped to pay."""
    if not pays(looks):
        return ""
    return (f"The maps were still getting better at the limit of {steps} steps. A longer training may pay: "
            f"steps={2 * steps}.")


def misplaced(distances: np.ndarray, masks: np.ndarray) -> float:
    """How much of the sound part of a photo looks stranger than its defect: in (0, 1], 0.5 is chance.

    It is 1 − AUROC of the patches (g × g of each of `distances`, (n, g, g)) against those that the defect
    touches (`masks`, bool (n, s, s)), as the geometric mean over n photos, so that halving it counts the same
    for defects that are hard and easy to find.
    """
    from sklearn.metrics import roc_auc_score  # imported here, as it takes half a second

    touched = F.adaptive_max_pool2d(torch.from_numpy(masks).float(), distances.shape[1]).numpy() > 0
    missed = [1 - roc_auc_score(mask.ravel(), map_.ravel())
              for map_, mask in zip(distances, touched, strict=True)]
    return float(np.exp(np.log(np.maximum(missed, LEAST)).mean()))
