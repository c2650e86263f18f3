"""The synthetic part tray: good trays, and trays with logical and structural defects, drawn from a seed. They
allow a first look, tests and examples without a download. All pictures are drawn, not photographed.
"""

from ulsad import lazy

_FACE = {
    "write_demo": "dataset", "write_sample": "dataset"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
