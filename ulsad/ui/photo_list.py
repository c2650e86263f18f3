"""A column to open photos, pick one, and set a second one beside it."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ulsad import rendering
from ulsad.errors import InputError
from ulsad.images import SUFFIXES
from ulsad.ui import batches, library

SIDE = 1024  # px; larger photos are shown scaled down
NONE = ("no second photo", "")


def build(elem_id: str) -> tuple[gr.State, gr.Dropdown]:
    """Lay out the column, with the demo photos; return what holds the paths of the photo and of the second
    one, "" for none."""
    photos = library.demo_photos()
    paths, selected = gr.State(photos), gr.State(photos[0])
    with gr.Column(scale=1, min_width=260, elem_id=elem_id):
        upload = gr.UploadButton("Open photos …", file_count="multiple", file_types=list(SUFFIXES),
                                 variant="primary")
        gallery = gr.Gallery(_thumbnails(photos), label="Photo A", columns=2, height=500,
                             allow_preview=False, selected_index=0, interactive=False, object_fit="contain",
                             buttons=[], elem_classes="photo-list")
        second = gr.Dropdown(_named(photos), value=photos[1], label="Photo B, beside it",
                             elem_id=f"{elem_id}-second")
    upload.upload(library.shown(_open), upload, [paths, gallery, selected, second])
    gallery.select(_pick, paths, selected)
    return selected, second


def shown(path: str) -> dict[str, Any]:
    """A photo as the browser shows it: its address, width and height in px, and its name for downloads."""
    photo = rendering.fit_within(library.photo(path), SIDE)
    return {"src": batches.address(_browsable(path, library.version(path))), "width": photo.width,
            "height": photo.height, "name": batches.bare(Path(path).name)}


@lru_cache(maxsize=256)
def _browsable(path: str, version: int) -> Path:
    place = Path(tempfile.mkdtemp(dir=batches.folder())) / "photo.jpg"
    rendering.fit_within(library.photo(path), SIDE).save(place, quality=95, subsampling=0)
    return place


def _open(files: list[str]):
    readable, problems = [], []
    for file in files:
        try:
            library.photo(file)
            readable.append(file)
        except InputError as error:
            problems.append(str(error).replace(file, Path(file).name))
    for problem in problems:
        gr.Warning(escape(problem), title="Skipped", duration=None)
    if not readable:
        raise InputError("None of these files could be read as a photo.")
    second = gr.Dropdown(_named(readable), value=readable[1] if len(readable) > 1 else "")
    return readable, gr.Gallery(_thumbnails(readable), selected_index=0), readable[0], second


def _pick(paths: list[str], event: gr.SelectData) -> str:
    return paths[event.index]


def _named(paths: list[str]) -> list[tuple[str, str]]:
    return [NONE, *((Path(path).stem, path) for path in paths)]


def _thumbnails(paths: list[str]):
    return [(rendering.fit_within(library.photo(path), 240), Path(path).stem) for path in paths]
