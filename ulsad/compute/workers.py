"""Several photos at once, each on a core of its own: on a CPU that beats all cores on one photo.

Convolutions of small networks are divided poorly among cores, decoding and Python's own work not at all.
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
    """function(item) of every item, in order, computed a few items ahead.

    An error is raised when its item's turn comes. A single item gets all cores. In a function that is itself
    called in this way, items take turns on its core.
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
    """As many threads as there are cores, whose tensor operations take one core each."""
    cores = torch.get_num_threads()
    all_started = Barrier(cores + 1)

    def start() -> None:
        _thread.is_worker = True
        torch.get_num_threads()  # once, or the first operation would take the number that counts elsewhere
        torch.set_num_threads(1)  # of this thread, and of those that start later
        all_started.wait()

    pool = ThreadPoolExecutor(cores, "photos", start)
    for _ in range(cores):
        pool.submit(lambda: None)
    all_started.wait()
    torch.set_num_threads(cores)
    return pool
