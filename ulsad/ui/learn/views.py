"""What the tab Learn shows, as JSON for learn.js: a whole lesson, or only what changes with the patch."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ulsad.attention.attention import spread
from ulsad.attention.lesson import ERASED, SCRATCHED, Colours, Compared, Lesson, Stage, parting, spoiled
from ulsad.detector import rendering
from ulsad.detector.criterion import PASS
from ulsad.detector.prediction import stretch
from ulsad.errors import InputError
from ulsad.method.calibration import LEVELS, QuantileFunction, Transform
from ulsad.photos.probe import Point
from ulsad.ui import batches, library
from ulsad.ui.attention import photo_list
from ulsad.ui.inspect import viewer
from ulsad.ui.learn.steps import steps

ALONE, BESIDE_SCRATCHED, BESIDE_ERASED = ("alone", "beside a copy with a scratch",
                                          "beside a copy with a part erased")
SPOILING = {BESIDE_SCRATCHED: SCRATCHED, BESIDE_ERASED: ERASED}
FINER = 4  # maps are sent at this multiple of the grid, so that browsers stretch them smoothly
SIDE = 640  # px of a spoiled copy, which is sent with the lesson
CLEARLY = 1.5  # times as high a maximum, below which nothing is said of where a copy parts from its photo
BINS = 48  # of the histograms of held-out pixels

_STAGES = {"whitened": "whitened", "relative": "relative", "bank": "nearest good patch", "used": "in use"}


class LessonView:
    """One photo, or a photo beside a spoiled copy, under one model."""

    def __init__(self, model: str, path: str, name: str, beside: str, at: Point, models_dir: Path) -> None:
        """`at` is where the copy is spoiled. Raises `InputError` where photo or model can't be read."""
        self.path, self.name, self.models_dir = path, name, models_dir
        spoiling = (SPOILING[beside], at) if beside in SPOILING else None
        self.lessons = [library.lesson(model, path, None, models_dir)]
        if spoiling:
            self.lessons.append(library.lesson(model, path, spoiling, models_dir))
        self.spoiling = spoiling
        self.first = self.lessons[0]

    def whole(self, row: int, column: int) -> str:
        """JSON of the lesson, with the numbers of one patch."""
        return json.dumps({
            "steps": steps(self.first.config, self.first.members), "grid": self.first.grid,
            "sides": [{"name": name, "photo": photo, "pictures": self._pictures(lesson)}
                      for name, photo, lesson in zip(self._names, self._photos, self.lessons, strict=True)],
            "held_out": self._held_out, "parting": self._parting(), "about": self._about(),
            "patch": self._patch(row, column)})

    def patch(self, row: int, column: int) -> str:
        """JSON of what changes with the patch."""
        return json.dumps({"patch": self._patch(row, column)})

    @cached_property
    def _names(self) -> list[str]:
        copy = {SCRATCHED: "copy with a scratch", ERASED: "copy with a part erased"}
        name = batches.bare(self.name)
        return [name, f"{name}, {copy[self.spoiling[0]]}"] if self.spoiling else [name]

    @property
    def _photos(self) -> list[dict[str, Any]]:
        own = photo_list.shown(self.path)
        if not self.spoiling:
            return [own]
        photo = library.photo(self.path, self.first.config.white_level)
        copy = rendering.fit_within(spoiled(photo, *self.spoiling), SIDE)
        buffer = BytesIO()
        copy.save(buffer, "JPEG", quality=88)
        source = f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
        return [own, {"src": source, "width": copy.width, "height": copy.height, "name": self._names[1]}]

    # --- pictures of a whole photo

    @cached_property
    def _colours(self) -> dict[str, Colours]:
        """Fitted to the first photo, so that equal colours mean equal features on both sides."""
        first = self.first
        return {"fine": Colours.of(first.layers[0]), "coarse": Colours.of(first.layers[1]),
                "raw": Colours.of(first.raw), "features": Colours.of(first.features)}

    def _pictures(self, lesson: Lesson) -> dict[str, dict[str, str]]:
        """By name: kind (photo, picture, heat over the photo), title and address."""
        found = {"photo": _picture("photo", "Photo", ""),
                 "square": _picture("picture", "Square x", viewer.data_url(Image.fromarray(lesson.square)))}
        for name, title, features in (("fine", "Layer j", lesson.layers[0]),
                                      ("coarse", "Layer j+1", lesson.layers[1]),
                                      ("raw", "U, both layers", lesson.raw)):
            found[name] = _picture("patches", title, viewer.data_url(Image.fromarray(
                self._colours[name](features))))
        for name, title, of_all in self._standardised(lesson):
            found[name] = _picture("patches", title, viewer.data_url(Image.fromarray(
                self._colours["features"](of_all))))
        if lesson.expected is not None:
            found["expected"] = _picture("picture", "What φ expects", viewer.data_url(
                Image.fromarray(lesson.expected.picture)))
        return found | self._maps(lesson)

    @staticmethod
    def _standardised(lesson: Lesson) -> list[tuple[str, str, torch.Tensor]]:
        outputs = lesson.outputs
        found = [("standardised", "U, standardised", lesson.features),
                 ("reconstruction", "Ũ′, rebuilt by ψ", outputs.reconstruction[0]),
                 ("teacher", "A, gathered", lesson.teacher)]
        if outputs.global_features is not None:
            found.append(("global", "Û, from φ", outputs.global_features[0]))
        if outputs.second is not None:
            found.append(("second", "Ũ″, from ψ", outputs.second[0]))
        return found

    def _maps(self, lesson: Lesson) -> dict[str, dict[str, str]]:
        found = {}
        for name, title, values in _maps_of(lesson):
            high = max(float(of.max()) for side in self.lessons for other, _, of in _maps_of(side)
                       if other == name)
            found[name] = _picture("heat", title, _heat(values, high))
        for name, title, square in _normalised(lesson):
            found[name] = _picture("heat", title, viewer.data_url(
                rendering.heat(square, ignored=lesson.calibration.ignored)))
        return found

    @cached_property
    def _held_out(self) -> list[dict[str, Any]]:
        """Histograms of held-out good pixels, with both quantiles, for each branch."""
        calibration, normalisation = self.first.calibration, self.first.normalisation
        found = [_histogram("held-out local", "local", calibration.local, normalisation.local)]
        if calibration.global_ is not None and normalisation.global_ is not None:
            found.append(_histogram("held-out global", "global", calibration.global_, normalisation.global_))
        return found

    # --- words

    def _parting(self) -> str:
        """Where both photos part ways; "" for one alone."""
        if not self.spoiling:
            return ""
        local, of_global = parting(*self.lessons)
        text = "" if self.first.verdict == PASS else (
            f"The photo itself does not pass ({self.first.verdict}): choose a good one to see clearly where "
            "a copy parts from it. ")
        text += f"Maximum of the local map (step 5): <b>{local:.1f} ×</b> that of the photo itself."
        if of_global is None:
            return text
        text += f" Of the global map (step 8): <b>{of_global:.1f} ×</b>. "
        if max(local, of_global) < CLEARLY:
            return text + "They hardly part."
        step = "5, in the local map" if local > of_global else "8, in the global map"
        return text + f"They part most at step {step}."

    def _about(self) -> str:
        """Which networks the pictures come from, and what to read before the verdict."""
        lesson, notes = self.first, [escape(note) for note in self.first.prediction.notes]
        if lesson.members > 1:
            notes.append(f"This model has {lesson.members} pairs of networks. Steps 4 to 8 show the first; "
                         "the maps in use, and with them step 9, are the mean of all.")
        return " ".join(notes)

    # --- what changes with the patch

    def _patch(self, row: int, column: int) -> dict[str, Any]:
        rows, columns = self.first.grid
        row, column = min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
        numbers = [_numbers(lesson, row, column) for lesson in self.lessons]
        return {"at": [row, column], "numbers": [_joined(parts) for parts in zip(*numbers, strict=True)],
                "sides": [self._side(lesson, row, column) for lesson in self.lessons]}

    def _side(self, lesson: Lesson, row: int, column: int) -> dict[str, Any]:
        high = float(self.first.attention_at(row, column).max())
        pictures = {"self": _picture("heat", "W of the patch", _heat(
            lesson.attention_at(row, column), high))}
        cross = lesson.cross_attention_at(row, column)
        if cross is not None:
            pictures["cross"] = _picture("heat", "Ŵ of û", _heat(cross, high))
        return {"pictures": pictures, "charts": _charts(lesson, row, column),
                "notes": _notes(lesson, row, column)}


def failed(error: InputError) -> str:
    """JSON for learn.js: an error in place of the lesson."""
    return json.dumps({"problem": f"<b>This did not work.</b> {escape(str(error))}"})


def _maps_of(lesson: Lesson) -> list[tuple[str, str, np.ndarray]]:
    """Name, title and values (h*, w*) of every map before Eq. 9."""
    found = []
    for branch, number, stages in (("local", 7, lesson.local), ("global", 8, lesson.global_)):
        for stage in stages:
            title = f"M<sup>{branch[0]}</sup> (Eq. {number})"
            if stage.is_beyond:
                title = f"{_STAGES[stage.name]} <em>beyond</em>"
            found.append((f"{branch} {stage.name}", title, stage.distances))
    if lesson.attention_error is not None:
        found.append(("error", "Â against A (Eq. 5)", lesson.attention_error))
    return found


def _normalised(lesson: Lesson) -> list[tuple[str, str, np.ndarray]]:
    """Name, title and values (s, s) of the maps after Eq. 9."""
    maps = lesson.maps
    found = [("local normalised", "t(M<sup>l</sup>)", maps.local)]
    if maps.global_ is not None:
        found.append(("global normalised", "t(M<sup>g</sup>)", maps.global_))
    return [*found, ("combined", "Combined", maps.combined)]


def _picture(kind: str, title: str, src: str) -> dict[str, str]:
    return {"kind": kind, "title": title, "src": src}


def _heat(values: np.ndarray, high: float) -> str:
    height, width = values.shape
    return viewer.data_url(rendering.heat(stretch(values, (FINER * height, FINER * width)), 0, high))


def _histogram(name: str, branch: str, quantiles: QuantileFunction, transform: Transform) -> dict[str, Any]:
    low, high = float(quantiles.values[0]), float(quantiles.values[-1])
    edges = np.linspace(low, high, BINS + 1)
    below = np.interp(edges, quantiles.values, LEVELS)
    counts = np.log1p(1e4 * np.diff(below).clip(0))  # as in Inspect: most pixels lie in the first bars
    return {"name": name, "branch": branch, "heights": (counts / max(counts.max(), 1e-12)).round(3).tolist(),
            "low": low, "high": high, "q_alpha": transform.q_alpha, "q_beta": transform.q_beta}


def _charts(lesson: Lesson, row: int, column: int) -> dict[str, Any]:
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


def _notes(lesson: Lesson, row: int, column: int) -> dict[str, str]:
    """A map's value at the patch and its maximum, below its title."""
    notes = {name: f"{values[row, column]:.3g} here, at most {values.max():.3g}"
             for name, _, values in _maps_of(lesson)}
    notes |= {name: f"{lesson.at_patch(square, row, column):.2f} here, at most {square.max():.2f}"
              for name, _, square in _normalised(lesson)}
    if lesson.expected is not None:
        of = lesson.expected.photo
        notes["expected"] = (f"patches of {escape(batches.bare(of))}" if of else
                             "patches of this photo: the model keeps no good one")
    return notes


Numbers = list[tuple[str, str]]


def _numbers(lesson: Lesson, row: int, column: int) -> list[Numbers]:
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
    return [("M<sup>l</sup> (Eq. 7)" if not stage.is_beyond else _STAGES[stage.name],
             f"{stage.distances[row, column]:.4g}") for stage in stages]


def _of_cross(lesson: Lesson, row: int, column: int) -> Numbers:
    cross = lesson.cross_attention_at(row, column)
    if cross is None or lesson.attention_error is None or lesson.expected is None:
        return []
    nearest = divmod(int(lesson.expected.nearest[row, column]), lesson.grid[1])
    return [("to itself", _percent(cross[row, column])), ("shared by", _patches(spread(cross))),
            ("Â against A", f"{lesson.attention_error[row, column]:.4f}"),
            ("nearest good patch to û: row, column", "{}, {}".format(*nearest))]


def _of_verdict(lesson: Lesson, row: int, column: int) -> Numbers:
    normalisation, prediction, maps = lesson.normalisation, lesson.prediction, lesson.maps
    found: Numbers = []
    for letter, transform, raw, square in (
            ("l", normalisation.local, prediction.raw_local, maps.local),
            ("g", normalisation.global_, prediction.raw_global, maps.global_)):
        if transform is None or raw is None or square is None:
            continue
        found += [(f"q<sub>α</sub>, q<sub>β</sub> of M<sup>{letter}</sup>",
                   f"{transform.q_alpha:.3g}, {transform.q_beta:.3g}"),
                  (f"M<sup>{letter}</sup> → t(M<sup>{letter}</sup>)",
                   f"{lesson.at_patch(raw, row, column):.3g} → {lesson.at_patch(square, row, column):.2f}")]
    return [*found, ("combined here", f"{lesson.at_patch(maps.combined, row, column):.2f}"),
            ("score s", f"{maps.score:.2f}"),
            ("review, fail above", f"{lesson.criterion.review:.2f}, {lesson.criterion.fail:.2f}"),
            ("verdict", f"<b>{lesson.verdict.upper()}</b>")]


def _joined(parts: tuple[Numbers, ...]) -> list[list[Any]]:
    """The same numbers of each photo side by side: [label, [value, …]]."""
    return [[rows[0][0], [value for _, value in rows]] for rows in zip(*parts, strict=True)]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _patches(count: float) -> str:
    return "1 patch" if round(count) == 1 else f"{count:.0f} patches"
