"""Convert a detector to the named tensors of a model file, and rebuild it from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ulsad.detector.references import References
from ulsad.method.backbones import FeatureExtractor
from ulsad.method.bank import Bank
from ulsad.method.branches import Branches
from ulsad.method.calibration import Calibration, Combination, QuantileFunction
from ulsad.method.config import Config
from ulsad.method.member import Member, prefix_of
from ulsad.method.networks import Networks

_NETWORKS, _OPTIMISER, _BANK, _FOLDS = "networks.", "optimiser.", "bank.", "folds"


class Parts(NamedTuple):
    """The parts of a detector except its record and criteria, which are JSON."""

    branches: Branches
    calibration: Calibration
    held_out: np.ndarray
    references: References


def tensors_of(parts: Parts, optimiser: dict[str, Tensor]) -> dict[str, Tensor]:
    """All data of the parts that is not in the configuration or the backbone, plus the optimiser's state."""
    branches, calibration, held_out, references = parts
    tensors = {"mean": branches.mean, "std": branches.std, "held_out": torch.from_numpy(held_out),
                "quantiles.local": torch.from_numpy(calibration.local.values)}
    tensors |= _joined("frontier", [torch.from_numpy(points) for points in calibration.frontiers])
    tensors |= _joined("references", [torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)
                                      for jpeg in references.jpegs])
    tensors["references.descriptors"] = torch.from_numpy(references.descriptors)
    if calibration.global_:
        tensors["quantiles.global"] = torch.from_numpy(calibration.global_.values)
    if calibration.ignored is not None:
        tensors["ignored"] = torch.from_numpy(calibration.ignored)
    for i, member in enumerate(branches.members):
        tensors |= {prefix_of(i) + name: value for name, value in _member_tensors(member).items()}
    if branches.folds is not None:
        tensors[_FOLDS] = branches.folds
    if branches.bank is not None:
        tensors |= {_BANK + name: value for name, value in vars(branches.bank).items() if value is not None}
        tensors[_BANK + "patches"] = branches.bank.patches.half()
    return tensors | {_OPTIMISER + name: value for name, value in optimiser.items()}



def _member_tensors(member: Member) -> dict[str, Tensor]:
    tensors = {_NETWORKS + name: value for name, value in member.networks.state_dict().items()}
    if member.whitening is not None:
        tensors["whitening"] = member.whitening
    if member.expected is not None:
        tensors["expected"] = torch.stack(member.expected)
    if member.spread is not None:
        tensors["spread"] = member.spread
    return tensors


def optimiser_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The optimiser's state to resume training from; empty in a finished model."""
    return _named(_OPTIMISER, tensors)


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def rebuilt(
    config: Config, extractor: FeatureExtractor, tensors: dict[str, Tensor], references: tuple[str, ...]
) -> Parts:
    """The parts, on the extractor's device; `references` are the names of the reference photos.

    Raises `KeyError`, `RuntimeError` or `ValueError` when tensors are missing or have other shapes.
    """
    return Parts(
        _branches(config, extractor, tensors), _calibration(config, tensors), tensors["held_out"].numpy(),
        References(references, tensors["references.descriptors"].numpy(),
                   tuple(jpeg.numpy().tobytes() for jpeg in _split("references", tensors))))


def combination(config: Config) -> Combination:
    return Combination(config.combination, config.global_weight)


def _branches(config: Config, extractor: FeatureExtractor, tensors: dict[str, Tensor]) -> Branches:
    device, folds = extractor.pixel_mean.device, tensors.get(_FOLDS)
    members = tuple(_member(config, extractor, tensors, prefix_of(i))
                    for i in range(1 if folds is None else int(folds.max()) + 1))
    bank = None
    if config.nearest_patches:
        found = {name: value.to(device) for name, value in _named(_BANK, tensors).items()}
        bank = Bank(**found | {"patches": found["patches"].float()})
    return Branches(config, extractor, members, tensors["mean"].to(device), tensors["std"].to(device), bank,
                    folds)


def _member(config: Config, extractor: FeatureExtractor, tensors: dict[str, Tensor], prefix: str) -> Member:
    networks = Networks(config, extractor.channels, extractor.grid)
    networks.load_state_dict(_named(prefix + _NETWORKS, tensors))
    device = extractor.pixel_mean.device

    def tensor(name: str) -> Tensor:
        return tensors[prefix + name].to(device)

    return Member(config, networks.to(device),
                  tensor("whitening") if config.local_metric == "whitened" else None,
                  tuple(tensor("expected")) if config.relative_maps else None,
                  tensor("spread") if config.nearest_patches else None)


def _calibration(config: Config, tensors: dict[str, Tensor]) -> Calibration:
    global_, ignored = tensors.get("quantiles.global"), tensors.get("ignored")
    return Calibration(
        QuantileFunction(tensors["quantiles.local"].numpy()),
        None if global_ is None else QuantileFunction(global_.numpy()),
        tuple(points.numpy() for points in _split("frontier", tensors)), combination(config),
        None if ignored is None else ignored.numpy())


def _joined(name: str, parts: list[Tensor]) -> dict[str, Tensor]:
    """Tensors of different lengths joined into one, and their lengths."""
    return {f"{name}.joined": torch.cat(parts), f"{name}.sizes": torch.tensor([len(part) for part in parts])}


def _split(name: str, tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return tensors[f"{name}.joined"].split(tensors[f"{name}.sizes"].tolist())
