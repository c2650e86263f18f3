"""Train: drop photos of good parts, see what is wrong with them, press Train, watch both branches learn.

The training runs in a separate process; this tab only starts it and reads its directory, so nothing is lost
when the browser is closed or the app restarted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ulsad.errors import InputError
from ulsad.photos.files import write_text
from ulsad.runs import directory, parts
from ulsad.runs.again import train_with
from ulsad.runs.run_card import curve_of, result, run_card
from ulsad.ui import library, places
from ulsad.ui.component import Update, renewed
from ulsad.ui.inspect.scoring import own_photos
from ulsad.ui.inspect.tab import Inspected
from ulsad.ui.slot import Slot
from ulsad.ui.train import beside, doubts, incoming, runs_list
from ulsad.ui.train import order as train_order
from ulsad.ui.train import views as train_views

VIEWS = 21  # values that `_watch` returns
LIVE, QUIET = 1.0, 3.0  # seconds between two looks at a run that is training, and at any other

_SHOW_RUN = "() => document.getElementById('run-status').scrollIntoView({block: 'center'})"


def build(
    model: gr.Dropdown, timer: gr.Timer, training: gr.Button, tabs: gr.Tabs, inspected: Inspected,
    models_dir: Path, data_root: Path | None,
) -> gr.State:
    """Lay out the tab; a finished run can be chosen in the header and its held-out photos inspected.

    `timer` ticks whichever tab is open, and `training` shows in each what is training. Return a state that
    changes whenever runs or models do.
    """
    incoming.clear(models_dir)
    parts.tidy(models_dir)
    key, looked, seen, changed = gr.State(""), gr.State(()), gr.State(()), gr.State(())
    mine = gr.BrowserState("", storage_key="ulsad-run", secret="ulsad")
    with gr.Row():
        with gr.Column(scale=2, min_width=380):
            slots, filled, named = train_order.slots(data_root)
            found = gr.HTML(elem_id="found")
            stop_check = gr.Button("Stop checking", visible=False, size="sm")
            with gr.Accordion("Contact sheet", open=False, visible=False) as sheet_place:
                sheet = gr.Image(show_label=False, format="png", interactive=False, buttons=["fullscreen"])
            preset = gr.Radio([("quick: about a minute, up to three where that pays", "quick"),
                               ("thorough: always one to three minutes", "thorough"),
                               ("paper: the published recipe, hours without a GPU", "paper")],
                              value="quick", label="Preset")
            settings, white_level, weights = train_order.settings()
            cost = gr.HTML(elem_id="cost")
            name = gr.Textbox(label="Name of the part", placeholder="the date if left empty", max_lines=1,
                              info="a part that is there already gets a new version")
            start = gr.Button("Train", variant="primary", elem_id="train")
        with gr.Column(scale=3, elem_id="run"):
            run = gr.Dropdown([], label="Run", info="newest first; a run continues when this page is closed",
                              allow_custom_value=True)  # the chosen run may just have been renamed
            status = gr.HTML(elem_id="run-status")
            with gr.Row():
                stop = gr.Button("Stop and keep", variant="stop", visible=False, elem_id="stop-run")
                resume = gr.Button("Resume", visible=False, elem_id="resume-run")
                inspect = gr.Button("Open in Inspect", visible=False, elem_id="open-in-inspect")
            preview = gr.Image(label="One photo and its current maps", format="png", buttons=[],
                               interactive=False, visible=False, elem_id="preview", elem_classes="view")
            with gr.Column(visible=False) as after:
                gr.Markdown("### Result")
                outcome = gr.HTML(elem_id="outcome")
                beside_shown = beside.build()
                strange = doubts.build()
                more = gr.HTML(elem_id="more-photos")
                with gr.Row():
                    take_model = gr.DownloadButton("Model file", elem_id="take-model")
                    take_card = gr.DownloadButton("Run card", elem_id="take-card")
            plot = gr.LinePlot(x="step", y="value", color="loss", height=240,
                               title="Losses of both branches on the good parts",
                               y_title="loss", buttons=[], elem_id="losses")
    with gr.Accordion("Parts and versions", open=True):
        runs_list.build(models_dir, changed, model)

    priced = [key, preset, *settings, weights]
    checked = [looked, key, found, stop_check, sheet_place, sheet]
    check, check_changed = (library.show_errors(partial(function, models_dir, data_root))
                            for function in (train_order.check, train_order.check_changed))
    given = [*slots, white_level]
    since = [looked, key, *given]
    quiet: dict[str, Any] = {"show_progress": "hidden", "concurrency_id": "check", "concurrency_limit": 2}
    checking = [gr.on(filled, check_changed, since, checked, trigger_mode="always_last", **quiet),
                gr.on(named, check, [key, *given], checked, trigger_mode="always_last", **quiet)]
    again = [event.then(check_changed, since, checked, **quiet) for event in checking]
    with_level = gr.on([white_level.submit, white_level.blur], check_changed, since, checked, **quiet)
    for event in (*again, with_level):
        event.then(train_order.cost, priced, cost, show_progress="hidden")
    stop_check.click(_check_stopped, None, [found, stop_check], cancels=[*checking, *again, with_level])
    gr.on([preset.change, weights.change, *(setting.change for setting in settings)], train_order.cost,
          priced, cost, show_progress="hidden", trigger_mode="always_last")
    start.click(library.show_errors(partial(_start, models_dir)), [key, name, preset, *settings, weights],
                [run, mine, key, found, sheet_place, name]).success(None, js=_SHOW_RUN).success(
                    _emptied, slots[:3], slots, show_progress="hidden")
    stop.click(library.show_errors(partial(_stop, models_dir)), run)
    resume.click(library.show_errors(partial(_resume, models_dir)), run, [seen, mine])
    inspect.click(library.show_errors(partial(_open, models_dir)), run,
                  [model, tabs, inspected.wanted, inspected.slot])
    strange.again.click(library.show_errors(partial(_leave_out, models_dir)), [run, strange.left_out],
                        [run, mine]).success(None, js=_SHOW_RUN)
    inspected.again.click(library.show_errors(partial(_with_marks, models_dir)), model, [run, mine, tabs]
                          ).success(None, js=_SHOW_RUN)
    for button, function in ((beside_shown.use, beside.use), (beside_shown.back, beside.back)):
        button.click(library.show_errors(partial(_used, models_dir, function)), run,
                     [model, run, seen, changed])
    run.input(_remembered, run, mine)
    views = [status, plot, preview, stop, resume, inspect, after, outcome, take_model, take_card,
             *strange.shown, more, *beside_shown, training, timer, changed, seen]
    gr.on([timer.tick, run.change], library.show_errors(partial(_watch, models_dir)), [run, seen],
          views, show_progress="hidden", concurrency_id="watch")
    gr.on(None, library.show_errors(partial(_mine, models_dir)), mine, run)
    changed.change(library.show_errors(partial(_runs, models_dir)), run, run, show_progress="hidden")
    return changed


def _check_stopped() -> tuple[str, gr.Button]:
    return "<div class='run'>Stopped. Change the photos to check again.</div>", gr.Button(visible=False)


def _remembered(run: str | None) -> str | None:
    """The run that this browser shows again on its next visit."""
    return run


def _start(models_dir: Path, *inputs: Any) -> tuple[Update, ...]:
    """Show the new run."""
    run = train_order.start(models_dir, *inputs)
    return gr.Dropdown(_runs_there(models_dir), value=run), run, "", "", gr.Accordion(visible=False), ""


def _emptied(*dropped: Slot) -> tuple[Slot | str, ...]:
    """Empty the slots once their photos belong to a run."""
    for one in dropped:
        one.discard()
    return Slot(), Slot(), Slot(), "", "", ""


def _stop(models_dir: Path, run: str | None) -> None:
    directory.stop(directory.named(models_dir, run))


def _resume(models_dir: Path, run: str | None) -> tuple[Update, ...]:
    directory.resume(directory.named(models_dir, run))
    return (), run


def _watch(models_dir: Path, run: str | None, seen: tuple[Any, ...]) -> list[Update]:
    """Redraw the run's state and the lists when something has changed."""
    folders = directory.all_runs(models_dir)
    there = (*map(directory.name_of, folders), *_choices(folders))
    busy = train_views.busy(directory.live(folders))
    folder = next((folder for folder in folders if directory.name_of(folder) == run), None)
    if folder is None:
        nothing = run, there, busy
        if nothing == seen:
            return [gr.skip()] * VIEWS
        return [*_no_run(run), _training(busy), gr.Timer(QUIET), nothing[:2], nothing]
    state, preview = directory.read(folder), folder / directory.PREVIEW
    drawn = preview.stat().st_mtime_ns if preview.exists() else 0
    now = (run, there, state.status, state.ahead, state.stopping, state.phase, state.done, busy, drawn)
    if now == seen:
        return [gr.skip()] * VIEWS
    return [train_views.status(state), train_views.losses(state),
            _preview(preview, drawn) if not seen or drawn != seen[-1] else gr.skip(),
            *(gr.Button(visible=can) for can in (
                state.is_live and not state.stopping, state.can_resume, state.model is not None)),
            *_after(state), _training(busy), gr.Timer(LIVE if state.is_live else QUIET), now[:3], now]


def _choices(folders: list[Path]) -> list[int]:
    """When each part's version in use was chosen."""
    found = {part / directory.PART for folder in folders if (part := directory.part_of(folder))}
    return [file.stat().st_mtime_ns for file in sorted(found) if file.exists()]


def _training(busy: str) -> gr.Button:
    return gr.Button(busy, visible=bool(busy))


def _no_run(run: str | None) -> list[Update]:
    """The views' values when there is no run, or no longer one with this name."""
    buttons = [gr.Button(visible=False)] * 3
    return [train_views.no_run(run), gr.skip(), gr.Image(None, visible=False), *buttons,
            *_nothing_after()]


def _preview(file: Path, drawn: int) -> gr.Image:
    return gr.Image(str(places.copy_of(file)), visible=True) if drawn else gr.Image(None, visible=False)


def _after(state: directory.RunState) -> tuple[Update, ...]:
    """The result of a run that is over."""
    if state.is_live or not (state.folder / directory.OUTCOME).is_file() or state.model is None:
        return _nothing_after()
    try:
        card = runs_list.card_of(state.folder)
    except InputError as error:  # damaged since; said once, not at every look
        return gr.Column(visible=True), f"<p class='review'>{escape(str(error))}</p>", *_nothing_after()[2:]
    written = places.new(places.shown()) / directory.CARD
    write_text(written, run_card(card))  # written anew, as the run may have been renamed
    return (gr.Column(visible=True), result(card.outcome),
            gr.DownloadButton(value=str(places.copy_of(state.model))), gr.DownloadButton(value=str(written)),
            *doubts.of(state.folder, card), curve_of(card), *beside.of(state.folder))


def _nothing_after() -> tuple[Update, ...]:
    return gr.Column(visible=False), "", gr.skip(), gr.skip(), *doubts.none(), "", *beside.none()


def _leave_out(models_dir: Path, run: str | None, names: list[str]) -> tuple[Update, ...]:
    """Show the run that trains again without these photos."""
    again = doubts.leave_out(models_dir, run, names)
    return gr.Dropdown(_runs_there(models_dir), value=again), again


def _used(models_dir: Path, put: Callable[[Path, str | None], str], run: str | None) -> tuple[Update, ...]:
    """Choose the version that is now in use in the header and in this tab."""
    name = put(models_dir, run)
    gr.Info(f"'{escape(library.label(name))}' is now in use.", duration=5)
    return name, name, (), (name, time.time())  # the last changes, so that all lists are renewed


def _with_marks(models_dir: Path, model: str) -> tuple[Update, ...]:
    """Show the run that trains again with the photos marked in Inspect. A model by itself becomes the first
    version of a part, so the header may have to choose it anew."""
    if model not in library.models(models_dir):
        raise InputError(f"'{library.label(model)}' was renamed or deleted. Choose it again in the header.")
    if model not in _names(models_dir):
        raise InputError(f"'{library.label(model)}' was not trained here, so its photos are not at hand. Add "
                         "the marked photos to yours and train on them.")
    folder = train_with(directory.named(models_dir, model), library.marks_of(model, models_dir))
    again = directory.name_of(folder)
    return gr.Dropdown(_runs_there(models_dir), value=again), again, gr.Tabs(selected="train")


def _open(models_dir: Path, run: str) -> tuple[Update, ...]:
    """Open Inspect with the run's model and its own photos."""
    directory.named(models_dir, run)
    own = own_photos(run, models_dir)
    return run, gr.Tabs(selected="inspect"), *((own, Slot()) if own else (gr.skip(), gr.skip()))


def _mine(models_dir: Path, run: str) -> gr.Dropdown:
    """The run that this browser started or chose last, or else the newest."""
    there = _runs_there(models_dir)
    return gr.Dropdown(there, value=run if run in _names(models_dir) else _newest(there))


def _runs(models_dir: Path, run: str | None) -> gr.Dropdown:
    """All current runs; the newest replaces a chosen run that was renamed or deleted."""
    there = _runs_there(models_dir)
    return renewed(there, run, _newest(there))


def _newest(there: list[tuple[str, str]]) -> str | None:
    return there[0][1] if there else None


def _runs_there(models_dir: Path) -> list[tuple[str, str]]:
    """(label, name) of all runs, newest first."""
    return [(library.label(name), name) for name in _names(models_dir)]


def _names(models_dir: Path) -> list[str]:
    return [directory.name_of(folder) for folder in directory.all_runs(models_dir)]
