"""From whatever is dropped to squares for the networks: files, zips and data sets, formats and depths,
photos that show the same, contact sheets, and good photos spoiled on purpose. No network is run here.
Everything that can be wrong with a photo is said in a sentence with its remedy.
"""

from ulsad import lazy

_FACE = {
    "read_photo": "images", "read_image": "images", "find_images": "images", "take_in": "intake",
    "find_categories": "datasets"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
