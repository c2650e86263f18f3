"""A new version beside the one in use, on the same photos. One click takes it into use, one goes back."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from ulsad.errors import InputError
from ulsad.photos.datasets import GOOD
from ulsad.runs import directory, parts
from ulsad.runs.turned import Comparison, Turned, sentence
from ulsad.ui.component import Update

ROWS = 40


class Beside(NamedTuple):
    """The components."""

    text: gr.HTML
    use: gr.Button
    back: gr.Button


def build() -> Beside:
    """Lay out the comparison and the buttons."""
    text = gr.HTML(elem_id="beside")
    with gr.Row():
        use = gr.Button("Use this version", variant="primary", visible=False, elem_id="use-version")
        back = gr.Button("Go back", visible=False, elem_id="back-version")
    return Beside(text, use, back)


def of(run: Path) -> tuple[Update, ...]:
    """The values for a run that is over and has a model."""
    part = directory.part_of(run)
    if part is None:
        return none()
    in_use, earlier = parts.in_use(part), parts.before(part)
    can_go_back = in_use == run and earlier is not None
    return (_text(run, in_use), gr.Button(visible=in_use != run),
            gr.Button(f"Go back to '{earlier.name}'" if can_go_back and earlier else "Go back",
                      visible=can_go_back))


def none() -> tuple[Update, ...]:
    """The values without such a run."""
    return "", gr.Button(visible=False), gr.Button(visible=False)


def _text(run: Path, in_use: Path | None) -> str:
    file = run / directory.TURNED
    if not file.is_file():
        return ""
    try:
        found = Comparison.read(file)
    except InputError as error:
        return f"<p class='review'>{escape(str(error))}</p>"
    state = "This version is in use." if in_use == run else \
        f"'{escape(in_use.name)}' stays in use until you choose this one." if in_use else ""
    left_out = (f" {found.left_out} photos that one of them was trained on are left out."
                if found.left_out else "")
    rows = "".join(map(_row, sorted(found.turned, key=lambda one: one.is_better)[:ROWS]))
    heads = "".join(f"<th>{title}</th>" for title in (
        "photo", "it is", escape(found.before), "this version", ""))
    table = f"<div class='turned'><table class='numbers'><tr>{heads}</tr>{rows}</table></div>" if rows else ""
    more = f"<p>… and {len(found.turned) - ROWS} more.</p>" if len(found.turned) > ROWS else ""
    return (f"<h3>Beside {escape(found.before)}</h3><p>{escape(sentence(found))}{left_out} {state}</p>"
            f"{table}{more}")


def _row(one: Turned) -> str:
    verdicts = "".join(f"<td><span class='{of.verdict}'>{of.verdict}</span> {of.score:.2f}</td>"
                       for of in (one.before, one.after))
    return (f"<tr><td>{escape(one.name)}</td><td>{'good' if one.kind == GOOD else escape(one.kind)}</td>"
            f"{verdicts}<td>{'better' if one.is_better else '<b>worse</b>'}</td></tr>")


def use(models_dir: Path, run: str | None) -> str:
    """Put a version in use; return its name. Raises `InputError`."""
    version = directory.named(models_dir, run)
    parts.use(version)
    return directory.name_of(version)


def back(models_dir: Path, run: str | None) -> str:
    """Put the version that was in use before in its place again; return its name. Raises `InputError`."""
    part = directory.part_of(directory.named(models_dir, run))
    earlier = parts.before(part) if part else None
    if earlier is None:
        raise InputError("There is no earlier version to go back to.")
    parts.use(earlier)
    return directory.name_of(earlier)
