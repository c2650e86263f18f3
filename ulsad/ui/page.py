"""The page: a header with the model in use, and the tabs in the order in which a new user needs them."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import gradio as gr
import torch

from ulsad.ui import library
from ulsad.ui.attention import tab as attention_tab
from ulsad.ui.evaluate import tab as evaluate_tab
from ulsad.ui.inspect import tab as inspect_tab
from ulsad.ui.train import tab as train_tab

THEME = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=["system-ui", "sans-serif"],
                          font_mono=["ui-monospace", "monospace"], text_size="sm", spacing_size="sm",
                          radius_size="sm").set(  # each text at a contrast of at least 4.5
    color_accent="*primary_600", button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700", block_info_text_color="*neutral_600",
    body_text_color_subdued="*neutral_600", button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b")
FAVICON = Path(__file__).parent / "mark.svg"
HEAD = "<style>.gradio-container > .main.app { padding: 0 0.8rem; }</style>"  # out of reach of `CSS`
MARK = FAVICON.read_text(encoding="utf-8")
CSS = "".join(file.read_text(encoding="utf-8")  # the shared style comes first
              for file in sorted(Path(__file__).parent.rglob("style.css"), key=lambda file: len(file.parts)))


def build(models_dir: Path, data_root: Path | None = None) -> gr.Blocks:
    """The whole app. `models_dir` holds runs and models; visitors may open folders below `data_root`."""
    with gr.Blocks(title="ULSAD Explorer", analytics_enabled=False, fill_width=True,
                   delete_cache=(86400, 86400)) as page:
        with gr.Row(elem_id="header"):
            gr.HTML(f"<h1 title='Running on {escape(_device())}'>{MARK}ULSAD Explorer</h1>", elem_id="title")
            choices = library.models(models_dir)
            # Custom values are allowed because gradio refuses every event while the chosen model is not
            # among the choices, as after a rename.
            model = gr.Dropdown(choices, value=choices[-1][1], label="Model", elem_id="model", scale=0,
                                min_width=320, allow_custom_value=True)
        with gr.Tabs(elem_id="pages") as tabs:
            with gr.Tab("Inspect", id="inspect"):
                inspected = inspect_tab.build(page, model, models_dir, data_root)
            with gr.Tab("Train", id="train"):
                train_tab.build(model, tabs, inspected, models_dir, data_root)
            with gr.Tab("Attention", id="attention") as attention:
                attention_tab.build(attention, model, inspected.key, models_dir)
            with gr.Tab("Evaluate", id="evaluate"):
                evaluate_tab.build(model, tabs, inspected, models_dir, data_root)
        page.load(library.show_errors(partial(_refreshed, models_dir)), None, [model, inspected.to_train])
        inspected.to_train.click(_to_train, None, tabs)
    return page


def _refreshed(models_dir: Path) -> tuple[gr.Dropdown, gr.Button]:
    models = library.models(models_dir)
    return gr.Dropdown(models), gr.Button(visible=len(models) == 1)


def _to_train() -> gr.Tabs:
    return gr.Tabs(selected="train")


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
