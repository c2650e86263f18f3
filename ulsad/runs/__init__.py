"""Training runs: a process and a directory each, with photo check, estimate, progress, result, run card and
report. Other processes see only the directory. So training survives a closed browser, and can be resumed
after a kill.
"""

from ulsad import lazy

_FACE = {
    "start": "directory", "read": "directory", "check": "photo_check", "judge": "outcome"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
