"""Section 3 of the paper and its Algorithm 1, in this order: `config`, patch features (`backbones`), ψ and φ
(`networks`), Eq. 1 to 8 (`equations`), Algorithm 1 (`training`), both maps (`branches`), Eq. 9 and 10
(`calibration`). Equation and table numbers are the paper's. Our own additions are separate: augmented copies
(`augmentation`) and relative maps (`residuals`).
"""

from ulsad import lazy

_FACE = {
    "Config": "config", "PRESETS": "config", "load_backbone": "backbones", "Networks": "networks",
    "Branches": "branches", "Training": "training", "Calibration": "calibration"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
