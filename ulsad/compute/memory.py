"""Peak memory of this process, and what it does with freed memory."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _NEVER = -1, -3, 2**31 - 1  # of glibc's malloc.h; bytes


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


def keep_freed() -> None:
    """Let this process keep freed memory for reuse, up to its earlier peak.

    Networks allocate the same large arrays repeatedly, and fetching new pages would take a twentieth of their
    time. Does nothing without glibc.
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _NEVER)
        mallopt(_TRIM_THRESHOLD, _NEVER)
