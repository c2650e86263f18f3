"""How much memory this process has taken."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path


def peak_memory_mb() -> float:
    """Resident memory at its peak, MB; NaN where the system doesn't say.

    On Linux not from `ru_maxrss`, which begins with what the parent process held when it started this one.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(peak[1]) / 1024
    with suppress(ImportError):  # Windows has no such module
        from resource import RUSAGE_SELF, getrusage

        return getrusage(RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
    return float("nan")
