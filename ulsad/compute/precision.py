"""The numbers that a device multiplies: float32, TF32 or bfloat16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether `precision` means bfloat16 here; "auto" does where the hardware multiplies it natively."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """While the block runs, products are of bfloat16 where `precision` means that."""
    return torch.autocast(device.type, torch.bfloat16, uses_bfloat16(precision, device), cache_enabled=False)


def tf32_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """While the block runs, a GPU's convolutions of float32 are TF32, as they are by torch's default."""
    on_gpu = device.type == "cuda"
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=True) if on_gpu else nullcontext()
