"""The synthetic part tray: good trays, and trays with logical and structural defects, drawn by a seed. It
gives a first look, tests and examples something to work on without a download. Nothing of it is
photographed.
"""

from ulsad import lazy

_FACE = {
    "write_demo": "dataset", "write_sample": "dataset"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
