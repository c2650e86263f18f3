"""A training as a process with a directory: the check of its photos, what it will take, its progress, its
result, run card and report. The directory is all that others see of it. So a training survives a closed
browser, and a killed one goes on.
"""

from ulsad import lazy

_FACE = {
    "start": "directory", "read": "directory", "check": "photo_check", "judge": "outcome"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
