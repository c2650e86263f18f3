"""One training in several processes started by `torchrun`: each computes a share, and all get the result.

With a single process, every function works too, at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ulsad.compute.rows import Rows
from ulsad.errors import InputError

Item = TypeVar("Item")


@contextmanager
def group() -> Iterator[None]:
    """Connect the processes that torchrun started while the block runs."""
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        dist.barrier()  # nobody leaves while another still sends
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, from 0; the first one writes and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_device() -> str | None:
    """The GPU of this process; None without a GPU, or with a single process."""
    if size() == 1 or not torch.cuda.is_available():
        return None
    return f"cuda:{dist.get_node_local_rank(0) % torch.cuda.device_count()}"


def fill(rows: Rows, batch: int, compute: Callable[[int, int], Tensor],
         on_done: Callable[[int], None] = lambda done: None) -> None:
    """rows[a:b] = compute(a, b) for all rows, `batch` at a time. Each process computes every n-th batch."""
    spans = [(start, min(start + batch, len(rows))) for start in range(0, len(rows), batch)]
    for first in range(0, len(spans), size()):
        round_ = spans[first:first + size()]
        mine = compute(*round_[rank()]) if rank() < len(round_) else None
        for owner, (start, end) in enumerate(round_):
            rows[start:end] = _from(owner, mine, rows, end - start)
        on_done(round_[-1][1])


def _from(owner: int, mine: Tensor | None, rows: Rows, count: int) -> Tensor:
    """Send the result of process `owner` to all processes."""
    if mine is None or owner != rank():
        values = torch.empty(count, *rows.shape[1:], dtype=rows.dtype)
    elif size() == 1:
        return mine
    else:
        values = mine.contiguous()
    dist.broadcast(values, src=owner)
    return values


def gathered(items: Sequence[Item]) -> list[Item]:
    """The items of all processes, in the order of the processes."""
    if size() == 1:
        return list(items)
    parts: list[Any] = [None] * size()
    dist.all_gather_object(parts, list(items))
    return [item for part in parts for item in part]


def anyone(asked: bool) -> bool:
    """Whether `asked` is true in at least one process."""
    return bool(_reduced(torch.tensor(float(asked)), dist.ReduceOp.MAX))


def from_first(value: float) -> float:
    """The first process's value."""
    return float(_reduced(torch.tensor(value if rank() == 0 else 0.0, dtype=torch.float64)))


def mean(values: Tensor) -> Tensor:
    """The mean of the processes' tensors."""
    return _reduced(values.clone()) / size()


def share_of(batch: Tensor) -> Tensor:
    """This process's share of a batch. Raises `InputError` when the batch can't be divided evenly."""
    if len(batch) % size():
        raise InputError(f"{size()} processes can't share batches of {len(batch)} photos evenly. "
                         f"Choose a batch_size that is a multiple of {size()}.")
    return batch[rank()::size()]


def _reduced(values: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    if size() > 1:
        dist.all_reduce(values, operation)
    return values


class _Sum(torch.autograd.Function):
    """A sum over all processes; its gradient is summed as well."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return _reduced(values.clone())

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _reduced(gradient.clone())


class BatchNorm2d(nn.BatchNorm2d):
    """torch's `BatchNorm2d` with the statistics of the whole batch when processes share it, so that several
    processes train like one. Unlike torch's SyncBatchNorm, it also works on CPUs."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or size() == 1:
            return super().forward(values)
        exact = values.float()
        mean = _Sum.apply(exact.mean(dim=(0, 2, 3))) / size()
        centred = exact - mean[:, None, None]
        variance = _Sum.apply(centred.square().mean(dim=(0, 2, 3))) / size()
        self._remember(mean.detach(), variance.detach(), size() * exact[:, 0].numel())
        result = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            result = result * self.weight[:, None, None] + self.bias[:, None, None]
        return result.to(values.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.num_batches_tracked is not None and self.momentum is not None  # torch's defaults
        assert self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
