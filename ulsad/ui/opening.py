"""What the page shows before the demo photos are scored: the photos and a short text."""

from __future__ import annotations

import json

from PIL import Image

from ulsad.photos.files import link_or_copy
from ulsad.ui import library, places
from ulsad.ui.inspect import viewer

SUMMARY = ("<div class='verdict'>Eight photos of a synthetic part tray are being scored …</div>"
           "<p class='flips'>You will see which of them differ from good trays, and which branch detects it. "
           "Drop your own photos into the slot on the left.</p>")


def values() -> tuple[str, str]:
    """Initial JSON values for viewer.js and table.js."""
    folder = places.new(places.shown())
    photos = [link_or_copy(path, folder / path.name) for path in library.demo_photos()]
    rows = [{"index": i, "name": photo.name, "thumbnail": places.address(photo)}
            for i, photo in enumerate(photos)]
    first = viewer.before_scoring(photos[0], Image.open(photos[0]).size)
    return json.dumps(first), json.dumps({"rows": rows, "total": len(rows), "selected": 0})
