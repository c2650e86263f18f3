"""What the maps of a model have that the paper's have not, and the same model without it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ulsad.detector.calibrating import calibrate
from ulsad.detector.detector import Ulsad
from ulsad.method.branches import Branches
from ulsad.method.config import Config
from ulsad.photos.images import to_square

# By name: the paper's values of the settings that make the addition.
PAPERS: dict[str, dict[str, Any]] = {
    "whitened": {"local_metric": "plain"},
    "relative": {"relative_maps": False},
    "bank": {"nearest_patches": 0},
    "combination": {"combination": "mean", "global_weight": 1.0},
}


def additions(config: Config) -> tuple[str, ...]:
    """Those of `PAPERS` that a configuration has."""
    return tuple(name for name, papers in PAPERS.items()
                 if any(getattr(config, setting) != value for setting, value in papers.items()))


def without(detector: Ulsad, names: Collection[str]) -> Ulsad:
    """The same networks, but some additions to their maps left out.

    What is usual on good parts under the other maps is measured again, on the good photos that the model
    keeps: expected distances, quantiles (Eq. 9) and the criterion. A model that is not cross-fitted was
    trained on these, so its quantiles come out somewhat low. To leave out the combination alone, nothing is
    measured. Criteria are dropped: their thresholds belong to the other maps.
    """
    left_out = {name for name in names if name in additions(detector.config)}
    if not left_out:
        return detector
    settings = {setting: value for name in left_out for setting, value in PAPERS[name].items()}
    ignored = detector.calibration.ignored
    branches = _bare(detector.branches, replace(detector.config, **settings))
    if left_out == {"combination"}:
        return _with(detector, branches, detector.held_out, ignored)
    squares = torch.stack([to_square(detector.references.photo(i), detector.config.image_size)
                           for i in range(len(detector.references.names))])
    known = [detector.record["train"].index(name) for name in detector.references.names]
    branches = _measured(branches, left_out, squares, known)
    distances = branches.analyse(squares, None if branches.folds is None else known).distances
    return _with(detector, branches, distances, ignored)


def _with(detector: Ulsad, branches: Branches, held_out: np.ndarray, ignored: np.ndarray | None) -> Ulsad:
    return Ulsad(branches, calibrate(branches, held_out, ignored), held_out, detector.references,
                 detector.record)


def _bare(branches: Branches, config: Config) -> Branches:
    """The same networks under another configuration, without what it does not use."""
    members = tuple(replace(
        member, config=config, whitening=member.whitening if config.local_metric == "whitened" else None,
        expected=member.expected if config.relative_maps else None,
        spread=member.spread if config.nearest_patches else None) for member in branches.members)
    return replace(branches, config=config, members=members,
                   bank=branches.bank if config.nearest_patches else None)


def _measured(
    branches: Branches, left_out: Collection[str], squares: Tensor, known: Sequence[int]
) -> Branches:
    """What is usual in another metric, on good photos, uint8 (n, 3, s, s), with these numbers among all."""
    members, bank = branches.members, branches.bank
    if "whitened" in left_out or "relative" in left_out:
        folds = None if branches.folds is None else branches.folds[torch.tensor(known)]
        members = replace(branches, folds=folds).fitted(squares, keep_whitening=True).members
    if bank is not None and "relative" in left_out:
        raw = branches.extractor.features_of(squares).to(branches.mean.device)
        bank = bank.fitted((raw - branches.mean) / branches.std, known, relative=False)
    return replace(branches, members=members, bank=bank)
