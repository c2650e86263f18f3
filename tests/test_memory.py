"""What a process says of its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PEAK = """
import torch
from ulsad.compute.memory import peak_memory_mb
before = peak_memory_mb()
values = torch.ones(50 * 2**20)  # 200 MB
del values
print(peak_memory_mb() - before)
"""


@pytest.mark.slow
def test_the_peak_counts_what_was_freed_since():
    done = subprocess.run([sys.executable, "-c", _PEAK], text=True, capture_output=True, check=True)
    assert 195 < float(done.stdout) < 225
