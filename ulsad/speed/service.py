"""The service under load: one client, several at once, and several that each send a photo now and then."""

from __future__ import annotations

import http.client
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ulsad.evaluation.tables import Table

CLIENTS = 8
COLUMNS = ("load", "photos", "answered", "photos a second", "p50, ms", "p95, ms", "p95 / p50 of one client")


class Load(NamedTuple):
    """So many photos in all, sent by so many clients: each sends its next one after an answer, but not
    before `every` seconds have passed since it was due to send the last."""

    what: str
    clients: int
    photos: int
    every: float = 0.0


def under_load(model: Path, files: Sequence[Path], photos: int, machine: str) -> Table:
    """Each load with `photos` photos in all, one after the other."""
    loads = (Load("1 client, one photo after the other", 1, photos),
             Load(f"{CLIENTS} clients, one photo after the other", CLIENTS, photos),
             Load(f"{CLIENTS} clients, each a photo every second", CLIENTS, photos, 1.0),
             Load(f"{CLIENTS} clients, each a photo every two seconds", CLIENTS, photos, 2.0))
    contents = [file.read_bytes() for file in files]
    rows, single = [], 0.0
    with served(model) as address:
        _send(address, contents, Load("", 2, 20))  # not counted
        for load in loads:
            began = time.perf_counter()
            seconds = _send(address, contents, load)
            rate = len(seconds) / (time.perf_counter() - began)
            median, late = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
            single = single or median
            rows.append((load.what, str(load.photos), str(len(seconds)), f"{rate:.1f}",
                         f"{1000 * median:.0f}", f"{1000 * late:.0f}", f"{late / single:.1f}"))
    return Table("The service under load", COLUMNS, tuple(rows),
                 f"Clients on the same machine. {machine}")


def _send(address: str, contents: Sequence[bytes], load: Load) -> list[float]:
    """Seconds to each answer that is a verdict."""
    seconds: list[float] = []
    numbers = iter(range(load.photos))
    taking = threading.Lock()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        due = time.perf_counter() + load.every * number / load.clients  # not all in the same moment
        while True:
            with taking:
                photo = next(numbers, None)
            if photo is None:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            connection.request("POST", "/score", contents[photo % len(contents)])
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                seconds.append(time.perf_counter() - began)
            due += load.every

    threads = [threading.Thread(target=client, args=[number]) for number in range(load.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


@contextmanager
def served(*options: str | Path, **environment: str) -> Iterator[str]:
    """Run the service in a process of its own, on a free port; yield HOST:PORT."""
    command = [sys.executable, "-m", "ulsad", "serve", *map(str, options), "--port", "0"]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    assert service.stderr is not None
    try:
        line = next((line for line in service.stderr if "http://" in line), "")
        found = re.search("http://([^/]+)/", line)
        if found is None:
            raise RuntimeError("the service ended while starting")
        yield found[1]
    finally:
        service.terminate()
        service.communicate(timeout=60)
