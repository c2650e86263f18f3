"""Peak memory of this process."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path


def peak_memory_mb() -> float:
    """Peak resident memory in MB; NaN if unknown.

    On Linux, not from `ru_maxrss`, which starts with the parent process's memory.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(peak[1]) / 1024
    with suppress(ImportError):  # Windows has no such module
        from resource import RUSAGE_SELF, getrusage

        return getrusage(RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
    return float("nan")
