"""The page: a header with the model in use, and the tabs in the order in which a new user needs them."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from ulsad.ui import api
from ulsad.ui import header as header_line
from ulsad.ui.attention import tab as attention_tab
from ulsad.ui.evaluate import tab as evaluate_tab
from ulsad.ui.inspect import tab as inspect_tab
from ulsad.ui.learn import tab as learn_tab
from ulsad.ui.train import tab as train_tab

THEME = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=["system-ui", "sans-serif"],
                          font_mono=["ui-monospace", "monospace"], text_size="sm", spacing_size="sm",
                          radius_size="sm").set(  # each text at a contrast of at least 4.5
    color_accent="*primary_600", button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700", block_info_text_color="*neutral_600",
    body_text_color_subdued="*neutral_600", button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b")
FAVICON = header_line.FAVICON
HEAD = "<style>.gradio-container > .main.app { padding: 0 0.8rem; }</style>"  # out of reach of `CSS`
CSS = "".join(file.read_text(encoding="utf-8")  # the shared style comes first
              for file in sorted(Path(__file__).parent.rglob("style.css"), key=lambda file: len(file.parts)))


def build(models_dir: Path, data_root: Path | None = None) -> gr.Blocks:
    """The whole app. `models_dir` holds runs and models; visitors may open folders below `data_root`."""
    with gr.Blocks(title="ULSAD Explorer", analytics_enabled=False, fill_width=True,
                   delete_cache=(86400, 86400)) as page:
        api.build(models_dir)  # first, or events of the page would have the names
        public = list(page.fns.values())
        header = header_line.build(models_dir)
        model = header.model
        with gr.Tabs(elem_id="pages") as tabs:
            with gr.Tab("Inspect", id="inspect"):
                inspected = inspect_tab.build(page, model, models_dir, data_root)
            with gr.Tab("Train", id="train"):
                changed = train_tab.build(model, header.timer, header.training, tabs, inspected, models_dir,
                                          data_root)
            with gr.Tab("Attention", id="attention") as attention:
                attention_tab.build(attention, model, inspected.key, models_dir)
            with gr.Tab("Learn", id="learn") as learn:
                learn_tab.build(learn, model, inspected, models_dir)
            with gr.Tab("Evaluate", id="evaluate"):
                evaluate_tab.build(model, tabs, inspected, models_dir, data_root)
        header_line.connect(page, header, inspected, changed, models_dir)
        gr.on([inspected.to_train.click, header.training.click], _to_train, None, tabs)
        for event in set(page.fns.values()) - set(public):
            event.api_visibility = "undocumented"  # only the page needs them
    return page


def _to_train() -> gr.Tabs:
    return gr.Tabs(selected="train")
