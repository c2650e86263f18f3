"""Watch it learn: a small model at a dozen steps of its training, in one file, and all losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, from_numpy

from ulsad.detector.calibrating import calibrate
from ulsad.detector.detector import Ulsad
from ulsad.method.networks import Networks
from ulsad.photos.files import replacing

STEPS = (1, 5, 20, 50, 100, 150, 200, 300, 450, 600, 800, 960)
HELD_OUT = 8  # good photos that set the quantiles of each stage
LOSSES = ("L_pl", "L_pg", "L_lg")


@dataclass(frozen=True)
class Stages:
    """What a file written by `write` holds; networks are read when they are asked for."""

    file: Path
    steps: tuple[int, ...]
    losses: np.ndarray  # float32 (3, n): `LOSSES` at each of n steps

    @classmethod
    def read(cls, file: Path) -> Stages:
        with safe_open(file, framework="pt") as opened:
            return cls(file, tuple(json.loads(opened.metadata()["steps"])),
                       opened.get_tensor("losses").numpy())

    def detector(self, index: int, finished: Ulsad) -> Ulsad:
        """The model after `steps[index]` steps. `finished` is that of the same training; its backbone,
        standardisation and good photos are shared."""
        prefix = f"{index}."
        with safe_open(self.file, framework="pt") as opened:
            found = {name.removeprefix(prefix): opened.get_tensor(name) for name in opened.keys()  # noqa: SIM118
                     if name.startswith(prefix)}
        held_out = found.pop("held_out").float().numpy()
        of, member = finished.branches, finished.branches.members[0]
        networks = Networks(of.config, of.extractor.channels, of.extractor.grid)
        networks.load_state_dict(found)
        branches = replace(of, members=(replace(member, networks=networks),))
        return Ulsad(branches, calibrate(branches, held_out), held_out, finished.references,
                     finished.record | {"steps": self.steps[index]})


@lru_cache(maxsize=2)
def read(file: Path) -> Stages:
    return Stages.read(file)


def write(file: Path, detectors: Sequence[Ulsad], losses: np.ndarray) -> None:
    """Write models of one training, in the order of their steps; networks and maps as float16."""
    tensors: dict[str, Tensor] = {}
    for i, detector in enumerate(detectors):
        state = detector.branches.members[0].networks.state_dict()
        state["held_out"] = _tensor(detector.held_out[:HELD_OUT])
        tensors |= {f"{i}.{name}": value.half() if value.is_floating_point() else value
                    for name, value in state.items()}
    tensors["losses"] = _tensor(losses.astype(np.float32))
    steps = json.dumps([detector.record["steps"] for detector in detectors])
    with replacing(file) as partial:
        partial.write_bytes(save({name: value.contiguous() for name, value in tensors.items()},
                                 {"steps": steps}))


def _tensor(values: np.ndarray) -> Tensor:
    return from_numpy(np.ascontiguousarray(values))
