"""Evaluate: how good is the model on labelled photos, and where is it wrong?"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import gradio as gr
import numpy as np

from ulsad.demo.dataset import write_demo
from ulsad.detector import rendering
from ulsad.detector.batch import strange_photos_warning
from ulsad.detector.criterion import FALSE_REJECT, threshold_at
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.evaluation import ablation, figures, metrics
from ulsad.evaluation.evaluation import Evaluation, gathered, summarise
from ulsad.evaluation.nearest import NearestNeighbours
from ulsad.photos.datasets import GOOD, UNNAMED_DEFECT, LabelledPhoto, find_categories
from ulsad.photos.images import Skipped
from ulsad.ui import library, places, slot
from ulsad.ui.batches import Request
from ulsad.ui.component import Update
from ulsad.ui.inspect.tab import Inspected
from ulsad.ui.slot import Slot

Item = TypeVar("Item")

MOST = 400  # photos per evaluation: sorting their pixels takes about 5 MB each
MISTAKES = 12

EXPLANATION = """
**How to read this.** *AUROC* is the probability that a defect scores above a good part: 1 is perfect, 0.5 is
chance. *Average precision* also depends on the share of defects in the set. Brackets are 95 % intervals: the
range to expect with other photos of the same parts. *Nearest* is a search for the most similar good patch,
without networks: where it is as good as they are, they gained nothing. The **threshold** comes from good
photos held out in training, never from the photos tested here, so the confusion matrix is not too optimistic.
"""



class _Result(NamedTuple):
    evaluation: Evaluation
    summary: dict[str, Any]  # see `summarise`
    model: str  # its name
    white_level: float | None  # of the model


_results: dict[str, _Result] = {}  # the last few; the browser holds their keys


def build(model: gr.Dropdown, tabs: gr.Tabs, inspected: Inspected, models_dir: Path,
          data_root: Path | None) -> None:
    """Lay out the tab and connect it to the model chosen in the header; mistakes open in Inspect."""
    key, mistakes = gr.State(None), gr.State([])
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            _, good = slot.build("Good parts that the model has not seen", "test-good")
            _, defects = slot.build("Defective parts", "test-defects")
            gr.Markdown("The kind of a defect is the name of its folder.")
            with gr.Accordion("… or a whole labelled set", open=False):
                gr.Markdown("In the layout of MVTec AD, MVTec LOCO or BTAD, or with the folders good, "
                            "test-good, defects and masks.")
                _, whole = slot.build("A labelled set", "test-set", "Drop its folder or zip here")
                folder = gr.Textbox(label=f"… or a folder on the server, below {data_root}",
                                    visible=data_root is not None)
            nearest = gr.Checkbox(label="Beside a nearest-neighbour search", elem_id="evaluate-nearest",
                                  info="among the good patches in the model, without its networks: was "
                                       "training worth it? Takes about half as long again.")
            run = gr.Button("Evaluate", variant="primary", elem_id="evaluate")
            with gr.Row():
                demo = gr.Button("Try the demo tray", elem_id="evaluate-demo")
                stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="evaluate-stop")
        with gr.Column(scale=5):
            status = gr.HTML("<div class='run'>Drop good and defective parts on the left, or try the demo "
                             "tray with the demo model.</div>", elem_id="evaluation-status")
            with gr.Column(visible=False) as report:
                numbers = gr.HTML(elem_id="evaluation-numbers")
                curves = gr.Plot(show_label=False, elem_id="evaluation-curves")
                with gr.Row():
                    with gr.Column(scale=3):
                        kinds = gr.Plot(show_label=False, elem_id="evaluation-kinds")
                    with gr.Column(scale=2):
                        grid = gr.Plot(show_label=False, elem_id="evaluation-grid")
                share = gr.Slider(0, 0.2, FALSE_REJECT, step=0.01, label="Accepted false rejects",
                                  info="share of good parts expected above the threshold",
                                  elem_id="false-reject")
                confusion = gr.HTML(elem_id="confusion")
                about_mistakes = gr.Markdown()
                gallery = gr.Gallery(show_label=False, columns=6, height=220, format="png", interactive=False,
                                     object_fit="contain", allow_preview=False, elem_id="mistakes")
                gr.Markdown(EXPLANATION)
    own, of_demo = (_generator(choose, models_dir) for choose in (partial(_given, data_root), _demo))
    events = [button.click(generator, inputs, [status, report, key, stop], concurrency_id="predict",
                           show_progress="hidden")
              for button, generator, inputs in ((run, own, [model, nearest, good, defects, whole, folder]),
                                                (demo, of_demo, [gr.State(library.DEMO), nearest]))]
    shown = [numbers, curves, kinds, grid]
    at_threshold = [confusion, about_mistakes, gallery, mistakes]
    for event in events:
        event.success(library.show_errors(_report), key, shown, show_progress="hidden").success(
            library.show_errors(_at_threshold), [key, share], at_threshold, show_progress="hidden")
    share.input(library.show_errors(_at_threshold), [key, share], at_threshold, show_progress="hidden",
                trigger_mode="always_last")
    stop.click(_stopped, None, [status, stop], cancels=[*events])
    gallery.select(library.show_errors(_open), [key, mistakes],
                   [model, tabs, inspected.wanted, inspected.slot])


def _stopped() -> tuple[str, gr.Button]:
    return "<div class='run'>Stopped.</div>", gr.Button(interactive=False)


def _generator(
    choose: Callable[..., list[LabelledPhoto]], models_dir: Path
) -> Callable[..., Iterator[tuple[Update, ...]]]:
    """Evaluate the photos that `choose` returns, with progress. On Stop, gradio closes the generator."""
    def evaluated(model: str, nearest: bool, *inputs: Any) -> Iterator[tuple[Update, ...]]:
        skip, idle = gr.skip(), gr.Button(interactive=False)
        try:
            opening = _progress(_OPENING.get(choose, "Opening the photos"), 0, 0)
            yield opening, gr.Column(visible=False), skip, gr.Button(interactive=True)
            photos = choose(*inputs)
            detector = library.detector(model, models_dir)
            search = NearestNeighbours.of(detector) if nearest else None
            results: list[Prediction | Skipped] = []
            for text in _counted("Scoring", detector.predict_many(photo.path for photo in photos), results,
                                 len(photos)):
                yield text, skip, skip, skip
            evaluation = gathered(detector, photos, results)
            _require_both(evaluation.photos)
            if search:
                found: list[tuple[float, np.ndarray]] = []
                paths = [photo.path for photo in evaluation.photos]
                for text in _counted("Searching the nearest patches", search.score_each(paths), found,
                                     len(paths)):
                    yield text, skip, skip, skip
                evaluation = evaluation.beside(found)
            yield _progress("Computing the metrics", 0, 0), skip, skip, skip
            summary = summarise(evaluation)
        except (InputError, OSError) as error:
            text = escape(slot.plain(str(error)))
            yield f"<div class='run'><b>{text}</b></div>", skip, skip, idle
            raise library.toast(InputError(slot.plain(str(error)))) from error
        key = _remember(_Result(evaluation, summary, model, detector.config.white_level))
        yield _summary(evaluation, model), gr.Column(visible=True), key, idle
    return evaluated


def _counted(text: str, items: Iterable[Item], into: list[Item], total: int) -> Iterator[str]:
    """Collect the items, with progress after each eighth one."""
    for item in items:
        into.append(item)
        if len(into) % 8 == 0:
            yield _progress(text, len(into), total)


def _summary(evaluation: Evaluation, model: str) -> str:
    """How many photos were scored and by which model, with warnings to read before the numbers."""
    skipped = "".join(f"<pre>skipped {escape(slot.plain(item.reason))}</pre>" for item in evaluation.skipped)
    text = f"{len(evaluation.photos)} photos scored by '{escape(library.label(model))}'"
    strange = strange_photos_warning(evaluation.strange, len(evaluation.photos))
    note = f"<div class='note'>⚠ {strange}</div>" if strange else ""
    return f"<div class='run'>{note}<b>{text}</b>{skipped}</div>"


def _remember(result: _Result) -> str:
    while len(_results) > 2:
        _results.pop(next(iter(_results)))
    key = uuid.uuid4().hex
    _results[key] = result
    return key


def _recalled(key: str | None) -> _Result:
    if key not in _results:
        raise InputError("This evaluation is no longer in memory. Press Evaluate again.")
    return _results[key]


def _progress(text: str, done: int, total: int) -> str:
    share = 100 * done / total if total else 0
    count = f" {done}/{total}" if total else ""
    return (f"<div class='run'><div class='track'><div class='done' style='width:{share:.1f}%'></div></div>"
            f"<b>{text}{count}</b></div>")


def _given(
    data_root: Path | None, good: Slot, defects: Slot, whole: Slot, folder: str
) -> list[LabelledPhoto]:
    """The labelled photos from a folder on the server, a whole set, or the two slots."""
    if folder:
        return _one_category(library.folder_on_server(data_root, folder))
    if whole:
        if len(whole.folders) > 1:
            raise InputError("There is more than one set in the slot. Leave one folder or one zip in it.")
        return _one_category(whole.folders[0])
    photos = [*_labelled(good, GOOD), *_labelled(defects, None)]
    _require_both(photos)
    return photos


def _one_category(root: Path) -> list[LabelledPhoto]:
    categories = find_categories(root)
    if len(categories) > 1:
        names = ", ".join(category.name for category in categories)
        raise InputError(f"This set has {len(categories)} categories ({names}). Drop only one of them.")
    return list(categories[0].test)


def _labelled(dropped: Slot, kind: str | None) -> list[LabelledPhoto]:
    """A slot's photos; without a given kind, it is the name of a photo's folder."""
    photos = dropped.photos() if dropped else []
    return [LabelledPhoto(path, kind or PurePosixPath(name).parent.name or UNNAMED_DEFECT)
            for path, name in photos]


def _require_both(photos: list[LabelledPhoto] | tuple[LabelledPhoto, ...]) -> None:
    good = sum(photo.is_good for photo in photos)
    if not good or good == len(photos):
        raise InputError(f"{good} good and {len(photos) - good} defective parts: at least one of each is "
                         "needed, and about twenty for useful numbers.")
    if len(photos) > MOST:
        raise InputError(f"{len(photos)} photos are too many: this tab takes {MOST}. "
                         "Use python -m ulsad evaluate instead.")


def _demo() -> list[LabelledPhoto]:
    return _demo_photos()


@cache
def _demo_photos() -> list[LabelledPhoto]:
    """Trays that the demo model has never seen, drawn on the first call."""
    folder = places.new(places.private()) / "tray"
    write_demo(folder, seed=30_000, train=1, validation=1, test_good=16, per_kind=3)
    return list(find_categories(folder)[0].test)


_OPENING = {_demo: "Drawing new trays"}


def _report(key: str) -> tuple[Update, ...]:
    result = _recalled(key)
    grid = ablation.alpha_beta_grid(result.evaluation)
    return (_numbers(result.summary), figures.curves(result.evaluation), figures.kinds(result.summary),
            figures.alpha_beta(grid, ablation.ALPHAS, ablation.BETAS))


def _numbers(summary: dict[str, Any]) -> str:
    """The table of metrics by map, with intervals."""
    columns = [("AUROC", lambda of: _value(of["auroc"]["all"], of["auroc_interval"])),
               ("average precision",
                lambda of: _value(of["average_precision"], of["average_precision_interval"])),
               ("best F1 (uses the labels)", lambda of: _value(of["best_f1"]["f1"]))]
    if "aupro" in summary["maps"]["combined"]:
        columns += [("pixel AUROC", lambda of: _value(of["pixel_auroc"], of["pixel_auroc_interval"])),
                    ("AUPRO", lambda of: _value(of["aupro"], of["aupro_interval"])),
                    ("AUPIMO", lambda of: _value(of["aupimo"], of["aupimo_interval"]))]
    head = "".join(f"<th>{name}</th>" for name, _ in columns)
    rows = "".join(f"<tr><th>{name}</th>{''.join(f'<td>{cell(of)}</td>' for _, cell in columns)}</tr>"
                   for name, of in summary["maps"].items())
    return f"<table class='numbers'><tr><th></th>{head}</tr>{rows}</table>"


def _value(value: float, interval: tuple[float, float] | None = None) -> str:
    ends = f" <small>[{interval[0]:.3f}, {interval[1]:.3f}]</small>" if interval else ""
    return f"{value:.3f}{ends}"


def _at_threshold(key: str, share: float) -> tuple[str, str, gr.Gallery, list[str]]:
    """Confusion matrix, a line about the mistakes, a gallery of the worst ones, and their paths."""
    result = _recalled(key)
    evaluation, white_level = result.evaluation, result.white_level
    threshold = threshold_at(evaluation.held_out_scores()[:, 0], share)
    scores, labels = evaluation.scores()[:, 0], evaluation.labels
    point = metrics.operating_point(scores, labels, threshold)
    wrong = np.flatnonzero((scores > threshold) != labels)
    worst = wrong[np.argsort(-np.abs(scores[wrong] - threshold))][:MISTAKES]
    pictures = [(rendering.fit_within(library.photo(str(evaluation.photos[i].path), white_level, 320), 320),
                 f"{scores[i]:.2f} {evaluation.photos[i].kind}: {evaluation.photos[i].path.name}")
                for i in worst]
    paths = [str(evaluation.photos[i].path) for i in worst]
    text = (f"**Mistakes: {len(wrong)}**, the worst first. Click one to open it in Inspect." if len(wrong)
            else "No mistakes at this threshold.")
    return (_confusion(point, len(evaluation.held_out_scores())), text,
            gr.Gallery(pictures, visible=bool(pictures)), paths)


def _confusion(point: metrics.OperatingPoint, held_out: int) -> str:
    rows = "".join(
        f"<tr><th>{name}</th><td>{passed}</td><td>{rejected}</td><td>{rejected / (passed + rejected):.1%} "
        f"<small>[{interval.low:.1%}, {interval.high:.1%}]</small></td></tr>"
        for name, passed, rejected, interval in (
            ("good parts", point.true_passes, point.false_rejects, point.false_reject_interval),
            ("defects", point.misses, point.true_rejects, point.detection_interval)))
    return (
        f"<table class='numbers'><tr><th>threshold {point.threshold:.2f}</th><th>passed</th><th>rejected</th>"
        f"<th>share rejected, 95 % interval</th></tr>"
        f"{rows}</table><p><small>The threshold comes from {held_out} held-out good photos. Below a share of "
        f"{1 / (held_out + 1):.1%} it is extrapolated from their spread; hold out more photos to "
        "measure it.</small></p>")


def _open(key: str, paths: list[str], event: gr.SelectData) -> tuple[Update, ...]:
    """Open the mistakes in Inspect under the model that made them, with the clicked one selected."""
    photos = [(Path(path), Path(path).name) for path in paths]
    return _recalled(key).model, gr.Tabs(selected="inspect"), Request(tuple(photos), event.index), Slot()
