"""Process several photos in parallel, one per core: on a CPU this is faster than all cores on one photo.

Convolutions of small networks parallelise poorly, decoding and Python code not at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import chain, islice
from threading import Barrier, Lock, local
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_thread = local()
_starting = Lock()


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield function(item) for every item, in order, computed a few items ahead.

    An error is raised when its item's turn comes. A single item gets all cores. Nested calls run their items
    one after the other on the worker's core.
    """
    items = iter(items)
    first = list(islice(items, 2))
    items = chain(first, items)
    if len(first) < 2 or torch.get_num_threads() == 1 or getattr(_thread, "is_worker", False):
        yield from map(function, items)
        return
    with _starting:
        pool = _pool()
    waiting = deque[Future[Result]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * torch.get_num_threads():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@cache
def _pool() -> ThreadPoolExecutor:
    """As many threads as there are cores; tensor operations in each use one core."""
    cores = torch.get_num_threads()
    all_started = Barrier(cores + 1)

    def start() -> None:
        _thread.is_worker = True
        torch.get_num_threads()  # needed once, or the thread's first operation would reset the number
        torch.set_num_threads(1)  # for this thread, and for threads that start later
        all_started.wait()

    pool = ThreadPoolExecutor(cores, "photos", start)
    for _ in range(cores):
        pool.submit(lambda: None)
    all_started.wait()
    torch.set_num_threads(cores)
    return pool
