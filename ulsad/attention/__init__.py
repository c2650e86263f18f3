"""Attention of patches in a pre-trained network, groups of similar patches (Figure 5 of the paper), and the
inner results of a trained model's branches. Only the last needs a trained model. The figure can be written to
a file.
"""

from ulsad import lazy

_FACE = {
    "patch_features": "attention", "look_inside": "inside"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
