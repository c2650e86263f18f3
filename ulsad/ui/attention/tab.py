"""Attention: which patches a pre-trained network finds similar (Figure 5), and what the global branch learnt
from it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ulsad.attention import figure as attention_figure
from ulsad.attention.concepts import GROUPS
from ulsad.detector import printing
from ulsad.errors import InputError
from ulsad.method.backbones import BACKBONES
from ulsad.ui import library, places
from ulsad.ui.attention import photo_list
from ulsad.ui.attention.views import MODEL, RAW, STANDARDISED, Looking, Place, View, failed, strip
from ulsad.ui.component import Update, component

FIRST = "efficientnet_lite0"  # the network that needs no download
WASHER = (0.385, 0.375)  # in the demo's good tray, missing in the next photo: the first query patch

EXPLANATION = """
**What this shows.** A network trained on everyday photographs turns a photo into a grid of patches, each
described by a vector *z*. The patch you click, *q*, is compared with every patch *p*. The more similar *p*,
the more attention it gets; all attention sums to 1:

$$W[p, q] =
\\frac{\\exp(z_p^\\top z_q / \\sqrt{c^*})}{\\sum_r \\exp(z_r^\\top z_q / \\sqrt{c^*})} \\qquad (3)$$

The network finds bright patches similar to *q*, although it was never trained on such parts. $c^*$ is the
length of *z*; its square root is the paper's **temperature**. At higher temperatures, attention spreads from
the most similar patch to all patches like it. The method trains on **standardised** features: without a
model, each channel is standardised over photo A, so that no channel dominates by its scale alone. *Raw*
features are the network's own.

**Photo B.** The same *z*<sub>q</sub> is compared with the patches of another photo, in the colours of photo
A. If the part is missing in B, nothing matches and B stays dark. A part that is only rotated may stay dark
too.

**Concepts** (Figure 5 of the paper). All patches are grouped by similarity; the most typical patch of each
group, its medoid, is the query. Each map's temperature is set so that attention spreads over as many patches
as the group has; or use the slider's temperature for all.

**With a trained model** there are two attention maps. The *teacher* is Eq. 3 on the model's features: it
shows which patches of this photo belong together. The *global branch* compresses the whole photo into a
narrow code, and from that predicts the vector it expects at every position. Its vector $\\hat z_q$ is
compared with the same patches:

$$\\hat W[p, q] =
\\frac{\\exp(z_p^\\top \\hat z_q / \\sqrt{c^*})}{\\sum_r \\exp(z_r^\\top \\hat z_q / \\sqrt{c^*})}
\\qquad (4)$$

On good parts both agree. Where a part is missing or misplaced, the branch still expects what belongs there,
so $A = ZW$ and $\\hat A = Z\\hat W$ differ. The global loss (Eq. 5) sums up this difference, drawn as
|A − Â|. This is why the model finds a missing washer although it was trained on complete trays only.
"""


def build(tab: gr.Tab, model: gr.Dropdown, key: gr.State, models_dir: Path) -> None:
    """Lay out the tab and connect it to the header's model, which is optional here, and to the batch that is
    open in Inspect."""
    place = gr.State(WASHER)
    with gr.Row():
        photos = photo_list.build("attention-photos")
        with gr.Column(scale=5):
            network, fine, coarse, kind, weights = _through(models_dir)
            with gr.Row():
                temperature = gr.Slider(0.25, 8, 1, step=0.25, label="Temperature, × √c*", min_width=200,
                                        info="1 as in the paper; higher values spread the attention",
                                        elem_id="temperature")
                row, column = (gr.Number(0, label=name, precision=0, min_width=80, scale=0,
                                         elem_id=f"patch-{name.lower()}") for name in ("Row", "Column"))
            view = component(["pictures", "asking", "attention/patches", "attention/attention"], _TEMPLATE,
                             "attention")
            count, matched, captions, make, figure = _figure_5()
            found = component(["pictures", "attention/patches", "attention/concepts"],
                              "<div class='strip'></div>", "concepts")
            gr.Markdown(EXPLANATION, latex_delimiters=[{"left": "$$", "right": "$$", "display": True},
                                                       {"left": "$", "right": "$", "display": False}])

    looking = [photos.pair, network, fine, coarse, weights, kind, temperature, model, place]
    answer, of_concepts = [view, row, column], [count, matched, *looking]
    show, find, typed, draw = (library.show_errors(partial(function, models_dir))
                               for function in (_show, _find, _typed, _draw))

    # Not partials: gradio would not see that these take an event.
    @library.show_errors
    def ask(event: gr.EventData, *looking: Any) -> tuple[Update, ...]:
        return _ask(models_dir, (event.x, event.y), *looking)

    @library.show_errors
    def peek(event: gr.EventData, *looking: Any) -> str:
        return _peek(models_dir, (event.x, event.y), *looking)

    live: dict[str, Any] = {"show_progress": "hidden", "concurrency_id": "attention", "concurrency_limit": 4}
    latest = live | {"trigger_mode": "always_last"}
    # "always_last" would send the first of two clicks twice and lose the second.
    each = live | {"trigger_mode": "multiple"}

    layers = network.input(_layers, network, [fine, coarse, kind, weights], **live)
    later = fine.input(_later, [network, fine, coarse], coarse, **live)
    followed = tab.select(library.show_errors(photo_list.follow), [key, photos.followed],
                          [photos.followed, *photos.views], show_progress="hidden")
    changed = gr.on([photos.pair.change, kind.input, coarse.input, weights.upload, weights.clear,
                     model.change], show, looking, answer, **latest)
    shown = [event.success(show, looking, answer, **live) for event in (followed, layers, later)]
    for event in (changed, *shown):
        event.success(find, of_concepts, [found, figure], **live)
    temperature.input(show, looking, answer, **latest)
    gr.on([count.input, matched.input, temperature.release], find, of_concepts, [found, figure], **latest)
    for source in (view, found):
        source.ask(ask, looking, [place, *answer], queue=False, **each)
    view.peek(peek, looking, view, queue=False, **each)
    gr.on([row.input, column.input], typed, [row, column, *looking], [place, *answer], api_name="attention",
          **latest)
    make.click(draw, [captions, *of_concepts], figure)


def _through(models_dir: Path) -> tuple:
    """Controls for the features: network, layers j and j+1, kind of features, weights file."""
    with gr.Row():
        network = gr.Dropdown([*BACKBONES, MODEL], value=FIRST, label="Network", min_width=200,
                              elem_id="attention-network")
        fine, coarse = (gr.Dropdown(names, value=layer, label=label, min_width=110,
                                    elem_id=f"attention-{label.lower().replace(' ', '-')}")
                        for (names, layer), label in zip(_pair(FIRST), ("Layer j", "Layer j+1")))
        kind = gr.Radio([STANDARDISED, RAW], value=STANDARDISED, label="Features", min_width=200)
    weights = gr.File(label="Weights file of this network (.pth, .safetensors), if it is not in "
                      f"{models_dir.name}/weights", file_types=[".pth", ".pt", ".safetensors"],
                      height=140, visible=False, elem_id="attention-weights")
    return network, fine, coarse, kind, weights


def _figure_5() -> tuple:
    """Controls for the concepts and for the figure to download."""
    with gr.Row():
        count = gr.Slider(1, GROUPS, 4, step=1, label="Concepts", elem_id="concept-count", min_width=200,
                          info="the most distinct groups of similar patches")
        matched = gr.Checkbox(True, label="Separate temperature for each concept", min_width=200,
                              info="attention spreads over as many patches as the concept has")
        captions = gr.Textbox(label="Captions", placeholder="fruits; oranges; cereal; plate", max_lines=1,
                              elem_id="captions", min_width=220, info="for the figure, separated by ;")
    make = gr.Button("Make a figure of the concepts (PDF and PNG)", elem_id="make-figure", size="sm")
    figure = gr.File(label="Figure", file_count="multiple", interactive=False, visible=False,
                     elem_id="figure")
    return count, matched, captions, make, figure


def _view(name: str, of_other: bool = False) -> str:
    on_photo = name == "photo"
    stage = ("<div class='stage' tabindex='0' role='application' "
             "aria-label='Photo A: click a patch, or move with the arrow keys'>"
             if on_photo else "<div class='stage'>")
    save = f"<button class='save' title='Download as PNG' aria-label='Download {name} as PNG'>⤓</button>"
    return (f"<figure data-name='{name}' class='{'of-other' if of_other else ''} absent'>"
            f"<figcaption><div><b></b> <span></span></div>{save}</figcaption>{stage}<div class='sheet'>"
            "<img class='photo' alt=''><img class='heat' alt=''>"
            f"{'' if of_other else '<i class=patch></i>'}</div></div></figure>")


_TEMPLATE = ("<div class='answers'>" + "".join(map(_view, ("photo", "self"))) + _view("other", of_other=True)
             + "".join(map(_view, ("cross", "error"))) + _view("error-other", of_other=True)
             + "</div><p class='text'></p><div class='losses'></div>")


# --- events

def _layers(network: str) -> tuple[Update, ...]:
    """The layers of a network; a trained model has fixed layers and its own standardisation."""
    if network == MODEL:
        return gr.Dropdown(visible=False), gr.Dropdown(visible=False), gr.Radio(visible=False), gr.File(
            None, visible=False)
    return (*(gr.Dropdown(names, value=layer, visible=True) for names, layer in _pair(network)),
            gr.Radio(visible=True), gr.File(None, visible=not BACKBONES[network].embedded))


def _pair(network: str) -> list[tuple[list[str], str]]:
    """For layer j and layer j+1: the choices, and the network's default."""
    names, (fine, coarse) = list(BACKBONES[network].blocks), BACKBONES[network].layers
    return [(names[:-1], fine), (names[names.index(fine) + 1:], coarse)]


def _later(network: str, fine: str, coarse: str) -> gr.Dropdown:
    """Keep layer j+1 if it comes after layer j; otherwise choose the layer right after j."""
    names = list(BACKBONES[network].blocks)
    behind = names[names.index(fine) + 1:]
    return gr.Dropdown(behind, value=coarse if coarse in behind else behind[0])


def _show(models_dir: Path, *looking: Any) -> tuple[Update, ...]:
    """The attention maps of the patch at the chosen position, or an error in their place."""
    try:
        view = View(Looking(*looking), models_dir)
        return view.value(), view.row, view.column
    except InputError as error:
        return failed(error), gr.skip(), gr.skip()


def _find(models_dir: Path, count: int, matched: bool, *looking: Any) -> tuple[str | None, gr.File]:
    """The concepts, and no outdated figure. No concepts on an error, which `_show` displays."""
    outdated = gr.File(None, visible=False)
    try:
        view = View(Looking(*looking), models_dir)
        return strip(view, view.concepts(count, matched)), outdated
    except InputError:
        return None, outdated


def _ask(models_dir: Path, place: Place, *looking: Any) -> tuple[Update, ...]:
    """The clicked position, and the attention maps of its patch."""
    return place, *_show(models_dir, *looking[:-1], place)


def _peek(models_dir: Path, place: Place, *looking: Any) -> str:
    try:
        return View(Looking(*looking)._replace(place=place), models_dir).value(peek=True)
    except InputError as error:
        return failed(error)


def _typed(
    models_dir: Path, row: int | None, column: int | None, *looking: Any
) -> tuple[Update, ...]:
    """The centre of the patch whose row and column were typed, counted from 0 and clipped to the grid."""
    if row is None or column is None:  # an empty field
        return (gr.skip(),) * 4
    rows, columns = View(Looking(*looking), models_dir).grid
    inside = min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
    place = ((inside[1] + 0.5) / columns, (inside[0] + 0.5) / rows)
    # Don't touch valid fields: the user may still be typing.
    boxes = (gr.skip() if typed == at else at for typed, at in zip((row, column), inside))
    return place, _show(models_dir, *looking[:-1], place)[0], *boxes


def _draw(models_dir: Path, captions: str, count: int, matched: bool, *looking: Any) -> gr.File:
    """Figure 5 for this photo, as files."""
    view = View(Looking(*looking), models_dir)
    photo, name = library.photo(view.looking.photo), Path(view.looking.photo).stem
    captions = captions.rstrip("; ")
    texts = [text.strip() for text in captions.split(";")] if captions else []
    figure = attention_figure.draw(photo, view.concepts(count, matched), texts)
    folder = places.new(places.shown())
    files = [folder / f"attention of {name}{ending}" for ending in (".pdf", ".png")]
    for file in files:
        printing.write(file, figure)
    return gr.File([str(file) for file in files], visible=True)
