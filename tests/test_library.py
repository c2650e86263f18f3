"""What people are told is shown as it was written."""

from __future__ import annotations

from ulsad import InputError
from ulsad.ui import library


def test_an_error_is_shown_whole():
    """Gradio takes it as HTML, in which '<urlopen error …>' and all behind it would be lost."""
    message = library.toast(InputError("no network (<urlopen error>). Fetch a & b")).message
    assert message == "no network (&lt;urlopen error&gt;). Fetch a &amp; b"
