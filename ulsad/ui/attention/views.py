"""Component values for the Attention tab; every network result comes from a cache."""

from __future__ import annotations

import json
from functools import cached_property
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ulsad.attention.attention import attention_over, patch_at, share_of_second, spread, standardised
from ulsad.attention.concepts import Concept, concepts
from ulsad.attention.inside import Inside, Term
from ulsad.detector import rendering
from ulsad.detector.prediction import stretch
from ulsad.errors import InputError
from ulsad.ui import library
from ulsad.ui.attention import photo_list
from ulsad.ui.inspect import viewer

MODEL = "the model chosen above"
STANDARDISED, RAW = "standardised", "raw"
FINER = 4  # maps are sent at this multiple of the grid, so that browsers stretch them smoothly

Place = tuple[float, float]  # position of the query patch, x and y as fractions of photo A


class Looking(NamedTuple):
    """The tab's inputs in order: photos, network and query patch."""

    pair: tuple[str, str]  # paths of photo A and of photo B, "" for none
    network: str  # a backbone, or MODEL
    fine: str  # layer j
    coarse: str  # layer j+1
    weights: str | None  # a file uploaded by the visitor
    kind: str  # of features, STANDARDISED or RAW
    temperature: float
    model: str  # name of the model in the header
    place: Place

    @property
    def photo(self) -> str:
        return self.pair[0]

    @property
    def other(self) -> str:
        return self.pair[1]


class View:
    """The attention maps of one query patch."""

    def __init__(self, looking: Looking, models_dir: Path) -> None:
        """Raises `InputError` where a photo, the weights or the model can't be read."""
        self.looking, self.models_dir = looking, models_dir
        self.first, self.second = self._features(looking.photo), None
        if looking.other:
            self.second = self._features(looking.other)
        _, height, width = self.first.shape
        self.grid = (height, width)
        self.row, self.column = patch_at(*looking.place, (1, 1), self.grid)
        self.query = self.first[:, self.row, self.column]

    @property
    def with_model(self) -> bool:
        return self.looking.network == MODEL

    def _features(self, path: str) -> Tensor:
        """The features that the method compares; photo B is standardised like photo A."""
        looking = self.looking
        if self.with_model:
            return self._inside(path).features
        raw, raw_a = (
            library.patch_features(looking.network, (looking.fine, looking.coarse), looking.weights, each,
                                   self.models_dir) for each in (path, looking.photo))
        return raw if looking.kind == RAW else standardised(raw, raw_a)

    def _inside(self, path: str) -> Inside:
        return library.inside(self.looking.model, path, self.models_dir)

    @cached_property
    def own(self) -> np.ndarray:
        """W[:, q] over photo A."""
        return attention_over(self.first, self.query, self.looking.temperature)

    def concepts(self, count: int, matched: bool) -> list[Concept]:
        return concepts(self.first, count, None if matched else self.looking.temperature)

    def value(self, peek: bool = False) -> str:
        """JSON for attention.js."""
        views = {"photo": _view("Photo A: click a patch", None, 1, f"row {self.row}, column {self.column}"),
                 "self": _view("Teacher: its self-attention W" if self.with_model else
                               "Its attention over photo A", self.own, self.own.max(), _shared(self.own)),
                 "other": self._over_other(), **self._of_model()}
        return json.dumps({
            "photo": photo_list.shown(self.looking.photo),
            "other": photo_list.shown(self.looking.other) if self.looking.other else None,
            "grid": self.grid, "patch": [self.row, self.column], "peek": peek, "views": views,
            "text": self._text(), "losses": self._losses()})

    def _over_other(self) -> dict[str, str] | None:
        """In the colours of photo A, so that photo B stays dark where nothing matches."""
        if self.second is None:
            return None
        weights = attention_over(self.second, self.query, self.looking.temperature)
        return _view("Its attention over photo B", weights, self.own.max(), _shared(weights))

    def _of_model(self) -> dict[str, dict[str, str] | None]:
        views: dict[str, dict[str, str] | None] = {"cross": None, "error": None, "error-other": None}
        first = self._inside(self.looking.photo) if self.with_model else None
        if first is None or first.global_features is None or first.attention_error is None:
            return views
        query = first.global_features[:, self.row, self.column]
        cross = attention_over(self.first, query, self.looking.temperature)
        error = first.attention_error
        second = self._inside(self.looking.other).attention_error if self.looking.other else None
        largest = max(float(of.max()) for of in (error, second) if of is not None)
        if second is not None:
            views |= {"error-other": _view("|A − Â| of photo B", second, largest,
                                           f"at most {second.max():.2f}")}
        return views | {
            "cross": _view("Global branch: its cross-attention Ŵ", cross, self.own.max(), _shared(cross)),
            "error": _view("|A − Â| of photo A", error, largest, "what the global loss sees: "
                           f"{error[self.row, self.column]:.2f} here, at most {error.max():.2f}")}

    def _text(self) -> str:
        to_itself = self.own[self.row, self.column]
        text = (f"The patch in row {self.row}, column {self.column} of {self.grid[0]} × {self.grid[1]} gives "
                f"{_percent(to_itself)} of its attention to itself and spreads it over about "
                f"<b>{_count(spread(self.own))}</b>.")
        if self.second is None:
            return text
        share = share_of_second(self.first, self.second, self.query, self.looking.temperature)
        return text + (" When the patches of both photos compete for attention, photo B gets "
                       f"<b>{_percent(share)}</b>. About half means that B has as many similar patches as A; "
                       "near 0 means that nothing matches: the part is missing or rotated.")

    def _losses(self) -> str:
        """A table of the loss terms for photos A and B; "" without a model."""
        if not self.with_model:
            return ""
        paths = [path for path in (self.looking.photo, self.looking.other) if path]
        columns = [self._inside(path).terms for path in paths]
        head = "".join(f"<th>photo {name}</th>" for name in "AB"[:len(paths)])
        rows = "".join(f"<tr><td>{_LOSSES[terms[0].name]}</td>{''.join(map(_cell, terms))}</tr>"
                       for terms in zip(*columns, strict=True))
        return (f"<table class='numbers'><tr><th>losses, means over the photo</th>{head}</tr>{rows}</table>"
                "<p>Each is l<sub>v</sub> + λ l<sub>d</sub> (Eq. 2): the distance between two vectors plus "
                "the difference in their direction. Always at the paper's temperature.</p>")


def _cell(term: Term) -> str:
    parts = f"{term.value:.4f} + {term.weight:g} · {term.direction:.4f}"
    return f"<td><b>{term.total:.4f}</b> <small>{parts}</small></td>"


_LOSSES = {
    "L_pl": "L<sub>pl</sub> (Eq. 1): the local branch's reconstruction vs. the features",
    "L_pg": "L<sub>pg</sub> (Eq. 5): the global branch vs. the teacher",
    "L_lg": "L<sub>lg</sub> (Eq. 6): the local branch vs. the global branch",
}


def failed(error: InputError) -> str:
    """JSON for attention.js: an error in place of the maps."""
    return json.dumps({"problem": f"<b>This did not work.</b> {escape(str(error))}"})


def strip(view: View, found: list[Concept]) -> str:
    """JSON for concepts.js."""
    return json.dumps({
        "photo": photo_list.shown(view.looking.photo), "grid": view.grid,
        "concepts": [{"patch": [concept.row, concept.column],
                      "heat": _heat(concept.attention, concept.attention.max()),
                      "note": f"{_count(concept.members.sum())}, {concept.temperature:.2g} · √c*"}
                     for concept in found]})


def _view(title: str, weights: np.ndarray | None, high: float, note: str) -> dict[str, str]:
    return {"title": title, "heat": "" if weights is None else _heat(weights, high), "note": note}


def _heat(weights: np.ndarray, high: float) -> str:
    height, width = weights.shape
    fine = stretch(weights, (FINER * height, FINER * width))
    return viewer.data_url(rendering.heat(fine, 0, float(high)))


def _shared(weights: np.ndarray) -> str:
    return f"{_percent(weights.max())} to the brightest, shared by {_count(spread(weights))}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _count(patches: float) -> str:
    return "1 patch" if round(patches) == 1 else f"{patches:.0f} patches"
