"""Precision of a device's arithmetic: float32, TF32 or bfloat16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether `precision` means bfloat16 on this device; "auto" does if the hardware supports it natively."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Inside the block, matrix products use bfloat16 if `precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, uses_bfloat16(precision, device), cache_enabled=False)


def tf32_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """Inside the block, a GPU's float32 convolutions use TF32, as is torch's default."""
    on_gpu = device.type == "cuda"
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=True) if on_gpu else nullcontext()
