"""How much memory this process has taken, and what it does with memory that it frees."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _NEVER = -1, -3, 2**31 - 1  # of glibc's malloc.h; bytes


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


def keep_freed() -> None:
    """Let this process keep what it frees, up to a peak that it has had anyway.

    Networks ask for the same large arrays again and again, and pages fetched anew take a twentieth of their
    time. Does nothing without glibc.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _NEVER)
        mallopt(_TRIM_THRESHOLD, _NEVER)
