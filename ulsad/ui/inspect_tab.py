"""Inspect: a photo, its local, global and combined map side by side, and what α and β do to them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np

from ulsad import rendering
from ulsad.calibration import AnomalyMaps
from ulsad.ui import library, photo_list

SIDE = 1024  # px; larger photos are shown scaled down

EXPLANATION = """
**How to read this.** Both branches score every pixel; higher is stranger. The *local* branch rebuilds
each patch from its surroundings and stumbles over **structural** defects: scratches, dents, dirt. The
*global* branch looks at the photo as a whole and stumbles over **logical** ones: parts that are missing,
surplus or in the wrong place. Each can see some of the other's kind, so this says which branch *fired*, not
what the defect *is*.

**α and β** put both branches on one scale. Of all pixels of held-out good photos, a share α lies below
score 0 and a share β below score 0.1. Raise α to darken ordinary structure; raise β to demand more before a
pixel glows. The combined map takes, pixel by pixel, the larger of the two, the global one at seven tenths
(models of the `paper` preset: their mean). The score of a photo is its brightest pixel.
"""


def build(page: gr.Blocks, model: gr.Dropdown, models_dir: Path) -> photo_list.PhotoList:
    """Lay out the tab and wire it to the model chosen in the header; return its list of photos."""
    with gr.Row():
        photos = photo_list.build("inspect-photos")
        with gr.Column(scale=5):
            summary = gr.HTML(elem_id="summary")
            with gr.Row():
                pictures = [gr.Image(label=title, format="png", interactive=False, min_width=160,
                                     buttons=["download", "fullscreen"], elem_id=f"view-{i}",
                                     elem_classes="view")
                            for i, title in enumerate(
                                ("Photo", "Local: structural", "Global: logical", "Combined"))]
            gr.HTML(_legend())
            with gr.Row():
                alpha = gr.Slider(0.5, 0.99, 0.9, step=0.005, label="α", elem_id="alpha",
                                  info="share of held-out good pixels that stay below 0 (no colour)")
                beta = gr.Slider(0.9, 0.9995, 0.995, step=0.0005, label="β", elem_id="beta",
                                 info="share of held-out good pixels that stay below 0.1")
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Overlay",
                                    info="how strongly the colours cover the photo")
            gr.Markdown(EXPLANATION)
    show = library.shown(partial(_show, models_dir))
    inputs, outputs = [model, photos.selected, alpha, beta, opacity], [*pictures, summary, beta]
    for slider in (alpha, beta, opacity):
        slider.input(show, inputs, outputs, show_progress="hidden", trigger_mode="always_last",
                     concurrency_id="redraw", concurrency_limit=2)
    photos.selected.change(show, inputs, outputs, concurrency_id="predict")
    model.change(library.shown(partial(_levels, models_dir)), model, [alpha, beta]).then(
        show, inputs, outputs, concurrency_id="predict")
    page.load(show, inputs, outputs, concurrency_id="predict")
    return photos


def _levels(models_dir: Path, model: str) -> tuple[float, float]:
    """α and β as the model was trained with."""
    config = library.detector(model, models_dir).config
    return config.alpha, config.beta


def _show(models_dir: Path, model: str, photo: str, alpha: float, beta: float, opacity: float):
    beta = max(beta, round(alpha + 0.0005, 4))  # q_β must lie above q_α
    prediction = library.prediction(model, photo, models_dir)
    maps = prediction.maps(alpha, beta)
    held_out = prediction.calibration.held_out_scores(alpha, beta)
    picture = rendering.fit_within(library.photo(photo), SIDE)
    return *rendering.views(picture, maps, opacity), _summary(maps, held_out), beta


def _summary(maps: AnomalyMaps, held_out: np.ndarray) -> str:
    """The scores of a photo beside the highest of any held-out good photo, branch by branch."""
    rows = [("Combined", maps.score), ("Local: structural", maps.local_score)]
    if maps.global_ is not None:
        rows.append(("Global: logical", maps.global_score))
    cells = "".join(
        f"<div class='score {'fired' if score > held_out[:, i].max() else ''}'><b>{name}</b>"
        f"<span>{score:.2f}</span><small>good photos up to {held_out[:, i].max():.2f}</small></div>"
        for i, (name, score) in enumerate(rows))
    return f"<div class='verdict'>{_verdict(maps, held_out)}</div><div class='scores'>{cells}</div>"


def _verdict(maps: AnomalyMaps, held_out: np.ndarray) -> str:
    top = held_out.max(axis=0)
    local, global_ = maps.local_score > top[1], maps.global_score > top[2]
    count = len(held_out)
    if not local and not global_:
        return f"Neither branch fired: nothing here is stranger than the {count} held-out good photos."
    if local and global_:
        text = "Both branches fired: stranger than every held-out good photo."
    elif local:
        text = ("The <b>local</b> branch fired: patches unlike those of good parts. "
                "Most often that is a scratch, a dent or dirt.")
    else:
        text = ("The <b>global</b> branch fired: an arrangement unlike that of good parts. "
                "Most often something is missing, surplus or misplaced.")
    # The highest of n + 1 exchangeable scores is any one of them with the same chance.
    return (f"{text}<small>By chance alone a branch fires on one good part in {count + 1}: "
            f"it is held against {count} held-out good photos.</small>")


def _legend() -> str:
    stops = ", ".join("rgb({},{},{})".format(*rendering.colours(np.array(level)))
                      for level in np.linspace(rendering.LOW, rendering.HIGH, 9))
    marks = {0: "0: q<sub>α</sub>", 0.1: "0.1: q<sub>β</sub>", 0.5: "0.5", 1: "1 and above"}
    spans = "".join(f"<span style='left:{100 * level}%'>{text}</span>" for level, text in marks.items())
    return (f"<div class='legend'><div class='bar' style='background:linear-gradient(90deg, {stops})'></div>"
            f"<div class='marks'>{spans}</div></div>")
