"""Attention of patches in a pre-trained network, groups of similar patches (Figure 5 of the paper), the inner
results of a trained model's branches, and one photo through all steps of the method. Only the last two need a
trained model. The figure can be written to a file.
"""

from ulsad import lazy

_FACE = {
    "patch_features": "attention", "look_inside": "inside", "teach": "lesson"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
