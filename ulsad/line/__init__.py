"""A model at work: verdicts on photos, without the app, without training and without plots. A verdict says
what it is based on, so that it can be computed again.

    judge = Judge.load("part.safetensors")
    judge.verdict("photo.jpg").verdict  # pass, review or fail
"""

from ulsad import lazy

_FACE = {"Judge": "judge", "Verdict": "verdict", "Basis": "verdict"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
