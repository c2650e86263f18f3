"""A run's photos, settings and result as one HTML page, and a comparison of two runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from ulsad.detector.criterion import FALSE_REJECT, promise
from ulsad.detector.standstill import advice
from ulsad.method.config import PRESETS, Config
from ulsad.photos.datasets import GOOD
from ulsad.runs.curve import curve_html, learning_curve
from ulsad.runs.histogram import score_histogram
from ulsad.runs.outcome import Above, Auroc, Outcome
from ulsad.runs.report import facts, good_photos, is_cross_fitted, page, used
from ulsad.runs.strangest import strangest

ENOUGH_HELD_OUT = round(1 / FALSE_REJECT) - 1  # below that a threshold is extrapolated, see `threshold_at`
LOSSES = ("local", "attention", "local_global")

_LIMITS = ("The model marks parts that look different from good ones, for people to check: its verdicts are "
           "not the ground truth. Take photos in the same way as the training photos (camera, distance, "
           "light, background, position of the part), or good parts will get high scores too.")


@dataclass(frozen=True)
class Card:
    """The data of a run card; it can be read without the model's weights."""

    name: str
    config: Config
    record: dict[str, Any]  # `Ulsad.record`; empty for a run without a model
    outcome: Outcome | None = None
    losses: Sequence[dict[str, float]] = ()  # "step", "local", "attention", "local_global"; oldest first
    held_out_given: bool | None = None  # whether held-out photos were given separately; None: unknown

    @property
    def status(self) -> str:
        if not self.record:
            return "no model"
        return "finished" if self.record["steps"] >= self.record["planned_steps"] else "stopped early"


def run_card(card: Card) -> str:
    """A self-contained page about a run that produced a model."""
    record, config = card.record, card.config
    rows = {"Settings": _against_preset(config)} | _training(card) | {
        "Seed": str(config.seed),
        "Versions": ", ".join(f"{name} {of}" for name, of in record["versions"].items())}
    settings = {name: _written(value) for name, value in asdict(config).items()}
    return _encodable(page(
        f"Run card: {escape(card.name)}",
        f"<p>A detector of defects. Photos: {used(record)}.</p>"
        + "".join(f"<p class='warning'>{escape(text)}</p>" for text in _warnings(card))
        + f"<h2>Result</h2>{result(card.outcome)}{_strangest(card)}{curve_of(card)}"
        f"<h2>How it was made</h2>{facts(rows)}"
        f"<details><summary>All settings ({len(settings)})</summary>{facts(settings)}</details>"
        + good_photos(record)
        + f"<h2>Use and limits</h2><p>{_LIMITS}</p>"))


def comparison(cards: Sequence[Card]) -> str:
    """An HTML fragment with two runs side by side: their results, and the settings that differ.

    Differing values are bold and start with ≠.
    """
    one, other = ({"Status": card.status} | _training(card) | _figures(card.outcome) for card in cards)
    rows = [(name, one.get(name, "–"), other.get(name, "–")) for name in one | other]
    settings = [(name, _written(value), _written(getattr(cards[1].config, name)))
                for name, value in asdict(cards[0].config).items()
                if value != getattr(cards[1].config, name)]
    heads = "".join(f"<th>{escape(card.name)}</th>" for card in cards)
    between = "Settings that differ" if settings else "All settings are the same"
    return _encodable(
        f"<table class='numbers'><tr><th></th>{heads}</tr>{''.join(_compared(*row) for row in rows)}"
        f"<tr><th colspan='3'>{between}</th></tr>{''.join(_compared(*row) for row in settings)}</table>"
        f"{_same_test(cards)}")


def _training(card: Card) -> dict[str, str]:
    record = card.record
    rows = {} if not record else {
        "Created": record["created"],
        "Time": _duration(record["seconds"]),
        "Trained on": f"{len(record['train'])} good photos"
                      + (f" and {record['copies']} varied copies of them" if record["copies"] else ""),
        "Held out": f"{len(record['held_out'])} good photos{_how_held_out(card)}",
        "Steps": f"{record['steps']} of {record['planned_steps']}",
    }
    if looks := record.get("looks"):
        rows["Misplaced in self-made defects"] = ", ".join(
            f"{share:.1%} after {steps} steps" for steps, share in looks)
    if card.losses:
        last = card.losses[-1]
        rows["Last losses"] = ", ".join(  # 0 means that the settings exclude this loss
            f"{name.replace('_', '-')} {last[name]:.4f}" for name in LOSSES if last[name]) + \
            f" at step {last['step']}"
    return rows


def _how_held_out(card: Card) -> str:
    if is_cross_fitted(card.record):
        return f", in turns: each of {card.record['folds']} networks was trained without its share of them"
    if card.held_out_given is None:
        return ""
    return (", given separately" if card.held_out_given else
            f", a share of {card.config.held_out:.0%} drawn at random with seed {card.config.seed}")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (hours + minutes > 0) + [f"{seconds} s"]
    return " ".join(parts)


def _against_preset(config: Config) -> str:
    """The preset that the settings equal, or else the closest preset and the differences."""
    def differing(preset: Config) -> dict[str, Any]:
        return {name: value for name, value in asdict(preset).items() if value != getattr(config, name)}

    name, others = min(((name, differing(preset)) for name, preset in PRESETS.items()),
                       key=lambda found: len(found[1]))
    changes = ", ".join(f"{setting}={_written(getattr(config, setting))} instead of {_written(value)}"
                        for setting, value in others.items())
    return f"preset {name}" + (f", but {changes}" if others else "")


def _written(value: Any) -> str:
    """A setting's value as written on the command line."""
    return ",".join(value) if isinstance(value, tuple) else json.dumps(value).strip('"')


def _warnings(card: Card) -> Iterable[str]:
    record, outcome = card.record, card.outcome
    if card.status == "stopped early":
        yield (f"Training ended after {record['steps']} of {record['planned_steps']} steps: it was stopped, "
               "or its losses diverged. This is the model at that point.")
    elif said := advice(dict(record.get("looks", [])), record["steps"]):
        yield said
    if (held_out := len(record["held_out"])) < ENOUGH_HELD_OUT:
        yield (f"Only {held_out} good photos were held out. With fewer than {ENOUGH_HELD_OUT} the thresholds "
               "are extrapolated from the spread of these few. Add photos before you trust them.")
    if record["skipped"]:
        yield f"Unreadable photos, left out of training: {_few(record['skipped'])}"
    if outcome and outcome.skipped:
        yield f"Unreadable test photos, not counted in the results: {_few(outcome.skipped)}"
    if outcome and (seen := [photo.name for photo in outcome.tested if photo.seen_in]):
        yield f"The model was made with some of the test photos, so their scores mean little: {_few(seen)}"


def _few(names: Sequence[str]) -> str:
    """The number of names, and the first five."""
    return f"{len(names)} ({'; '.join(names[:5])}{' …' if len(names) > 5 else ''})"


def result(outcome: Outcome | None) -> str:
    """An outcome as an HTML fragment."""
    if outcome is None:
        return "<p>There is no result yet.</p>"
    return f"{score_histogram(outcome)}{_separation(outcome)}{_detected(outcome)}{_promise(outcome)}"


def _separation(outcome: Outcome) -> str:
    """AUROC, and which good photos it compares with."""
    if not outcome.aurocs:
        return ("<p>No test defects were given, so it is unknown which defects the model finds. "
                "The thresholds need none.</p>")
    against = (
        f"Defects are compared with the {len(outcome.held_out)} held-out good photos, because there are no "
        "good test photos. The networks were not trained on these, but quantiles and thresholds come from "
        "them, so the figures are too good by an unknown amount." if outcome.is_against_held_out else
        f"Defects are compared with the {len(outcome.good)} good test photos, not the held-out ones.")
    rows = {f"AUROC, {name} map": _area(auroc) for name, auroc in outcome.aurocs.items()}
    return (f"{facts(rows)}<p>{against} AUROC is the probability that a defect scores above a good part; "
            "50 % is chance. Intervals: 95 %, bootstrap; at 100 % they have no width, even with few "
            "photos.</p>")


def _area(auroc: Auroc) -> str:
    return f"{auroc.value:.1%} ({auroc.interval.low:.1%} to {auroc.interval.high:.1%})"


def _detected(outcome: Outcome) -> str:
    """How many test photos of each kind lie above the thresholds."""
    if not outcome.tested:
        return ""
    kinds = [("all defects", None)] * (len(outcome.kinds) > 1) + [(kind, kind) for kind in outcome.kinds]
    kinds += [("good: false alarms", GOOD)] * bool(outcome.good)
    criterion = outcome.criterion
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{_share(outcome.above(criterion.review, kind))}</td>"
                   f"<td>{_share(outcome.above(criterion.fail, kind))}</td></tr>" for name, kind in kinds)
    return ("<table><tr><th>tested</th><th class='review'>above review</th><th class='fail'>above fail</th>"
            f"</tr>{rows}</table><p>Intervals: 95 %, Clopper-Pearson. Test photos did not influence the "
            "thresholds.</p>")


def _share(above: Above) -> str:
    return f"{above.photos} of {above.of} ({above.interval.low:.1%} to {above.interval.high:.1%})"


def _promise(outcome: Outcome) -> str:
    """What the held-out good photos imply for future good parts."""
    scores = np.array([one.combined for one in outcome.held_out])
    return (f"<p>{promise(scores, outcome.criterion)} The thresholds come from these same photos, so the "
            "true shares may be a little higher.</p>")


def _strangest(card: Card) -> str:
    """The good photos to look at again."""
    if card.outcome is None:
        return ""
    rows = "".join(
        f"<tr><th>{escape(one.name)}</th><td>{one.score:.3f}</td>"
        f"<td>{'far above all others' if one.is_far_above else ''}</td></tr>"
        for one in strangest(card.outcome, card.record))
    return (f"<p>The good photos with the highest scores. If one of them shows a defect, leave it out and "
            f"train again:</p><table>{rows}</table>")


def curve_of(card: Card) -> str:
    """Whether more photos would help, as an HTML fragment; "" with fewer than four held-out ones."""
    if card.outcome is None or len(card.outcome.held_out) < 4:
        return ""
    held_out = np.array([one.combined for one in card.outcome.held_out])
    points = learning_curve(held_out, np.array(card.record.get("self_made", [])))
    return f"<h3>Would more photos help?</h3>{curve_html(points)}"


def _figures(outcome: Outcome | None) -> dict[str, str]:
    """An outcome's rows in `comparison`."""
    if outcome is None:
        return {}
    rows = {"Review above": f"{outcome.criterion.review:.3f}", "Fail above": f"{outcome.criterion.fail:.3f}"}
    if outcome.aurocs:
        against = f"{len(outcome.held_out)} held-out" if outcome.is_against_held_out else \
            f"{len(outcome.good)} tested"
        rows |= {"AUROC": _area(outcome.aurocs["combined"]), "… compared with": f"{against} good photos",
                 "Defects above review": _share(outcome.above(outcome.criterion.review))}
    return rows


def _compared(name: str, one: str, other: str) -> str:
    cells = (f"<td>{escape(text)}</td>" if one == other else f"<td><b>≠ {escape(text)}</b></td>"
             for text in (one, other))
    return f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"


def _same_test(cards: Sequence[Card]) -> str:
    """A caution if the two runs were not tested on the same photos."""
    tested = [sorted((photo.name, photo.kind) for photo in card.outcome.tested) if card.outcome else []
              for card in cards]
    if not all(tested) or tested[0] == tested[1]:
        return ""
    return "<p>The two were not tested on the same photos, so their AUROCs can't be compared.</p>"


def _encodable(text: str) -> str:
    """The text with question marks in place of file-name bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
