"""What the page shows from its first moment, before the demo photos are scored: the photos, and words."""

from __future__ import annotations

import json

from PIL import Image

from ulsad.photos.files import link_or_copy
from ulsad.ui import library, places
from ulsad.ui.inspect import viewer

SUMMARY = ("<div class='verdict'>Eight photos of a drawn part tray are being scored by the demo model …</div>"
           "<p class='flips'>In a moment: which of them are unlike good trays, and which branch sees it. "
           "Drop photos of your own into the slot on the left.</p>")


def values() -> tuple[str, str]:
    """JSON for viewer.js and for table.js."""
    folder = places.new(places.shown())
    photos = [link_or_copy(path, folder / path.name) for path in library.demo_photos()]
    rows = [{"index": i, "name": photo.name, "thumbnail": places.address(photo)}
            for i, photo in enumerate(photos)]
    first = viewer.before_scoring(photos[0], Image.open(photos[0]).size)
    return json.dumps(first), json.dumps({"rows": rows, "total": len(rows), "selected": 0})
