"""`Ulsad`: prepare, fit, predict, judge by a criterion, save and load. A model is one file, and every
detector object is fitted. Coloured maps and tables of verdicts are made here too.
"""

from ulsad import lazy

_FACE = {
    "Ulsad": "detector", "Prediction": "prediction", "Criterion": "criterion", "Batch": "batch"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
