"""What the tab Learn shows, as JSON for learn.js: a whole lesson, or what changes with patch or levels."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cached_property
from html import escape
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from ulsad.attention import stages, variants
from ulsad.attention.lesson import ERASED, SCRATCHED, Colours, Lesson, parting, spoiled
from ulsad.detector import rendering
from ulsad.detector.criterion import PASS
from ulsad.detector.prediction import stretch
from ulsad.errors import InputError
from ulsad.ui import batches, library
from ulsad.ui.attention import photo_list
from ulsad.ui.inspect import viewer
from ulsad.ui.learn import patch
from ulsad.ui.learn.lecture import QUESTIONS
from ulsad.ui.learn.maps import histograms, maps_of, normalised
from ulsad.ui.learn.steps import steps
from ulsad.ui.learn.taught import BESIDE_ERASED, FOLDER, Taught, learning, lessons

FINER = 4  # maps are sent at this multiple of the grid, so that browsers stretch them smoothly
SIDE = 640  # px of a spoiled copy, which is sent with the lesson
CLEARLY = 1.5  # times as high a maximum, below which nothing is said of where a copy parts from its photo
POINTS = 120  # of each curve of losses


class Layer(NamedTuple):
    """A picture that is stretched over the photo's shape."""

    kind: str  # "photo", "picture", "patches": one pixel for each, or "heat": to lay over the photo
    title: str  # HTML
    image: Image.Image | None  # None: the photo itself

    @property
    def sent(self) -> dict[str, str]:
        return {"kind": self.kind, "title": self.title,
                "src": "" if self.image is None else viewer.data_url(self.image)}


class LessonView:
    """One photo, or a photo beside a spoiled copy, under one model."""

    def __init__(self, taught: Taught, models_dir: Path) -> None:
        """Raises `InputError` where photo or model can't be read."""
        self.taught = taught
        self.lessons = lessons(taught, models_dir)
        self.first = self.lessons[0]

    def whole(self, row: int, column: int) -> str:
        """JSON of the lesson, with the numbers of one patch."""
        first, way = self.first, self.taught.way
        return json.dumps({
            "steps": steps(first.config, first.members, way.left_out), "grid": first.grid,
            "sides": [{"name": name, "photo": photo, "pictures": _sent(self._pictures(lesson))}
                      for name, photo, lesson in zip(self.names, self._photos, self.lessons, strict=True)],
            "parting": self._parting(), "about": self._about(), "patch": self._patch(row, column),
            "way": {"variant": way.variant, "stage": way.stage, "left_out": sorted(way.left_out)},
            "questions": [each._asdict() for each in QUESTIONS],
            "teacher": "U" if first.config.global_target == "features" else "A",
            "variants": self._variants(), "learning": self._learning(), **self._of_levels()})

    def patch(self, row: int, column: int) -> str:
        """JSON of what changes with the patch."""
        return json.dumps({"patch": self._patch(row, column)})

    def levels(self, row: int, column: int) -> str:
        """JSON of what changes with α and β: the last step."""
        return json.dumps({
            "redrawn": [_sent(self._normalised(lesson)) for lesson in self.lessons],
            "patch": self._patch(row, column), **self._of_levels()})

    def layer(self, side: int, name: str, row: int, column: int) -> tuple[Image.Image, Layer]:
        """The photo of one side and one of the pictures. Raises `KeyError` if there is no such picture."""
        lesson = self.lessons[side]
        return self._own_photos[side], (self._pictures(lesson) | self._of_patch(lesson, row, column))[name]

    def within(self, row: int, column: int) -> tuple[int, int]:
        """The nearest patch of this model's grid: the chosen one may come from a larger grid."""
        rows, columns = self.first.grid
        return min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)

    @cached_property
    def names(self) -> list[str]:
        """Of the photo, and of its spoiled copy."""
        copy = {SCRATCHED: "copy with a scratch", ERASED: "copy with a part erased"}
        name, spoiling = batches.bare(self.taught.name), self.taught.spoiling
        return [name, f"{name}, {copy[spoiling[0]]}"] if spoiling else [name]

    @cached_property
    def _own_photos(self) -> list[Image.Image]:
        photo, spoiling = library.photo(self.taught.path, self.first.config.white_level), self.taught.spoiling
        return [photo, spoiled(photo, *spoiling)] if spoiling else [photo]

    @property
    def _photos(self) -> list[dict[str, Any]]:
        own = photo_list.shown(self.taught.path)
        if len(self.names) == 1:
            return [own]
        copy = rendering.fit_within(self._own_photos[1], SIDE)
        buffer = BytesIO()
        copy.save(buffer, "JPEG", quality=88)
        source = f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
        return [own, {"src": source, "width": copy.width, "height": copy.height, "name": self.names[1]}]

    # --- pictures of a whole photo, by name

    @cached_property
    def _colours(self) -> dict[str, Colours]:
        """Fitted to the first photo, so that equal colours mean equal features on both sides."""
        first = self.first
        return {"fine": Colours.of(first.layers[0]), "coarse": Colours.of(first.layers[1]),
                "raw": Colours.of(first.raw), "features": Colours.of(first.features)}

    def _pictures(self, lesson: Lesson) -> dict[str, Layer]:
        found = {"photo": Layer("photo", "Photo", None),
                 "square": Layer("picture", "Square x", Image.fromarray(lesson.square))}
        for name, title, features in (("fine", "Layer j", lesson.layers[0]),
                                      ("coarse", "Layer j+1", lesson.layers[1]),
                                      ("raw", "U, both layers", lesson.raw)):
            found[name] = Layer("patches", title, Image.fromarray(self._colours[name](features)))
        for name, title, of_all in self._standardised(lesson):
            found[name] = Layer("patches", title, Image.fromarray(self._colours["features"](of_all)))
        if lesson.expected is not None:
            found["expected"] = Layer("picture", "What φ expects", Image.fromarray(lesson.expected.picture))
        return found | self._distances(lesson) | self._normalised(lesson)

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

    def _distances(self, lesson: Lesson) -> dict[str, Layer]:
        """Maps before Eq. 9, each on the same scale for both photos."""
        highest: dict[str, float] = {}
        for side in self.lessons:
            for name, _, values in maps_of(side):
                highest[name] = max(highest.get(name, 0.0), float(values.max()))
        return {name: Layer("heat", title, _heat(values, highest[name]))
                for name, title, values in maps_of(lesson)}

    @staticmethod
    def _normalised(lesson: Lesson) -> dict[str, Layer]:
        return {name: Layer("heat", title, rendering.heat(square, ignored=lesson.calibration.ignored))
                for name, title, square in normalised(lesson)}

    # --- words

    def _parting(self) -> str:
        """Where both photos part ways; "" for one alone."""
        if len(self.lessons) == 1:
            return ""
        local, of_global = parting(*self.lessons)
        text = "" if self.first.verdict == PASS else (
            f"The photo itself does not pass ({self.first.verdict}): choose a good one to see clearly where "
            "a copy parts from it. ")
        if self.taught.beside == BESIDE_ERASED and local >= CLEARLY:
            text += "ψ sees a neighbourhood, and around this place it looks odd, so both branches respond. "
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
        if lesson.calibration.ignored is not None:
            notes.append("This model ignores areas of the photo. Steps 2 to 8 show them like all others; "
                         "step 9 leaves them out, and so does the verdict.")
        if self.taught.way.left_out - {"combination"}:
            notes.append("Without these additions, what is usual is measured again on the good photos that "
                         "the model keeps, so scores differ a little from those of a training without them.")
        return " ".join(notes)

    # --- other networks

    def _variants(self) -> list[dict[str, Any]]:
        """The small models that one can choose instead, with what they found; none but for the demo."""
        if self.taught.model != library.DEMO:
            return []
        found = variants.found_in(FOLDER)
        return [{"name": each.name, "label": each.label, "look_at": each.look_at, "found": found[each.name]}
                for each in variants.VARIANTS]

    def _learning(self) -> dict[str, Any] | None:
        """The losses of the training that one can watch, if it is the chosen one."""
        if self.taught.way.variant != variants.WHOLE.name:
            return None
        of = learning()
        ends = np.linspace(0, of.losses.shape[1], POINTS + 1).astype(int)
        means = [[float(row[a:b].mean()) for a, b in pairwise(ends)] for row in of.losses]
        losses = dict(zip(stages.LOSSES, np.round(means, 5).tolist(), strict=True))
        return {"steps": of.steps, "losses": losses}

    def _of_levels(self) -> dict[str, Any]:
        return {"held_out": histograms(self.first.calibration, self.first.normalisation),
                "levels": {"moved": self.taught.levels is not None}}

    # --- what changes with the patch

    def _patch(self, row: int, column: int) -> dict[str, Any]:
        row, column = self.within(row, column)
        numbers = [patch.numbers(lesson, row, column) for lesson in self.lessons]
        return {"at": [row, column], "numbers": [patch.joined(parts) for parts in zip(*numbers, strict=True)],
                "sides": [{"pictures": _sent(self._of_patch(lesson, row, column)),
                           "charts": patch.charts(lesson, row, column),
                           "notes": patch.notes(lesson, row, column)} for lesson in self.lessons]}

    def _of_patch(self, lesson: Lesson, row: int, column: int) -> dict[str, Layer]:
        high = float(self.first.attention_at(row, column).max())
        found = {"self": Layer("heat", "W of the patch", _heat(lesson.attention_at(row, column), high))}
        cross = lesson.cross_attention_at(row, column)
        if cross is not None:
            found["cross"] = Layer("heat", "Ŵ of û", _heat(cross, high))
        return found


def failed(error: InputError) -> str:
    """JSON for learn.js: an error in place of the lesson."""
    return json.dumps({"problem": f"<b>This did not work.</b> {escape(str(error))}"})


def _sent(layers: dict[str, Layer]) -> dict[str, dict[str, str]]:
    return {name: layer.sent for name, layer in layers.items()}


def _heat(values: np.ndarray, high: float) -> Image.Image:
    height, width = values.shape
    return rendering.heat(stretch(values, (FINER * height, FINER * width)), 0, high)
