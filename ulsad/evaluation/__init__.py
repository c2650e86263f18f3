"""How good is it? Labelled sets, exact metrics with intervals, the paper's tables and ablations, and other
methods on the same photos. Thresholds never see a test photo. What a folder
of trials already has is not computed again.
"""

from ulsad import lazy

_FACE = {
    "evaluate": "evaluation", "summarise": "evaluation", "run_method": "comparison"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
