"""What a process says of its memory, and that it keeps what it frees, where glibc lets it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_LEFT = """
import re, sys
import torch
from ulsad.compute.memory import keep_freed, peak_memory_mb
if sys.argv[1] == "keep":
    keep_freed()
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = resident()
values = torch.ones(50 * 2**20)  # 200 MB
del values
print(resident() - before, peak_memory_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, which can be told")
@pytest.mark.parametrize(("word", "low", "high"), [("keep", 195, 215), ("return", -5, 15)])
def test_freed_memory_is_kept_or_returned(word, low, high):
    done = subprocess.run([sys.executable, "-c", _LEFT, word], text=True, capture_output=True, check=True)
    left, peak = map(float, done.stdout.split())
    assert low < left < high
    assert 195 < peak < 225
