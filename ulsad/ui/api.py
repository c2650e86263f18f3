"""What other programs may call, beside the page: `models` and `score`, with gradio_client or curl."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from ulsad.errors import InputError
from ulsad.line.answer import Maps, answer
from ulsad.line.judge import Judge, chosen, sha256_of
from ulsad.photos.images import Skipped
from ulsad.ui import library
from ulsad.ui.slot import uploaded


def build(models_dir: Path) -> None:
    """Add both to the page."""

    def models() -> list[dict[str, Any]]:
        """Every model that can judge photos: its name, its label, its part, and whether it is the version
        in use of that part."""
        names = library.models(models_dir)
        used = {part: library.in_use(part, names, models_dir) for part in map(library.part_of, names)}
        return [{"model": name, "label": library.label(name), "part": library.part_of(name),
                 "in_use": name in used.values()} for name in names]

    def score(photo: dict[str, Any], model: str, criterion: str = "", maps: Maps = "") -> dict[str, Any]:
        """The verdict on a photo, with what it is based on.

        photo: a file that was uploaded here; with gradio_client handle_file("photo.jpg").
        model: a name, a label or a part from `models`; a part's version in use judges.
        criterion: the name of a saved one; without it, thresholds are the suggested ones.
        maps: "picture" for a PNG of the maps, or "values" for an .npz with them, in base64.
        """
        if maps not in get_args(Maps):
            raise InputError("maps must be 'picture', 'values' or empty.")
        if not isinstance(photo, dict):
            raise InputError("The photo must be a file: handle_file(\"photo.jpg\") with gradio_client, or "
                             "{\"path\": …} with the path of an upload.")
        file, name = uploaded(photo, "orig_name")
        judge = _judge(_named(str(model), models_dir), str(criterion or ""), models_dir)
        result = next(judge.verdicts({file: name}))
        if isinstance(result, Skipped):
            return answer(judge, judge.unreadable(result, name), None)
        return answer(judge, *result, maps)

    for function in (models, score):
        gr.api(_told(function), api_name=function.__name__)


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrapped so that the caller gets the text of an error; unlike on the page, it is no HTML."""

    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (InputError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped


def _named(model: str, models_dir: Path) -> str:
    """The model of that name or label, or the one in use of the part of that name. Raises `InputError`."""
    known = library.models(models_dir)
    names = {library.label(name): name for name in known} | {name: name for name in known}
    if model in names:
        return names[model]
    if model in map(library.part_of, known):
        return library.in_use(model, known, models_dir)
    raise InputError(f"There is no model or part '{model}'. Choose from {', '.join(names)}.")


def _judge(model: str, criterion: str, models_dir: Path) -> Judge:
    file = library.model_file(model, models_dir)
    return _judge_of(file, library.version(str(file)), model, criterion, models_dir)


@lru_cache(maxsize=4)
def _judge_of(file: Path, version: int, model: str, criterion: str, models_dir: Path) -> Judge:
    detector = library.detector(model, models_dir)
    return Judge.of(detector, chosen(detector, criterion or None), file.name, sha256_of(file), criterion)
