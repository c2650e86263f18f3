"""A model is one safetensors file: tensors, and JSON in its header. Never pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ulsad.errors import InputError

_FORMAT, _VERSION = "ulsad", 3  # 3: held-out distances, references and criteria are part of a model


def require_writable(path: Path | str) -> None:
    """Raise `InputError` before a training rather than after it, when its model could not be written."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the name of a file for the model.")
    try:
        probe = _temporary(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path} can't be written ({error}). Choose another place.") from error


def write(path: Path | str, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write under a temporary name and rename, so that a full disk or a kill never harms an old model."""
    metadata = {"format": _FORMAT, "version": str(_VERSION), "header": json.dumps(header, sort_keys=True)}
    temporary = None
    try:
        temporary = _temporary(Path(path))
        content = save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata)
        temporary.write_bytes(content)  # safetensors' own writer would keep others from reading the file
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise InputError(f"{path} could not be written ({error}). "
                         "Is the disk full, or the folder protected?") from error


def _temporary(path: Path) -> Path:
    """A name beside `path`, whose folder now exists, that nobody takes for a model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}")


def read(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header. Raises `InputError` for a file that is absent, damaged, not ours, or of another
    version."""
    if not Path(path).is_file():
        raise InputError(f"There is no model file {path}.")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            _check(path, metadata)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a model file, or truncated ({error}). "
                         "Copy it again from where it was made.") from error
    try:
        return tensors, json.loads(metadata["header"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: its header is damaged. Copy it again from where it was made.") from error


def read_header(path: Path | str) -> dict[str, Any]:
    """The header alone, in no time. Raises `InputError` as `read` does."""
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
        _check(path, metadata)
        return json.loads(metadata["header"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a model file, or damaged ({error}).") from error


def _check(path: Path | str, metadata: dict[str, str]) -> None:
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path}: a safetensors file, but not a model of this program. "
                         "Give a file made by `ulsad train`.")
    if metadata.get("version") != str(_VERSION):
        raise InputError(f"{path} was made by another version of this program. "
                         "Train it again, or use the version it was made with.")
