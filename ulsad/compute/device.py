"""Choose the processor or GPU that networks run on."""

from __future__ import annotations

import torch

from ulsad.compute import distributed
from ulsad.errors import InputError


def choose_device(name: str | None) -> torch.device:
    """The named device, or else a GPU if there is one. Raises `InputError` for a device that doesn't exist.

    On a GPU, convolutions are set to float32: with TF32, torch's default, combined maps of the demo photos
    differed by up to 2 % from a CPU's.
    """
    name = name or distributed.local_device() or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"There is no device '{name}'. Leave it out, or use cpu.") from error
    device = torch.device(name)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return device
