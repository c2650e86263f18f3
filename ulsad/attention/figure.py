"""Figure 5 for any photo: the photo, then the attention map of each of its concepts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from ulsad.attention.concepts import Concept
from ulsad.detector import rendering
from ulsad.detector.printing import HEIGHT, LOWEST, RESOLUTION, TEXT, WIDTH, require_letters
from ulsad.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 5  # pictures in a row
OPACITY = 0.75


def attention_map(photo: Image.Image, concept: Concept) -> Image.Image:
    """The concept's attention over the photo, on a scale from 0 to its largest value."""
    return rendering.overlay(photo, concept.attention, OPACITY, 0, float(concept.attention.max()))


def draw(photo: Image.Image, concepts: Sequence[Concept], captions: Sequence[str] = ()) -> Figure:
    """The whole figure; a cross marks each query. Captions, if any, go below the maps in order.

    Raises `InputError` when there are more captions than maps, and for letters that can't be drawn.
    """
    if len(captions) > len(concepts):
        raise InputError(f"There are {len(captions)} captions for {len(concepts)} maps. Remove some.")
    require_letters(captions)
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    across = min(ACROSS, len(concepts) + 1)
    down = math.ceil((len(concepts) + 1) / across)
    photo = rendering.fit_within(photo, round(2 * RESOLUTION * WIDTH / across))
    line = 0.25 if captions else 0.05
    picture = min(max(WIDTH / across * photo.height / photo.width, LOWEST), HEIGHT / down)
    layout = ConstrainedLayoutEngine()
    layout.set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # the constructor takes 0 for unset
    figure = Figure(figsize=(WIDTH, down * (picture + line)), dpi=RESOLUTION, layout=layout)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for place in axes:
        place.axis("off")
    axes[0].imshow(photo)
    for place, concept in zip(axes[1:], concepts, strict=False):
        place.imshow(attention_map(photo, concept))
        rows, columns = concept.attention.shape
        place.plot((concept.column + 0.5) / columns * photo.width, (concept.row + 0.5) / rows * photo.height,
                   "+", color="white", markersize=7, markeredgewidth=1.2)
    for place, caption in zip(axes[1:], captions, strict=False):
        place.set_title(caption, y=-0.02, va="top", fontsize=TEXT, parse_math=False)
    return figure
