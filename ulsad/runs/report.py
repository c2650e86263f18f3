"""Export a batch: a CSV table, and one HTML file that opens without a network and without this program."""

from __future__ import annotations

import math
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ulsad.detector import rendering
from ulsad.detector.batch import SEEN, Batch, Judged, strange_photos_warning, tally
from ulsad.detector.criterion import Criterion, rejected
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError

PICTURED = 60  # photos shown with their maps in a report, the strangest first
SIDE = 360  # px, their longer side

_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto;
       padding: 0 1rem; color: #1b1f27; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .8rem; border-bottom: 1px solid #d5d9e0; text-align: left; vertical-align: top; }
figure { margin: 0 0 1.5rem; } .maps { display: flex; gap: 6px; } .maps img { flex: 1; min-width: 0; }
.fail, .review { font-weight: 600; } .fail::before { content: "● "; color: #b3261e; }
.review::before { content: "▲ "; color: #8a6100; } .pass::before { content: "○ "; color: #2c6e49; }
.warning { border-left: 5px solid #b3261e; padding: .4rem 1rem; background: #fbeceb; }
@media (prefers-color-scheme: dark) {
  :root { color-scheme: dark; } body { color: #e4e7ec; background: #15181d; }
  td, th { border-color: #3a4049; } .warning { background: #3b1f1d; border-color: #ff8a80; }
  .fail::before { color: #ff8a80; } .review::before { color: #f2c14e; } .pass::before { color: #7bd3a0; }
}
"""


def write_report(
    file: Path, detector: Ulsad, model: str, batch: Batch, criterion: Criterion,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """One self-contained HTML file: run card, counts, pictures of the strangest photos, every score."""
    judged = batch.judged(criterion)
    order = sorted(range(len(batch)), key=lambda i: -judged[i].score)
    seen = [detector.seen_in(prediction) for prediction in batch.predictions]
    figures = []
    for done, i in enumerate(order[:PICTURED], start=1):
        figures.append(_figure(detector, batch, i, judged[i], seen[i], criterion))
        on_photo(done, min(len(order), PICTURED))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in
                       tally([of.verdict for of in judged]).items())
    title = f"{len(batch)} photos, {escape(model)}"
    file.write_text(page(
        title, f"<p>{counts}. These are the model's verdicts, not the ground truth: 'fired' says which "
        f"branch scored a photo above its threshold.</p>{_overlap(batch, seen)}{_strange(batch)}"
        f"<h2>Run card</h2>{_card(detector, model, batch, criterion)}"
        f"<h2>The {len(figures)} strangest photos</h2><p>Photo, local map (single patches), global map (the "
        f"whole photo) and combined map, all on one colour scale from 0 to {rendering.HIGH:g}.</p>"
        f"{''.join(figures)}"
        f"<h2>All photos</h2>{_scores(batch, judged, seen, order)}"
        f"{_lists(detector, batch)}"), encoding="utf-8", errors="replace")


def page(title: str, body: str) -> str:
    """A self-contained HTML page in the reader's light or dark mode; title and body are HTML."""
    return (f"<!doctype html><html lang='en'><meta charset='utf-8'>"
            f"<meta name='viewport' content='width=device-width'><title>{title}</title>"
            f"<style>{_CSS}</style><h1>{title}</h1>{body}</html>")


def is_cross_fitted(record: dict[str, Any]) -> bool:
    """Whether each good photo of a model with this record was held out in its turn."""
    return record.get("folds", 1) > 1


def used(record: dict[str, Any]) -> str:
    """How many good photos set what, for example '17 trained on, 3 held out for quantiles and thresholds'."""
    if is_cross_fitted(record):
        return (f"{len(record['train'])} good photos, each held out once in training {record['folds']} "
                "networks: all set the weights, the quantiles and the thresholds")
    return (f"{len(record['train'])} trained on, {len(record['held_out'])} held out for quantiles and "
            "thresholds")


def good_photos(record: dict[str, Any]) -> str:
    """Collapsed lists of the good photos that set the weights, and of those that set the quantiles."""
    if is_cross_fitted(record):
        return foldout("Trained on, and held out in turns: photos that set weights, quantiles and suggested "
                       "thresholds", record["train"])
    return (foldout("Trained on: photos that set the weights", record["train"])
            + foldout("Held out: photos that set quantiles and suggested thresholds", record["held_out"]))


def facts(rows: dict[str, str]) -> str:
    """An HTML table of names and plain texts."""
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows.items())
    return f"<table>{cells}</table>"


def foldout(title: str, names: Sequence[str]) -> str:
    """A collapsed list, with its length beside the title."""
    return (f"<details><summary>{title} ({len(names)})</summary><p>{escape(', '.join(names))}</p>"
            "</details>")


def number(value: float, digits: int) -> str:
    """A dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _figure(
    detector: Ulsad, batch: Batch, index: int, judged: Judged, seen_in: str, criterion: Criterion
) -> str:
    prediction = batch.predictions[index]
    maps = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
    note = f" ({SEEN[seen_in]})" if seen_in else ""
    remarks = "".join(f"<p class='warning'>{escape(remark)}</p>" for remark in prediction.notes)
    caption = (f"{remarks}<b>{escape(batch.names[index])}</b>{note}: "
               f"<span class='{judged.verdict}'>{judged.verdict}</span>, "
               f"fired: {judged.fired}; score {number(judged.score, 3)}, local "
               f"{number(judged.local_score, 3)}, global {number(judged.global_score, 3)}")
    try:
        photo = rendering.fit_within(detector.reading(prediction.file, SIDE).image, SIDE)
    except InputError as error:
        return f"<figure><figcaption>{caption}</figcaption><p>{escape(str(error))}</p></figure>"
    pictures = "".join(f"<img alt='{title}' src='{_jpeg(picture)}'>" for picture, title in
                       zip(rendering.views(photo, maps), rendering.TITLES, strict=True))
    return f"<figure><figcaption>{caption}</figcaption><div class='maps'>{pictures}</div></figure>"


def _jpeg(picture: Image.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


def _overlap(batch: Batch, seen: Sequence[str]) -> str:
    names = [name for name, where in zip(batch.names, seen, strict=True) if where]
    if not names:
        return ""
    return (f"<p class='warning'>{len(names)} of these photos were used to make the model, so they are no "
            f"test of it: {escape(', '.join(names[:10]))}{' …' if len(names) > 10 else ''}.</p>")


def _strange(batch: Batch) -> str:
    warning = strange_photos_warning(sum(each.is_strange for each in batch.predictions), len(batch))
    return f"<p class='warning'>{warning}</p>" if warning else ""


def _card(detector: Ulsad, model: str, batch: Batch, criterion: Criterion) -> str:
    config, record = detector.config, detector.record
    held_out = criterion.scores(detector.calibration, list(detector.calibration.frontiers))[:, 0]
    above = "; ".join(
        f"{count} of {len(held_out)} held-out good photos above '{name}', that is {interval.low:.1%} to "
        f"{interval.high:.1%} of good parts at 95 % confidence"
        for name, (count, interval) in (("review", rejected(held_out, criterion.review)),
                                        ("fail", rejected(held_out, criterion.fail))))
    ignored = detector.calibration.ignored
    rows = {
        "Model": f"{model}, made {record['created']}, {record['steps']} of {record['planned_steps']} steps, "
                 f"seed {config.seed}",
        "Backbone": f"{config.backbone}, weights {detector.branches.extractor.weights_hash[:16]}…",
        "Photos": f"{used(record)}; {len(batch)} tested, {len(batch.skipped)} unreadable",
        "α, β": f"{criterion.alpha:g}, {criterion.beta:g}",
        "Combined map": f"{criterion.combine.kind} of both, the global map with weight "
                        f"{criterion.combine.global_weight:g}",
        "Thresholds": f"review above {criterion.review:.4f}, fail above {criterion.fail:.4f}; local "
                      f"{criterion.local:.4f}, global {number(criterion.global_, 4)}",
        "Good parts above": above,
        "Ignored": "nothing" if ignored is None else f"{ignored.mean():.1%} of the photo",
        "Versions": ", ".join(f"{name} {of}" for name, of in record["versions"].items())
                    + f" when trained; torch {version('torch')}, numpy {version('numpy')} now",
        "Date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    return facts(rows)


def _scores(batch: Batch, judged: Sequence[Judged], seen: Sequence[str], order: Sequence[int]) -> str:
    rows = "".join(
        f"<tr><td>{escape(batch.names[i])}</td>"
        f"{''.join(f'<td>{number(score, 4)}</td>' for score in judged[i][:3])}"
        f"<td class='{judged[i].verdict}'>{judged[i].verdict}</td>"
        f"<td>{judged[i].fired}</td><td>{seen[i]}</td></tr>" for i in order)
    head = "".join(f"<th>{name}</th>" for name in
                   ("photo", "score", "local", "global", "verdict", "fired", "used to make the model"))
    return f"<table><tr>{head}</tr>{rows}</table>"


def _lists(detector: Ulsad, batch: Batch) -> str:
    """The photos that set the weights, those that set the quantiles, and the tested ones."""
    parts = (("Tested", batch.names), ("Unreadable", [item.reason for item in batch.skipped]))
    return good_photos(detector.record) + "".join(foldout(title, names) for title, names in parts)
