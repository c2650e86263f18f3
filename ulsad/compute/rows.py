"""Tensors with a row per photo: in memory if they fit, else in a memory-mapped file."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ulsad.errors import InputError

MEMORY = 2 * 2**30  # bytes of memory that the rows of one training may take
AT_ONCE = 64  # rows copied to the GPU at a time
GPU_SHARE = 0.5  # share of a GPU's free memory that one set of rows may take


class MappedRows:
    """A tensor (n, …) in a file, read and written by rows; floating point values are stored as float16.

    The file is mapped again for each access, because pages of a lasting mapping would count as this process's
    memory.
    """

    def __init__(self, file: Path, shape: tuple[int, ...], dtype: torch.dtype,
                 index: Tensor | None = None) -> None:
        self.file, self.dtype = file, dtype
        self.kept_as = torch.float16 if dtype.is_floating_point else dtype
        self.whole = shape
        self.index = torch.arange(shape[0]) if index is None else index

    @classmethod
    def allocated(cls, file: Path, shape: tuple[int, ...], dtype: torch.dtype) -> MappedRows:
        """Rows with all disk space allocated. Raises `InputError` if there is not enough."""
        rows = cls(file, shape, dtype)
        try:
            _allocate(file, rows.bytes)
        except OSError as error:
            file.unlink(missing_ok=True)
            raise InputError(
                f"{file.parent} has no room for {rows.bytes / 2**30:.1f} GB of features ({error.strerror}); "
                f"{shutil.disk_usage(file.parent).free / 2**30:.1f} GB are free. Free some space, or train "
                "on fewer photos.") from error
        return rows

    device = torch.device("cpu")  # of the rows returned

    @property
    def bytes(self) -> int:
        return math.prod(self.whole) * self.kept_as.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index), *self.whole[1:])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return self._mapped()[self.index[rows]].to(self.dtype)

    def __setitem__(self, rows: slice | Tensor, values: Tensor) -> None:
        self._mapped()[self.index[rows]] = values.to(self.kept_as)

    def _mapped(self) -> Tensor:
        size = math.prod(self.whole)
        return torch.from_file(str(self.file), shared=True, size=size, dtype=self.kept_as).view(self.whole)


Rows = Tensor | MappedRows


class Space:
    """Where rows are allocated: in memory, or in files below a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Rows:
        """Uninitialised rows, n = shape[0]. Raises `InputError` if the disk is too full."""
        if self.folder is None:
            return torch.empty(shape, dtype=dtype)
        self.folder.mkdir(parents=True, exist_ok=True)
        return MappedRows.allocated(self.folder / name, shape, dtype)


IN_MEMORY = Space(None)


def take(rows: Rows, index: Tensor) -> Rows:
    """The rows at `index`, in this order; rows in a file are not copied."""
    if isinstance(rows, Tensor):
        return rows if torch.equal(index, torch.arange(len(rows))) else rows[index]
    return MappedRows(rows.file, rows.whole, rows.dtype, rows.index[index])


def to_gpu(rows: Rows, device: torch.device) -> Rows:
    """The rows in the memory of a GPU if they fit; otherwise, for other devices, and if they are already
    there, unchanged."""
    if device.type != "cuda" or rows.device.type == "cuda":
        return rows
    if math.prod(rows.shape) * rows.dtype.itemsize > _free(device) * GPU_SHARE:
        return rows
    result = torch.empty(rows.shape, dtype=rows.dtype, device=device)
    for start in range(0, len(rows), AT_ONCE):
        result[start:start + AT_ONCE] = rows[start:start + AT_ONCE].to(device)
    return result


def _free(device: torch.device) -> int:
    """Free bytes, including memory that torch has reserved but not used."""
    return (torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device))


def batches(rows: Rows, size: int) -> Iterator[Tensor]:
    """All rows, `size` at a time."""
    return (rows[start:start + size] for start in range(0, len(rows), size))


def each_row(rows: Rows) -> Iterator[Tensor]:
    """All rows, one by one; those of a file are read `AT_ONCE` at a time."""
    return (row for batch in batches(rows, AT_ONCE) for row in batch)


def _allocate(file: Path, size: int) -> None:
    """Allocate the disk space first: writing to a mapped page on a full disk would kill the process
    silently."""
    if shutil.disk_usage(file.parent).free < size:  # the system would fill the disk before failing
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with open(file, "wb") as opened:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(opened.fileno(), 0, size)
        else:
            opened.truncate(size)
