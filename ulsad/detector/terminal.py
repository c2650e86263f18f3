"""Progress on a terminal or in a log."""

from __future__ import annotations

import sys

from ulsad.detector.fitting import Progress


def print_progress(progress: Progress) -> None:
    """On a terminal, one line that is updated; in a log, a line every fifty photos or steps."""
    text = f"{progress.phase} {progress.done}/{progress.total}"
    if step := progress.step:
        text += (f"  local {step.local:.3f}  attention {step.attention:.3f}"
                 f"  local-global {step.local_global:.3f}  {step.seconds_left:.0f} s left")
    last = progress.done == progress.total
    if sys.stderr.isatty():
        print(f"\r{text:<90}", end="\n" if last else "", file=sys.stderr, flush=True)
    elif last or progress.done % 50 == 0:
        print(text, file=sys.stderr, flush=True)
