"""Components of our own: an HTML template with scripts, its value a JSON text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

FOLDER = Path(__file__).parent

Update = Any  # what gradio takes of an event: a component's value, the component changed, or `gr.skip()`


def component(scripts: list[str], template: str, elem_id: str, first: str | None = None) -> gr.HTML:
    """An HTML template brought to life by scripts below this folder, which read its value as JSON text."""
    code = "".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in scripts)
    return gr.HTML(first, html_template=template, js_on_load=code, apply_default_css=False, elem_id=elem_id)
