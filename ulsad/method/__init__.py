"""Section 3 of the paper and its Algorithm 1: settings, patch features, the equations, the two networks,
training and calibration. Numbers of equations and tables are the paper's. What is ours, told apart in
files of its own: varied copies (`augmentation`) and relative maps (`residuals`).
"""

from ulsad import lazy

_FACE = {
    "Config": "config", "PRESETS": "config", "load_backbone": "backbones", "Networks": "networks",
    "Branches": "branches", "Training": "training", "Calibration": "calibration"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
