"""From dropped files to square images for the networks: zips and data sets, formats and bit depths, copies,
contact sheets, and good photos damaged on purpose. No network is run here. Every problem with a photo becomes
a sentence that says what to do.
"""

from ulsad import lazy

_FACE = {
    "read_photo": "images", "read_image": "images", "find_images": "images", "take_in": "intake",
    "find_categories": "datasets"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
