"""Tensors with a row for every photo: in memory while they fit, else in a memory-mapped file."""

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

MEMORY = 2 * 2**30  # bytes that the rows of one training may take of it
AT_ONCE = 64  # rows copied between memories
GPU_SHARE = 0.5  # of a GPU's free memory that some rows may take


class MappedRows:
    """A tensor (n, …) in a file, read and written by rows; floating point values are kept as float16.

    The file is mapped anew for each access: pages that were looked at would otherwise go on to count as
    this process's memory.
    """

    def __init__(self, file: Path, shape: tuple[int, ...], dtype: torch.dtype,
                 index: Tensor | None = None) -> None:
        self.file, self.dtype = file, dtype
        self.kept_as = torch.float16 if dtype.is_floating_point else dtype
        self.whole = shape
        self.index = torch.arange(shape[0]) if index is None else index

    @classmethod
    def allocated(cls, file: Path, shape: tuple[int, ...], dtype: torch.dtype) -> MappedRows:
        """With all of its space taken from the disk. Raises `InputError` when there is not enough."""
        rows = cls(file, shape, dtype)
        try:
            _allocate(file, rows.bytes)
        except OSError as error:
            file.unlink(missing_ok=True)
            raise InputError(
                f"{file.parent} has no room for {rows.bytes / 2**30:.1f} GB of features ({error.strerror}); "
                f"{shutil.disk_usage(file.parent).free / 2**30:.1f} GB are free. Make room, or train on "
                "fewer photos.") from error
        return rows

    device = torch.device("cpu")  # of what one gets

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
    """Where rows are made: in memory, or in files below a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Rows:
        """Room for n = shape[0] rows. Raises `InputError` when the disk is too full."""
        if self.folder is None:
            return torch.empty(shape, dtype=dtype)
        self.folder.mkdir(parents=True, exist_ok=True)
        return MappedRows.allocated(self.folder / name, shape, dtype)


IN_MEMORY = Space(None)


def take(rows: Rows, index: Tensor) -> Rows:
    """These rows, in this order; those in a file stay there."""
    if isinstance(rows, Tensor):
        return rows if torch.equal(index, torch.arange(len(rows))) else rows[index]
    return MappedRows(rows.file, rows.whole, rows.dtype, rows.index[index])


def near(rows: Rows, device: torch.device) -> Rows:
    """In the memory of a GPU that has room for them; else, and for any other device, where they are."""
    if device.type != "cuda" or math.prod(rows.shape) * rows.dtype.itemsize > _free(device) * GPU_SHARE:
        return rows
    result = torch.empty(rows.shape, dtype=rows.dtype, device=device)
    for start in range(0, len(rows), AT_ONCE):
        result[start:start + AT_ONCE] = rows[start:start + AT_ONCE].to(device)
    return result


def _free(device: torch.device) -> int:
    """Bytes, among them what torch holds ready."""
    return (torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device))


def batches(rows: Rows, size: int) -> Iterator[Tensor]:
    """All rows, `size` at a time."""
    return (rows[start:start + size] for start in range(0, len(rows), size))


def _allocate(file: Path, size: int) -> None:
    """Writing to a mapped page for which the disk has no room would kill the process without a word."""
    if shutil.disk_usage(file.parent).free < size:  # asked for more, the system would fill the disk first
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with open(file, "wb") as opened:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(opened.fileno(), 0, size)
        else:
            opened.truncate(size)
