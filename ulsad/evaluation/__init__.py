"""Evaluate models: labelled sets, exact metrics with intervals, the paper's tables and ablations, and other
methods on the same photos. Thresholds never use a test photo. Results already in a folder of trials are
reused.
"""

from ulsad import lazy

_FACE = {
    "evaluate": "evaluation", "summarise": "evaluation", "run_method": "comparison"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
