"""Values of components: custom ones, whose value is JSON text, and dropdowns whose choices change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

FOLDER = Path(__file__).parent

Update = Any  # what an event may return to gradio: a component's value, an updated component, or `gr.skip()`


def component(scripts: list[str], template: str, elem_id: str, first: str | None = None) -> gr.HTML:
    """An HTML template driven by scripts below this folder, which read its value as JSON text."""
    code = "".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in scripts)
    return gr.HTML(first, html_template=template, js_on_load=code, apply_default_css=False, elem_id=elem_id)


def renewed(names: Sequence[str | tuple[str, str]], chosen: str | None, instead: str | None) -> gr.Dropdown:
    """A dropdown's new choices, as names or (label, name). `instead` replaces a chosen name that is gone.

    A name that is still there is not sent, nor that nothing is chosen: it would undo a choice that the user
    makes in the meantime.
    """
    is_there = chosen in [name if isinstance(name, str) else name[1] for name in names]
    stays = is_there or chosen == instead
    return gr.Dropdown(list(names)) if stays else gr.Dropdown(list(names), value=instead)
