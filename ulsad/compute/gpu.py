"""Record a step once and replay it: on a GPU, small kernels take longer to launch than to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

REHEARSALS = 3  # warm-up calls in which libraries choose their kernels; torch requires them before recording


class Recorded:
    """A function of CUDA tensors (or None), recorded on the first call and replayed on later calls.

    Call it with CPU tensors of constant shapes; all other data that it reads must stay at the same memory
    address. The result is one tensor, which the next call overwrites. `kept` are tensors that the function
    changes and that are restored after the warm-up calls.
    """

    def __init__(self, function: Callable[..., Tensor], kept: Sequence[Tensor]) -> None:
        self.function, self.kept = function, kept
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *values: Tensor | None) -> Tensor:
        graph = self.graph or self._recorded(values)
        for own, value in zip(self.inputs, values, strict=True):
            if own is not None and value is not None:
                own.copy_(value.pin_memory(), non_blocking=True)  # else the copy would wait for the GPU
        graph.replay()
        return self.result

    def _recorded(self, values: Sequence[Tensor | None]) -> torch.cuda.CUDAGraph:
        self.inputs = [None if value is None else value.cuda() for value in values]
        before = [tensor.clone() for tensor in self.kept]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(REHEARSALS):
                self.function(*self.inputs)
        torch.cuda.current_stream().wait_stream(aside)
        for tensor, value in zip(self.kept, before, strict=True):
            tensor.copy_(value)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):  # other threads may use the GPU
            self.result = self.function(*self.inputs)
        return self.graph


def fetched(values: Tensor) -> Callable[[], list[float]]:
    """Start copying a few numbers from the GPU; the returned function waits only for this copy."""
    if not values.is_cuda:
        return values.tolist
    copy, copied = values.to("cpu", non_blocking=True), torch.cuda.Event()
    copied.record()

    def arrived() -> list[float]:
        copied.synchronize()
        return copy.tolist()

    return arrived
