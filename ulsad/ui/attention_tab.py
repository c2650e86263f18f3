"""Attention: what the pre-trained network holds to be similar, before any training (Figure 5)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from ulsad import attention, rendering
from ulsad.backbones import BACKBONES
from ulsad.ui import library, photo_list

SIDE = 1024  # px; larger photos are shown scaled down


EXPLANATION = """
**What this shows.** A network trained on everyday photographs turns your photo into a grid of patches, each a
vector *z*. The clicked patch *q* asks every patch *p* 'how similar are you to me?', and the answers share out
one unit of attention:

$$W[p, q] = \\frac{\\exp(z_p^\\top z_q / \\sqrt{c^*})}
{\\sum_r \\exp(z_r^\\top z_q / \\sqrt{c^*})} \\qquad (3)$$

Patches of the same *thing* light up together, though nobody told the network what a bolt is. The global
branch learns to predict these relations from the whole photo; where it is wrong, something is missing,
surplus or misplaced. Below, patches are grouped by similarity, and the most typical patch of each group asks.
"""


def build(models_dir: Path) -> None:
    """Lay out the tab and wire it; needs no trained model."""
    with gr.Row():
        photo = photo_list.build("attention-photos")
        with gr.Column(scale=5):
            with gr.Row():
                backbone = gr.Dropdown(list(BACKBONES), value="efficientnet_lite0", label="Network",
                                       info="all but efficientnet_lite0 need their weights file")
                temperature = gr.Slider(0.25, 4, 1, step=0.25, label="Temperature",
                                        info="times √c*; 1 is the paper's, higher spreads the attention")
                count = gr.Slider(2, 8, 4, step=1, label="Concepts", info="how many groups of patches")
            with gr.Row():
                picture = gr.Image(label="Click a patch", format="png", interactive=False,
                                   elem_classes="view", elem_id="attention-photo", buttons=["fullscreen"])
                answer = gr.Image(label="Its attention", format="png", interactive=False,
                                  elem_classes="view", elem_id="attention-map",
                                  buttons=["download", "fullscreen"])
            concepts = gr.Gallery(label="Concepts found in this photo, each with the patch that asks",
                                  columns=4, format="png", interactive=False,
                                  object_fit="contain", elem_id="concepts")
            gr.Markdown(EXPLANATION, latex_delimiters=[{"left": "$$", "right": "$$", "display": True}])
    patch = gr.State((0.5, 0.5))
    ask_inputs = [photo, backbone, temperature, patch]
    concept_inputs = [photo, backbone, temperature, count]
    picture.select(_clicked, photo, patch, show_progress="hidden")
    ask, find = (library.shown(partial(function, models_dir)) for function in (_ask, _concepts))
    # No triggers: when the page opens, and whenever one of the inputs changes.
    gr.on(None, ask, ask_inputs, [picture, answer], show_progress="hidden", trigger_mode="always_last")
    gr.on(None, find, concept_inputs, concepts, trigger_mode="always_last")


def _clicked(path: str, event: gr.SelectData) -> tuple[float, float]:
    """The clicked place as shares of the photo's width and height."""
    width, height = rendering.fit_within(library.photo(path), SIDE).size
    return event.index[0] / width, event.index[1] / height


def _ask(models_dir: Path, path: str, backbone: str, temperature: float, patch: tuple[float, float]):
    features = library.patch_features(backbone, path, models_dir)
    photo = rendering.fit_within(library.photo(path), SIDE)
    grid = tuple(features.shape[1:])
    row, column = attention.patch_at(patch[0], patch[1], (1, 1), grid)
    weights = attention.attention_of_patch(features, row, column, temperature)
    return _marked(photo, row, column, grid), _marked(_attention_view(photo, weights), row, column, grid)


def _concepts(models_dir: Path, path: str, backbone: str, temperature: float, count: int):
    features = library.patch_features(backbone, path, models_dir)
    photo = rendering.fit_within(library.photo(path), 480)
    grid = tuple(features.shape[1:])
    return [(_marked(_attention_view(photo, concept.attention), concept.row, concept.column, grid),
             f"{concept.members.mean():.0%} of the patches")
            for concept in attention.concepts(features, count, temperature)]


def _attention_view(photo: Image.Image, weights: np.ndarray) -> Image.Image:
    return rendering.overlay(photo, weights, opacity=0.75, low=0, high=float(weights.max()))


def _marked(picture: Image.Image, row: int, column: int, grid: tuple[int, int]) -> Image.Image:
    """The asking patch, framed so that it shows on any ground."""
    picture = picture.copy()
    width, height = picture.width / grid[1], picture.height / grid[0]
    box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
    draw = ImageDraw.Draw(picture)
    draw.rectangle([box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2], outline="black", width=2)
    draw.rectangle(box, outline="white", width=2)
    return picture
