"""The good photos that look strangest after a training: is each really good? A click trains without them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from ulsad.runs import directory
from ulsad.runs.again import train_without
from ulsad.runs.run_card import Card
from ulsad.runs.strangest import Strangest, pictures, strangest
from ulsad.ui import places
from ulsad.ui.component import Update

_INTRODUCTION = """### Are these really good parts?
The good photos with the highest scores. A defect among the good photos is learned as good, and raises the
thresholds above other defects. Leave it out, and the same training starts again without it."""


class Doubts(NamedTuple):
    """The components."""

    place: gr.Column
    photos: gr.HTML
    left_out: gr.CheckboxGroup
    again: gr.Button

    @property
    def shown(self) -> list[gr.Column | gr.HTML | gr.CheckboxGroup]:
        """Those that `of` and `none` give values to."""
        return [self.place, self.photos, self.left_out]


def build() -> Doubts:
    """Lay out the photos."""
    with gr.Column(visible=False, elem_id="doubts") as place:
        gr.Markdown(_INTRODUCTION)
        photos = gr.HTML(elem_id="strangest")
        with gr.Row(equal_height=True):
            left_out = gr.CheckboxGroup([], label="Leave out", info="far above all others: chosen already",
                                        elem_id="left-out", scale=3)
            again = gr.Button("Leave out and train again", elem_id="train-again", min_width=200)
    return Doubts(place, photos, left_out, again)


def of(run: Path, card: Card) -> tuple[Update, ...]:
    """The values for a run that is over."""
    files = pictures(run)
    if card.outcome is None or not files:
        return none()
    found = strangest(card.outcome, card.record)
    figures = "".join(_figure(file, found[int(file.stem) - 1]) for file in files)
    return (gr.Column(visible=True), f"<div class='strangest'>{figures}</div>",
            gr.CheckboxGroup([one.name for one in found],
                             value=[one.name for one in found if one.is_far_above]))


def none() -> tuple[Update, ...]:
    """The values without such a run."""
    return gr.Column(visible=False), "", gr.skip()


def _figure(file: Path, one: Strangest) -> str:
    far = ", <b>far above all others</b>" if one.is_far_above else ""
    name = escape(one.name)
    return (f"<figure><img src='{places.address(places.copy_of(file))}' alt='{name} and its combined map'>"
            f"<figcaption>{name}: {one.score:.2f}{far}</figcaption></figure>")


def leave_out(models_dir: Path, run: str | None, names: Sequence[str]) -> str:
    """Start the training without these photos; return the new run's name. Raises `InputError`."""
    return directory.name_of(train_without(directory.named(models_dir, run), names))
