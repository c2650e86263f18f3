"""What Train shows: the checked photos, a run's progress and its result."""

from __future__ import annotations

import math
from collections import Counter
from html import escape

import pandas as pd

from ulsad.detector.photo_sets import folds_of, held_out_share
from ulsad.method.config import Config
from ulsad.photos.datasets import UNNAMED_DEFECT
from ulsad.photos.intake import DEFECTS, GOOD_PARTS, HELD_OUT
from ulsad.runs import directory
from ulsad.runs.directory import RunState
from ulsad.runs.estimate import Estimate, duration, size
from ulsad.ui.train.incoming import Incoming

LOSSES = {"local": "local (L_pl)", "attention": "global (L_pg)", "local_global": "local-global (L_lg)"}
PHASES = {"starting": "Starting", "queued": "Waiting", "reading": "Reading photos",
          "features": "Computing features", "training": "Training", "testing": "Testing on known defects",
          "calibrating": "Calibrating on held-out photos"}


def progress(text: str, done: int = 0, total: int = 0) -> str:
    share = 100 * done / total if total else 0
    count = f" {done}/{total}" if total else ""
    return (f"<div class='run'><div class='track'><div class='done' style='width:{share:.1f}%'></div></div>"
            f"<b>{text}{count}</b></div>")


def busy(state: RunState | None) -> str:
    """What is training, in a few words; "" for nothing."""
    if state is None:
        return ""
    share = f" {state.done / state.total:.0%}" if state.total else ""
    return f"{directory.name_of(state.folder).replace('/', ', ')}: {PHASES[state.phase].lower()}{share}"


def found(incoming: Incoming) -> str:
    """What the slots hold and what is wrong with it."""
    check, intake = incoming.check, incoming.intake
    good_tests = sum(photo.is_good for photo in intake.test)
    kinds = Counter(photo.kind for photo in intake.test if not photo.is_good)
    masks = sum(bool(photo.masks) for photo in intake.test)
    notes = {
        GOOD_PARTS: "" if intake.held_out else _held_out(check.usable(GOOD_PARTS)),
        HELD_OUT: "for quantiles and thresholds, not for training",
        DEFECTS: ", ".join([*(f"{count} {escape(kind)}" for kind, count in sorted(kinds.items())[:6]
                              if kind != UNNAMED_DEFECT),
                            *([f"… {len(kinds)} kinds"] if len(kinds) > 6 else []),
                            *([f"{masks} with masks"] if masks else []),
                            *([f"and {good_tests} good parts for testing"] if good_tests else [])])}
    rows = "".join(
        f"<tr><th>{slot.name}</th><td>{slot.readable}</td><td>{_sizes(slot.sizes)}</td>"
        f"<td>{notes[slot.name]}</td></tr>" for slot in check.slots if slot.photos)
    title = f"<p><b>Recognised: {escape(intake.layout)}.</b></p>" if intake.layout else ""
    refused = set(check.refused)
    problems = "".join(f"<li class='{'fail' if problem in refused else 'review'}'>{escape(problem)}</li>"
                       for problem in check.problems())
    return (f"{title}<table class='numbers found'><tr><th>slot</th><th>photos</th><th>size, px</th><th></th>"
            f"</tr>{rows}</table><ul class='problems'>{problems}</ul>")


def _sizes(sizes: dict[tuple[int, int], int]) -> str:
    first = next(iter(sizes), None)
    if first is None:
        return "–"
    return f"{first[0]} × {first[1]}" + (f" and {len(sizes) - 1} more" if len(sizes) > 1 else "")


def _held_out(photos: int) -> str:
    """How the default settings hold out some of so many good photos."""
    if folds_of(photos, Config()) is not None:
        return "each will be held out once"
    return f"{held_out_share(photos, Config())} of them will be held out, drawn with the seed"


def cost(estimate: Estimate, free: int) -> str:
    """What the training needs on this machine; `free` bytes are left on the disk."""
    return f"<p>On this machine: <b>{estimate}</b> ({size(free)} free).</p>"


def no_run(run: str | None) -> str:
    """A message that there is no run yet, or no longer one with this name."""
    if run:
        return (f"<div class='run'>The run '{escape(run)}' no longer exists: it was renamed or deleted. "
                "Choose another one.</div>")
    return ("<div class='run empty'><b>No run yet.</b> Drop 20 to 300 photos of good parts, and press "
            "<b>Train</b>. You then see how the losses fall, one photo with its maps, and at the "
            "end the good photos that look strangest.</div>")


def status(state: RunState) -> str:
    """A run's status and progress."""
    share = state.done / state.total if state.total else 0
    model = " The model trained so far can be opened." if state.model else ""
    text = {
        "queued": f"Waiting for {_runs(state.ahead)} started before.",
        "running": "Stopping and saving the model" if state.stopping else _doing(state),
        "finished": "Finished. Open the model in Inspect.",
        "stopped": f"Stopped after {len(state.steps) and state.steps[-1]['step']} steps."
                   f"{' The model can be opened; Resume continues training.' if state.model else ''}",
        "failed": "Failed.",
        "interrupted": f"Interrupted: its process has ended.{model} Resume continues training.",
    }[state.status]
    message = f"<pre>{escape(state.message)}</pre>" if state.message else ""
    machine = f"<small>{escape(state.machine)}{_speed(state)}</small>" if state.machine else ""
    return (f"<div class='run {state.status}'><div class='track'><div class='done' "
            f"style='width:{100 if state.status == 'finished' else 100 * share:.1f}%'></div></div>"
            f"<b>{text}</b> {machine}{message}</div>")


def _runs(count: int) -> str:
    return "the run" if count == 1 else f"{count} runs"


def _doing(state: RunState) -> str:
    count = f" {state.done}/{state.total}" if state.total else ""
    left = f" · {duration(state.seconds_left)} left" if state.seconds_left else ""
    return f"{PHASES.get(state.phase, state.phase)}{count}{left}"


def _speed(state: RunState) -> str:
    """Steps per second over the last 20 seconds; "" when not training."""
    last = [step for step in state.steps if step["time"] > state.steps[-1]["time"] - 20]
    if state.phase != "training" or len(last) < 2 or last[-1]["time"] == last[0]["time"]:
        return ""
    return f" · {(last[-1]['step'] - last[0]['step']) / (last[-1]['time'] - last[0]['time']):.1f} steps/s"


def losses(state: RunState) -> pd.DataFrame:
    """The losses by step; rows of NaN before the first step. An empty table would hide a LinePlot's lines for
    good, None instead of a table fails in the browser, and None as a value turns numbers into text."""
    rows = [(step["step"], label, step.get(key, math.nan))
            for step in state.steps for key, label in LOSSES.items()]
    return pd.DataFrame(rows or [(0, label, math.nan) for label in LOSSES.values()],
                        columns=["step", "loss", "value"])
