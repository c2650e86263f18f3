"""A column to open photos, pick one, and choose a second one to compare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ulsad.detector import rendering
from ulsad.errors import InputError
from ulsad.photos.images import SUFFIXES
from ulsad.ui import batches, library, places
from ulsad.ui.batches import Named
from ulsad.ui.component import Update

SIDE = 1024  # px; larger photos are shown scaled down
MOST = 60  # photos of a batch that are listed, the strangest first
NONE = "no second photo"


@dataclass(frozen=True)
class PhotoList:
    """The column's states, namely the paths of photos A and B ("" for none) and the key of the Inspect batch
    it shows, and all components that change with the listed photos."""

    pair: gr.State
    followed: gr.State
    views: list[gr.components.Component]


def build(elem_id: str) -> PhotoList:
    """Lay out the column, with the demo photos."""
    photos = _demo()
    with gr.Column(scale=1, min_width=260, elem_id=elem_id):
        listed, pair, followed = gr.State(photos), gr.State(_pair(photos)), gr.State(None)
        upload = gr.UploadButton("Open photos …", file_count="multiple", file_types=list(SUFFIXES),
                                 variant="primary")
        gallery = gr.Gallery(_thumbnails(photos), label="Photo A", columns=2, height=500,
                             allow_preview=False, selected_index=0, interactive=False, object_fit="contain",
                             buttons=[], elem_classes="photo-list")
        names = _names(photos)
        second = gr.Dropdown(names, value=names[2], label="Photo B, to compare", elem_id=f"{elem_id}-second")
    views: list[gr.components.Component] = [listed, pair, gallery, second]
    upload.upload(library.show_errors(_open), upload, views)
    gallery.select(_pick, [listed, pair], pair)
    second.input(library.show_errors(_beside), [listed, pair, second], pair, show_progress="hidden")
    return PhotoList(pair, followed, views)


def follow(key: str | None, followed: str | None) -> tuple[Update, ...]:
    """List the photos that are open in Inspect, if they have changed: values for `followed` and `views`."""
    if key is None or key == followed or not batches.is_known(key):
        return (gr.skip(),) * 5
    opened = batches.recalled(key)
    if {path for path, _ in opened.request.photos} == {path for path, _ in _demo()}:
        return (key, *_listed(_demo())) if followed else (key, *(gr.skip(),) * 4)
    return key, *_listed(opened.strangest_photos(MOST))


def shown(path: str) -> dict[str, Any]:
    """A photo for the browser: its address, width and height in px, and its name for downloads."""
    photo = rendering.fit_within(library.photo(path, at_least=SIDE), SIDE)
    return {"src": places.address(_browsable(path, library.version(path))), "width": photo.width,
            "height": photo.height, "name": batches.bare(Path(path).name)}


@lru_cache(maxsize=256)
def _browsable(path: str, version: int) -> Path:
    place = places.new(places.shown()) / "photo.jpg"
    rendering.fit_within(library.photo(path, at_least=SIDE), SIDE).save(place, quality=95, subsampling=0)
    return place


def _open(files: list[str]) -> tuple[Update, ...]:
    readable, problems = [], []
    for file in map(Path, files):
        try:
            library.photo(str(file), at_least=SIDE)
            readable.append((file, file.name))
        except InputError as error:
            problems.append(str(error).replace(str(file), file.name))
    for problem in problems:
        gr.Warning(escape(problem), title="Skipped", duration=None)
    if not readable:
        raise InputError("None of these files could be read as a photo.")
    return _listed(readable)


def _listed(photos: list[Named]) -> tuple[Update, ...]:
    """The list, its first two photos as A and B, and both components."""
    names = _names(photos)
    return (photos, _pair(photos), gr.Gallery(_thumbnails(photos), selected_index=0),
            gr.Dropdown(names, value=names[2] if len(photos) > 1 else NONE))


def _pick(photos: list[Named], pair: tuple[str, str], event: gr.SelectData) -> tuple[str, str]:
    return str(photos[event.index][0]), pair[1]


def _beside(photos: list[Named], pair: tuple[str, str], name: str) -> tuple[str, str]:
    """Photo B, looked up among the listed ones."""
    paths = dict(zip(_names(photos), ["", *(str(path) for path, _ in photos)], strict=True))
    if name not in paths:
        raise InputError(f"There is no photo '{name}' in the list.")
    return pair[0], paths[name]


def _demo() -> list[Named]:
    return [(path, path.name) for path in library.demo_photos()]


def _pair(photos: list[Named]) -> tuple[str, str]:
    first, second = (*(str(path) for path, _ in photos[:2]), "")[:2]
    return first, second


def _names(photos: list[Named]) -> list[str]:
    """The choices for photo B: none, and every photo."""
    return [NONE, *batches.unique_names([batches.bare(name) for _, name in photos])]


def _thumbnails(photos: list[Named]) -> list[tuple[Image.Image, str]]:
    return [(rendering.fit_within(library.photo(str(path), at_least=SIDE), 240), batches.bare(name))
            for path, name in photos]
