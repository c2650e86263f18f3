"""The views of one photo: the photo, its local, global and combined map, and the most similar good photo.

The server colours the maps at the network's resolution. The browser (`viewer.js`) stretches them over the
photo and does opacity, zoom, hover values, drawing and PNG downloads.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from ulsad.detector import rendering
from ulsad.detector.criterion import Criterion
from ulsad.errors import InputError
from ulsad.method.calibration import AnomalyMaps
from ulsad.photos.datasets import read_mask
from ulsad.runs.marks import Mark
from ulsad.ui import batches, places
from ulsad.ui.batches import OpenBatch
from ulsad.ui.component import component

_NAMES = ("photo", "local", "global", "combined")
_TITLES = ("Photo", "Local<i>: patches</i>", "Global<i>: whole photo</i>", "Combined")
_TOOLS = {"look": "Zoom and move", "scratch": "Draw a scratch", "erase": "Erase a part",
          "duplicate": "Duplicate a part", "move": "Move a part", "swap": "Swap two parts",
          "ignore": "Paint areas to ignore"}


def _figure(kind: str, name: str, title: str, layers: str, more: str = "") -> str:
    save = f"<button class='save' title='Download as PNG' aria-label='Download {name} as PNG'>⤓</button>"
    note = "<span title='score, and as a multiple of the threshold'></span>"
    caption = f"<figcaption><div><b>{title}</b> {note}</div><div>{more}{save}</div></figcaption>"
    return (f"<figure class='{kind}' data-name='{name}'>{caption}"
            f"<div class='stage'><div class='sheet'><img class='photo' alt=''>{layers}</div>"
            "</div></figure>")


_LINES = ("<svg class='lines' preserveAspectRatio='none'><path class='contour shade'/>"
          "<path class='contour'/><path class='said shade'/><path class='said'/></svg>")
_DRAWING = "<svg class='drawing' preserveAspectRatio='none'></svg>"
_SWAP = ("<button class='swap' title='Hold to see the most similar good photo here (key: g)'>⇄ good</button>",
         "<img class='good' alt=''>")


def _of_photo(name: str, title: str) -> str:
    layers = f"<img class='heat' alt=''>{_LINES}<i class='cross'></i>"
    if name != "photo":
        return _figure("of-photo", name, title, layers)
    return _figure("of-photo", name, title, f"{_SWAP[1]}{layers}{_DRAWING}", _SWAP[0])


# Lies in the panel beside the mark buttons, and on small windows below the views.
PAINT = """
<button class='paint' aria-pressed='false' title='Paint over the defect on the photo'>✎ Paint where</button>
<span class='marking'><label class='marker'>Brush
  <input type='range' min='0.005' max='0.15' step='0.005' value='0.03'></label>
  <button class='undo'>Undo a stroke</button> <button class='clear'>Clear</button></span>"""
_TEMPLATE = f"""
<div class='views'>{"".join(map(_of_photo, _NAMES, _TITLES))}</div>
<div class='controls'>
  <div class='quick'><button class='good-part'>✓ Good</button> <button class='bad-part'>✗ Defect</button>
    {PAINT}</div>
  <div class='legend'></div>
  <label>Overlay <input class='opacity' type='range' min='0' max='1' step='0.05' value='0.6'></label>
  <label><input class='outline' type='checkbox' checked> outline</label>
  <p class='hint'></p>
  <div class='readout' aria-live='off'></div>
</div>"""

# These two lie in the panel beside the views; viewer.js serves them all.
_CHOICES = "".join(
    f"<label><input type='radio' name='tool' value='{value}' {'checked' if value == 'look' else ''}>"
    f"{title}</label>" for value, title in _TOOLS.items())
PROBE = f"""
<p>Damage a good photo with the mouse and see which branch reacts, or leave places out of maps and
scores.</p>
<div class='tools' role='radiogroup' aria-label='What the mouse does'>{_CHOICES}</div>
<label class='painting brush'>Brush
  <input type='range' min='0.01' max='0.2' step='0.01' value='0.05'></label>
<p class='painting'><button class='apply'>Ignore these areas</button>
  <button class='undo'>Undo a stroke</button> <button class='nothing'>Ignore nothing</button></p>"""
ARRIVED = "element.closest('#workspace').dispatchEvent(new Event('arrived'))"  # for viewer.js, from the panel
REFERENCE = _figure("expected", "expected", "Most similar good photo", "<i class='cross'></i>")


def build(first: str | None = None) -> gr.HTML:
    """The component; it triggers `probe` and `ignore` with the mouse's drawing, and `good` and `defect` for
    what is said of the photo."""
    return component(["pictures", "inspect/viewer"], _TEMPLATE, "viewer", first)


def value(opened: OpenBatch, index: int, criterion: Criterion, own_contrast: bool) -> dict[str, Any]:
    """All data that the browser needs to show one photo of a batch."""
    prediction = opened.batch.predictions[index]
    maps = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
    height, width = prediction.size
    reference, name = opened.reference(index)
    mark = opened.marked.get(prediction.digest)
    return {
        "photo": places.address(opened.picture(index)), "width": width, "height": height,
        "name": batches.bare(opened.batch.names[index]), "size": len(maps.combined),
        "views": [_NO_MAP, *(
            _view(square, score, threshold, opened.detector.calibration.ignored, own_contrast)
            for square, score, threshold in (
                (maps.local, maps.local_score, criterion.local),
                (maps.global_, maps.global_score, criterion.global_),
                (maps.combined, maps.score, criterion.review)))],
        "hover": _hover(maps, prediction.distances.shape[-1]),
        "legend": legend(criterion, own_contrast),
        "reference": {"photo": places.address(reference), "name": name},
        "mark": "" if mark is None else "good" if mark.is_good else "defect",
        "painted": _painted(opened, mark, len(maps.combined)) if mark else "",
    }


def before_scoring(photo: Path, size: tuple[int, int]) -> dict[str, Any]:
    """The same without maps, for a photo below `places.shown` of `size` (width, height)."""
    return {"photo": places.address(photo), "width": size[0], "height": size[1],
            "name": batches.bare(photo.name), "size": 1, "views": [_NO_MAP] * 4, "hover": None, "legend": "",
            "reference": None, "mark": "", "painted": ""}


def _painted(opened: OpenBatch, mark: Mark, side: int) -> str:
    """The outline of what was painted on a marked defect, as an SVG path in px of the photo's square."""
    try:
        mask = opened.marks.mask(mark)
        return _outline(mask, side) if mask else ""
    except InputError:  # the mask is gone; the photo can still be seen
        return ""


@lru_cache(maxsize=256)  # every mask is a new file, and each move of a slider asks again
def _outline(mask: Path, side: int) -> str:
    return rendering.contour(read_mask([mask], side).astype(np.float32), 0.5)


_NO_MAP = {"heat": "", "contour": "", "note": "", "fired": False}


def _view(
    square: np.ndarray | None, score: float, threshold: float, ignored: np.ndarray | None,
    own_contrast: bool,
) -> dict[str, Any]:
    if square is None:
        return _NO_MAP | {"note": "this model has no global branch"}
    low, high = rendering.LOW, rendering.HIGH
    if own_contrast:
        low, high = float(square.min()), float(square.max())
    return {"heat": data_url(rendering.heat(square, low, high, ignored)),
            "contour": rendering.contour(square, threshold),
            "note": f"<i>{score:.2f} · </i>{score / threshold:.1f} ×" if threshold > 0 else f"{score:.2f}",
            "fired": score > threshold}


def data_url(picture: Image.Image) -> str:
    """A picture as a data URL, lossless."""
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def _hover(maps: AnomalyMaps, grid: int) -> dict[str, Any]:
    """The maps' values at the centre of each patch; the network's output is no finer."""
    step = len(maps.combined) // grid
    middle = slice(step // 2, None, step)

    def values(square: np.ndarray | None) -> list[float] | None:
        return None if square is None else square[middle, middle].astype(float).round(3).ravel().tolist()

    return {"rows": grid, "columns": grid, "local": values(maps.local), "global": values(maps.global_),
            "combined": values(maps.combined)}


def legend(criterion: Criterion, own_contrast: bool) -> str:
    """The colour scale with the important scores marked."""
    stops = ", ".join("rgb({},{},{})".format(*rendering.colours(np.array(level)))
                      for level in np.linspace(rendering.LOW, rendering.HIGH, 9))
    bar = f"<div class='bar' style='background:linear-gradient(90deg, {stops})'></div>"
    if own_contrast:
        return (f"{bar}<div class='marks'><span style='left:0'>map's minimum</span><span "
                "style='left:100%'>maximum</span></div><p>Each map has its own scale: do not compare the "
                "colours of different maps.</p>")
    marks = [(0, "0: q<sub>α</sub>", ""), (0.1, "0.1: q<sub>β</sub>", ""), (0.5, "0.5", ""),
             (1, "1 and above", "")]
    marks += [(min(max(threshold, 0), 1), f"{name} {threshold:.2f}", f"threshold {name}")
              for name, threshold in (("review", criterion.review), ("fail", criterion.fail))]
    spans = "".join(f"<span class='{kind}' style='left:{100 * level:.1f}%'>{text}</span>"
                    for level, text, kind in marks)
    return f"{bar}<div class='marks'>{spans}</div>"
