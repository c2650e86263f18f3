"""A model is one safetensors file: tensors, and JSON in its header. Never pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ulsad.errors import InputError
from ulsad.photos.files import replacing

_FORMAT, _VERSION = "ulsad", 4  # 4: no biases before a BatchNorm
_HEADER = {"config", "weights_hash", "record", "criteria", "references"}
_COPY_AGAIN = "Copy the file again from its source."


def require_writable(path: Path | str) -> None:
    """Raise `InputError` before training if the model could not be written after it."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give a file name for the model.")
    probe = path.with_name(f".{path.name}.probe")
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path} can't be written ({error}). Choose another place.") from error


def write(path: Path | str, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Raises `InputError` if it can't be written; an old model is replaced only by a complete new one."""
    metadata = {"format": _FORMAT, "version": str(_VERSION), "header": json.dumps(header, sort_keys=True)}
    content = save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, metadata)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as partial:
            partial.write_bytes(content)  # safetensors' own writer would make it unreadable for other users
    except OSError as error:
        raise InputError(f"{path} could not be written ({error}). "
                         "Is the disk full, or the folder protected?") from error


def read(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header. Raises `InputError` as `read_header` does, and for values that are not finite."""
    header = read_header(path)
    try:
        # Not mapped: somebody may write over the file, and this program would end with a bus error.
        tensors = load(Path(path).read_bytes())
    except (SafetensorError, OSError, RuntimeError) as error:  # the last one: it is gone while it is opened
        raise InputError(f"{path}: not a model file, or truncated ({error}). {_COPY_AGAIN}") from error
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise InputError(f"{path}: damaged, some of its values are not numbers. {_COPY_AGAIN}")
    return tensors, header


def read_header(path: Path | str) -> dict[str, Any]:
    """The header alone, without loading tensors. Raises `InputError` for a missing, damaged or foreign file,
    and for another version."""
    if not Path(path).is_file():
        raise InputError(f"There is no model file {path}.")
    with _opened(path) as opened:
        metadata = opened.metadata() or {}
    _check(path, metadata)
    try:
        header = json.loads(metadata["header"])
        if set(header) >= _HEADER:
            return header
    except (KeyError, TypeError, ValueError):
        pass
    raise InputError(f"{path}: its header is damaged. {_COPY_AGAIN}")


def require_weights(path: Path | str, header: dict[str, Any], backbone: str, found: str) -> None:
    """Raise `InputError` if the backbone's weights, of which `found` is the hash, are not those that the
    model was trained with."""
    expected = header["weights_hash"]
    if found != expected:
        raise InputError(f"{path} was trained with other weights of {backbone} (hash {expected[:12]}…, found "
                         f"{found[:12]}…). Use the weights file it was trained with.")


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as opened:
            yield opened
    except (SafetensorError, OSError, RuntimeError) as error:  # the last one: it is gone while it is opened
        raise InputError(f"{path}: not a model file, or truncated ({error}). {_COPY_AGAIN}") from error


def _check(path: Path | str, metadata: dict[str, str]) -> None:
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path}: a safetensors file, but not a model of this program. "
                         "Give a file made by `ulsad train`.")
    if metadata.get("version") != str(_VERSION):
        raise InputError(f"{path} was made by another version of this program. "
                         "Train it again, or use the version it was made with.")
