"""A column to open photos and pick one."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from ulsad import rendering
from ulsad.errors import InputError
from ulsad.images import SUFFIXES
from ulsad.ui import library


def build(elem_id: str) -> gr.State:
    """Lay out the column, with the demo photos; return the state that holds the chosen photo's path."""
    photos = library.demo_photos()
    paths, selected = gr.State(photos), gr.State(photos[0])
    with gr.Column(scale=1, min_width=260, elem_id=elem_id):
        upload = gr.UploadButton("Open photos …", file_count="multiple", file_types=list(SUFFIXES),
                                 variant="primary")
        gallery = gr.Gallery(_thumbnails(photos), show_label=False, columns=2, height=560,
                             allow_preview=False, selected_index=0, interactive=False, object_fit="contain",
                             buttons=[], elem_classes="photo-list")
    upload.upload(_open, upload, [paths, gallery, selected])
    gallery.select(_pick, paths, selected)
    return selected


def _open(files: list[str]):
    readable, problems = [], []
    for file in files:
        try:
            library.photo(file)
            readable.append(file)
        except InputError as error:
            problems.append(str(error).replace(file, Path(file).name))
    for problem in problems:
        gr.Warning(problem, title="Skipped", duration=None)
    if not readable:
        raise gr.Error("None of these files could be read as a photo.", duration=None)
    return readable, gr.Gallery(_thumbnails(readable), selected_index=0), readable[0]


def _pick(paths: list[str], event: gr.SelectData) -> str:
    return paths[event.index]


def _thumbnails(paths: list[str]):
    return [(rendering.fit_within(library.photo(path), 240), Path(path).stem) for path in paths]
