"""The benchmark of the app: what is timed works on the server and in a real browser."""

from __future__ import annotations

import pytest
from browser import needs_chromium

from ulsad.__main__ import main


@needs_chromium
@pytest.mark.slow
def test_the_benchmark_measures_a_redraw_in_a_browser_too(capsys):
    assert main(["bench", "latency", "--batch", "8", "--rounds", "1"]) == 0
    table = capsys.readouterr().out
    assert table.count("| ms |") == 8 and table.count("| s |") == 2 and "not measured" not in table
