"""Custom components: an HTML template with scripts; the value is JSON text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

FOLDER = Path(__file__).parent

Update = Any  # what an event may return to gradio: a component's value, an updated component, or `gr.skip()`


def component(scripts: list[str], template: str, elem_id: str, first: str | None = None) -> gr.HTML:
    """An HTML template driven by scripts below this folder, which read its value as JSON text."""
    code = "".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in scripts)
    return gr.HTML(first, html_template=template, js_on_load=code, apply_default_css=False, elem_id=elem_id)
