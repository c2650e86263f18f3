"""What changes with the chosen patch: its numbers at each step, its vectors, notes below the pictures."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from ulsad.attention.attention import spread
from ulsad.attention.lesson import Compared, Lesson, Stage
from ulsad.ui import batches
from ulsad.ui.learn.maps import STAGES, maps_of, normalised

Numbers = list[tuple[str, str]]


def charts(lesson: Lesson, row: int, column: int) -> dict[str, Any]:
    """Vectors of the patch, as bars or as two arrows, and its place among held-out pixels."""
    local, whole = lesson.local_at(row, column), lesson.global_at(row, column)
    found: dict[str, Any] = {
        "raw": _bars("u, as it comes", lesson.raw[:, row, column].numpy()),
        "standardised": _bars("u, standardised", local.first), "reconstruction": _bars("ũ′", local.second),
        "difference": _bars("u − ũ′", local.first - local.second),
        "vectors local": _arrows("u", "ũ′", local),
        "held-out local": lesson.at_patch(lesson.prediction.raw_local, row, column)}
    if whole is not None:
        other = "u" if lesson.outputs.second is None else "ũ″"
        found |= {"global": _bars("û", whole.first), "second": _bars(other, whole.second),
                  "vectors global": _arrows("û", other, whole)}
    if (raw := lesson.prediction.raw_global) is not None:
        found["held-out global"] = lesson.at_patch(raw, row, column)
    return found


def _bars(name: str, vector: np.ndarray) -> dict[str, Any]:
    return {"title": name, "bars": vector.astype(float).round(4).tolist()}


def _arrows(first: str, second: str, compared: Compared) -> dict[str, Any]:
    return {"title": f"{first} and {second}", "names": [first, second], "lengths": compared.lengths,
            "angle": compared.angle}


def notes(lesson: Lesson, row: int, column: int) -> dict[str, str]:
    """A map's value at the patch and its maximum, below its title."""
    notes = {name: f"{values[row, column]:.3g} here, at most {values.max():.3g}"
             for name, _, values in maps_of(lesson)}
    notes |= {name: f"{lesson.at_patch(square, row, column):.2f} here, at most {square.max():.2f}"
              for name, _, square in normalised(lesson)}
    if lesson.expected is not None:
        of = lesson.expected.photo
        notes["expected"] = (f"patches of {escape(batches.bare(of))}" if of else
                             "patches of this photo: the model keeps no good one")
    return notes


def numbers(lesson: Lesson, row: int, column: int) -> list[Numbers]:
    """For each step: what is read off at this patch, as (label in HTML, value)."""
    return [_of_photo(lesson), _of_features(lesson, row, column), _of_standardising(lesson, row, column),
            _of_compared(lesson.local_at(row, column), "l"), _of_stages(lesson.local, row, column),
            _of_attention(lesson, row, column), _of_cross(lesson, row, column),
            _of_global(lesson, row, column), _of_verdict(lesson, row, column)]


def _of_photo(lesson: Lesson) -> Numbers:
    height, width = lesson.prediction.size
    side = len(lesson.square)
    return [("photo", f"{width} × {height} px"), ("square x", f"{side} × {side} px")]


def _of_features(lesson: Lesson, row: int, column: int) -> Numbers:
    fine, coarse = map(len, lesson.layers)
    return [("channels of j, j+1", f"{fine} + {coarse}"), ("c*", f"{len(lesson.raw)}"),
            ("h* × w*", f"{lesson.grid[0]} × {lesson.grid[1]}"),
            ("‖u‖", f"{lesson.raw[:, row, column].norm():.2f}")]


def _of_standardising(lesson: Lesson, row: int, column: int) -> Numbers:
    before, after = (features[:, row, column].norm() for features in (lesson.raw, lesson.features))
    return [("‖u‖ before", f"{before:.2f}"), ("‖u‖ after", f"{after:.2f}"),
            ("σ, smallest", f"{lesson.std.min():.3g}"), ("σ, largest", f"{lesson.std.max():.3g}")]


def _of_attention(lesson: Lesson, row: int, column: int) -> Numbers:
    own = lesson.attention_at(row, column)
    return [("to itself", _percent(own[row, column])), ("shared by", _patches(spread(own))),
            ("‖a‖", f"{lesson.teacher[:, row, column].norm():.2f}")]


def _of_global(lesson: Lesson, row: int, column: int) -> Numbers:
    whole = lesson.global_at(row, column)
    return [] if whole is None else [*_of_compared(whole, "g"), *_of_stages(lesson.global_[1:], row, column)]


def _of_compared(compared: Compared, branch: str) -> Numbers:
    both = f"l<sub>v</sub> + λ<sub>{branch}</sub> l<sub>d</sub>, λ<sub>{branch}</sub> = {compared.weight:g}"
    return [("l<sub>v</sub>", f"{compared.value:.4f}"), ("l<sub>d</sub>", f"{compared.direction:.4f}"),
            (both, f"{compared.total:.4f}"), ("angle", f"{compared.angle:.0f}°")]


def _of_stages(stages: tuple[Stage, ...], row: int, column: int) -> Numbers:
    return [("M<sup>l</sup> (Eq. 7)" if not stage.is_beyond else STAGES[stage.name],
             f"{stage.distances[row, column]:.4g}") for stage in stages]


def _of_cross(lesson: Lesson, row: int, column: int) -> Numbers:
    cross = lesson.cross_attention_at(row, column)
    if cross is None or lesson.attention_error is None or lesson.expected is None:
        return []
    nearest = divmod(int(lesson.expected.nearest[row, column]), lesson.grid[1])
    return [("to itself", _percent(cross[row, column])), ("shared by", _patches(spread(cross))),
            ("Â against A", f"{lesson.attention_error[row, column]:.4f}"),
            ("nearest to û: row, column", "{}, {}".format(*nearest))]


def _of_verdict(lesson: Lesson, row: int, column: int) -> Numbers:
    normalisation, prediction, maps = lesson.normalisation, lesson.prediction, lesson.maps
    found: Numbers = [("α, β", f"{lesson.config.alpha:.3g}, {lesson.config.beta:.3g}")]
    for letter, stages, transform, raw, square in (
            ("l", lesson.local, normalisation.local, prediction.raw_local, maps.local),
            ("g", lesson.global_, normalisation.global_, prediction.raw_global, maps.global_)):
        if transform is None or raw is None or square is None:
            continue
        in_use = " in use" if stages[-1].is_beyond else ""
        found += [(f"q<sub>α</sub>, q<sub>β</sub> of M<sup>{letter}</sup>{in_use}",
                   f"{transform.q_alpha:.3g}, {transform.q_beta:.3g}"),
                  (f"M<sup>{letter}</sup> → t(M<sup>{letter}</sup>)",
                   f"{lesson.at_patch(raw, row, column):.3g} → {lesson.at_patch(square, row, column):.2f}")]
    return [*found, ("combined here", f"{lesson.at_patch(maps.combined, row, column):.2f}"),
            ("score s", f"{maps.score:.2f}"),
            ("review, fail above", f"{lesson.criterion.review:.2f}, {lesson.criterion.fail:.2f}"),
            ("verdict", f"<b>{lesson.verdict.upper()}</b>")]


def joined(parts: tuple[Numbers, ...]) -> list[list[Any]]:
    """The same numbers of each photo side by side: [label, [value, …]]."""
    return [[rows[0][0], [value for _, value in rows]] for rows in zip(*parts, strict=True)]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _patches(count: float) -> str:
    return "1 patch" if round(count) == 1 else f"{count:.0f} patches"
