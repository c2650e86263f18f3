"""What a training was made of and what it came to, as one HTML page; and two of them side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from ulsad.detector.criterion import FALSE_REJECT, promise
from ulsad.method.config import PRESETS, Config
from ulsad.photos.datasets import GOOD
from ulsad.runs.histogram import score_histogram
from ulsad.runs.outcome import Above, Auroc, Outcome
from ulsad.runs.report import facts, foldout, page

ENOUGH_HELD_OUT = round(1 / FALSE_REJECT) - 1  # below that a threshold is extrapolated, see `threshold_at`
LOSSES = ("local", "attention", "local_global")

_LIMITS = ("It points people to parts that look unlike good ones: verdicts are the model's, not the truth. "
           "Photos must be taken as the training photos were (camera, distance, light, background, position "
           "of the part), or good parts will look strange to it too.")


@dataclass(frozen=True)
class Card:
    """What a run card is made from: all of it can be read without the model's weights."""

    name: str
    config: Config
    record: dict[str, Any]  # `Ulsad.record`; empty for a run that left no model
    outcome: Outcome | None = None
    losses: Sequence[dict[str, float]] = ()  # "step", "local", "attention", "local_global"; oldest first
    held_out_given: bool | None = None  # whether held-out photos were given apart; None: not known

    @property
    def status(self) -> str:
        if not self.record:
            return "no model"
        return "finished" if self.record["steps"] >= self.record["planned_steps"] else "stopped early"


def run_card(card: Card) -> str:
    """A self-contained page about a run that left a model."""
    record, config = card.record, card.config
    rows = {"Settings": _against_preset(config)} | _training(card) | {
        "Seed": str(config.seed),
        "Versions": ", ".join(f"{name} {of}" for name, of in record["versions"].items())}
    settings = {name: _written(value) for name, value in asdict(config).items()}
    return _encodable(page(
        f"Run card: {escape(card.name)}",
        f"<p>A detector that learned from {len(record['train'])} photos of good parts what is normal; "
        f"{len(record['held_out'])} more, held out from that, set its thresholds.</p>"
        + "".join(f"<p class='warning'>{escape(text)}</p>" for text in _warnings(card))
        + f"<h2>Result</h2>{result(card.outcome)}<h2>How it was made</h2>{facts(rows)}"
        f"<details><summary>All settings ({len(settings)})</summary>{facts(settings)}</details>"
        + foldout("Trained on: these set the weights", record["train"])
        + foldout("Held out: these set quantiles and suggested thresholds", record["held_out"])
        + f"<h2>Use and limits</h2><p>{_LIMITS}</p>"))


def comparison(cards: Sequence[Card]) -> str:
    """Two runs side by side, an HTML fragment: what each came to, and the settings that differ.

    Where the two are not alike, a row is set in bold and begins with ≠.
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
        "Made": record["created"],
        "Time": _duration(record["seconds"]),
        "Trained on": f"{len(record['train'])} good photos"
                      + (f" and {record['copies']} varied copies of them" if record["copies"] else ""),
        "Held out": f"{len(record['held_out'])} good photos{_how_held_out(card)}",
        "Steps": f"{record['steps']} of {record['planned_steps']}",
    }
    if card.losses:
        last = card.losses[-1]
        rows["Last losses"] = ", ".join(  # 0: the settings leave it out
            f"{name.replace('_', '-')} {last[name]:.4f}" for name in LOSSES if last[name]) + \
            f" at step {last['step']}"
    return rows


def _how_held_out(card: Card) -> str:
    if card.held_out_given is None:
        return ""
    return (", given apart" if card.held_out_given else
            f", a share of {card.config.held_out:.0%} drawn at random with seed {card.config.seed}")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (hours + minutes > 0) + [f"{seconds} s"]
    return " ".join(parts)


def _against_preset(config: Config) -> str:
    """The preset it equals, or else the nearest one and what differs from it."""
    def differing(preset: Config) -> dict[str, Any]:
        return {name: value for name, value in asdict(preset).items() if value != getattr(config, name)}

    name, others = min(((name, differing(preset)) for name, preset in PRESETS.items()),
                       key=lambda found: len(found[1]))
    changes = ", ".join(f"{setting}={_written(getattr(config, setting))} instead of {_written(value)}"
                        for setting, value in others.items())
    return f"preset {name}" + (f", but {changes}" if others else "")


def _written(value: Any) -> str:
    """A setting's value as one would write it on the command line."""
    return ",".join(value) if isinstance(value, tuple) else json.dumps(value).strip('"')


def _warnings(card: Card) -> Iterable[str]:
    record, outcome = card.record, card.outcome
    if card.status == "stopped early":
        yield (f"Training ended after {record['steps']} of {record['planned_steps']} steps: somebody stopped "
               "it, or its losses diverged. The model is what it had learned by then.")
    if (held_out := len(record["held_out"])) < ENOUGH_HELD_OUT:
        yield (f"Only {held_out} good photos were held out. With fewer than {ENOUGH_HELD_OUT} the thresholds "
               "are extrapolated from how far these few scatter. Hold out more before you trust them.")
    if record["skipped"]:
        yield f"Unreadable, so left out of the training: {_few(record['skipped'])}"
    if outcome and outcome.skipped:
        yield f"Unreadable test photos, which are in no figure: {_few(outcome.skipped)}"
    if outcome and (seen := [photo.name for photo in outcome.tested if photo.seen_in]):
        yield f"The model was made with some test photos, so what it says of them proves little: {_few(seen)}"


def _few(names: Sequence[str]) -> str:
    """How many, and the first of them."""
    return f"{len(names)} ({'; '.join(names[:5])}{' …' if len(names) > 5 else ''})"


def result(outcome: Outcome | None) -> str:
    """What an outcome says, an HTML fragment."""
    if outcome is None:
        return "<p>It has not been judged.</p>"
    return f"{score_histogram(outcome)}{_separation(outcome)}{_detected(outcome)}{_promise(outcome)}"


def _separation(outcome: Outcome) -> str:
    """AUROC, and against what."""
    if not outcome.aurocs:
        return ("<p>No defects were given to test on, so nobody knows yet which ones it finds. "
                "The thresholds need none.</p>")
    against = (
        f"Defects are held against the {len(outcome.held_out)} held-out good photos, because there are no "
        "good photos to test on. The networks were not trained on these, but quantiles and thresholds are "
        "theirs; by how much that flatters the figures, nobody can say." if outcome.is_against_held_out else
        f"Defects are held against the {len(outcome.good)} good test photos, not the held-out ones.")
    rows = {f"AUROC, {name} map": _area(auroc) for name, auroc in outcome.aurocs.items()}
    return (f"{facts(rows)}<p>{against} AUROC is the chance that a defect scores above a good part, 50 % is "
            "guessing. Intervals: 95 %, bootstrap; at 100 % they have no width, however few photos "
            "there are.</p>")


def _area(auroc: Auroc) -> str:
    return f"{auroc.value:.1%} ({auroc.interval.low:.1%} to {auroc.interval.high:.1%})"


def _detected(outcome: Outcome) -> str:
    """How many test photos of each kind lie above the lines."""
    if not outcome.tested:
        return ""
    kinds = [("all defects", None)] * (len(outcome.kinds) > 1) + [(kind, kind) for kind in outcome.kinds]
    kinds += [("good: false alarms", GOOD)] * bool(outcome.good)
    criterion = outcome.criterion
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{_share(outcome.above(criterion.review, kind))}</td>"
                   f"<td>{_share(outcome.above(criterion.fail, kind))}</td></tr>" for name, kind in kinds)
    return ("<table><tr><th>tested</th><th class='review'>above review</th><th class='fail'>above fail</th>"
            f"</tr>{rows}</table><p>Intervals: 95 %, Clopper-Pearson. Test photos had no say in the "
            "thresholds.</p>")


def _share(above: Above) -> str:
    return f"{above.photos} of {above.of} ({above.interval.low:.1%} to {above.interval.high:.1%})"


def _promise(outcome: Outcome) -> str:
    """What the held-out good photos allow to say about good parts to come."""
    scores = np.array([one.combined for one in outcome.held_out])
    return (f"<p>{promise(scores, outcome.criterion)} The thresholds come from these same photos, so the "
            "true shares may be a little higher.</p>")


def _figures(outcome: Outcome | None) -> dict[str, str]:
    """What `comparison` says of an outcome."""
    if outcome is None:
        return {}
    rows = {"Review above": f"{outcome.criterion.review:.3f}", "Fail above": f"{outcome.criterion.fail:.3f}"}
    if outcome.aurocs:
        against = f"{len(outcome.held_out)} held-out" if outcome.is_against_held_out else \
            f"{len(outcome.good)} tested"
        rows |= {"AUROC": _area(outcome.aurocs["combined"]), "… against": f"{against} good photos",
                 "Defects above review": _share(outcome.above(outcome.criterion.review))}
    return rows


def _compared(name: str, one: str, other: str) -> str:
    cells = (f"<td>{escape(text)}</td>" if one == other else f"<td><b>≠ {escape(text)}</b></td>"
             for text in (one, other))
    return f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"


def _same_test(cards: Sequence[Card]) -> str:
    """A caution, when the two figures are not about the same photos."""
    tested = [sorted((photo.name, photo.kind) for photo in card.outcome.tested) if card.outcome else []
              for card in cards]
    if not all(tested) or tested[0] == tested[1]:
        return ""
    return "<p>The two were not tested on the same photos, so their AUROC can't be compared.</p>"


def _encodable(text: str) -> str:
    """Names of files need not be UTF-8; what is not becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
