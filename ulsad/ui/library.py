"""Models, photos and predictions that the app keeps on the server, in bounded caches.

The browser and `gr.State` only hold paths, as gradio would copy anything larger for every visitor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial, wraps
from html import escape
from inspect import isgeneratorfunction
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
import torch
from PIL import Image

from ulsad.attention import attention
from ulsad.attention.inside import Inside, look_inside
from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.method.backbones import FeatureExtractor, load_backbone
from ulsad.method.config import Config
from ulsad.photos.images import find_images, read_photo
from ulsad.runs import directory, marks, parts, scored
from ulsad.runs.marks import Marks
from ulsad.runs.scored import Log

_PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = next(filter(Path.is_dir, (_PACKAGE / "assets", _PACKAGE.parent / "assets")))  # installed; checkout
DEMO_MODEL = ASSETS / "demo.safetensors"
DEMO = ":demo"  # its name in the list of models; no run can have this name
DEMO_LABEL = directory.DEMO
MOST_PIXELS = 100_000_000  # of photos in memory, 3 bytes each; the last one is always kept

_photos: OrderedDict[tuple, Image.Image] = OrderedDict()  # the least recently used first
_photos_lock = Lock()


def demo_photos() -> list[Path]:
    """Photos of the synthetic part tray that ship with the app."""
    return find_images(ASSETS / "demo")


def models(models_dir: Path) -> list[str]:
    """The name of every model that can be opened: trained ones, newest first, then the demo.

    The name is PART/VERSION, a run's folder, a file beside the runs, or `DEMO`.
    """
    trained = [directory.name_of(folder) for folder in directory.all_runs(models_dir)
               if directory.read(folder).model]
    return [*trained, *(file.name for file in directory.lone_models(models_dir)), DEMO]


def part_of(model: str) -> str:
    """The part that a model judges; a model by itself is the only one of its part."""
    return model.partition("/")[0]


def all_parts(models: Sequence[str]) -> list[tuple[str, str]]:
    """(label, name) of the parts of these models, in their order."""
    return [(label(part), part) for part in dict.fromkeys(map(part_of, models))]


def versions(part: str, models: Sequence[str], models_dir: Path) -> list[tuple[str, str]]:
    """(label, name) of a part's models; the label says which one is in use."""
    used = in_use(part, models, models_dir)
    return [(_version_label(model) + (" · in use" if model == used and "/" in model else ""), model)
            for model in models if part_of(model) == part]


def _version_label(model: str) -> str:
    return model.partition("/")[2] or directory.ONLY


def in_use(part: str, models: Sequence[str], models_dir: Path) -> str:
    """The model that judges a part's photos. Raises `InputError` where the part has no model."""
    of_part = [model for model in models if part_of(model) == part]
    if not of_part:
        raise InputError(f"'{part}' has no model yet. Choose another part.")
    if "/" not in of_part[0]:
        return of_part[0]
    version = parts.in_use(parts.named(models_dir, part))
    return directory.name_of(version) if version else of_part[0]


def label(model: str) -> str:
    """The name of a model or part as shown to the user."""
    return DEMO_LABEL if model == DEMO else model.removesuffix(directory.SUFFIX).replace("/", ", ")


def model_file(model: str | None, models_dir: Path) -> Path:
    """The file of a model, found by comparing names, never by building a path: any visitor may send a name.

    Raises `InputError` where there is none.
    """
    if model == DEMO:
        return DEMO_MODEL
    for file in directory.lone_models(models_dir):
        if file.name == model:
            return file
    trained = directory.read(directory.named(models_dir, model)).model
    if trained is None:
        raise InputError(f"'{model}' has no model yet. Choose another one.")
    return trained


def detector(model: str, models_dir: Path) -> Ulsad:
    """The model of that name, loaded once; `models_dir`/weights is also searched for backbone weights."""
    return loaded(model_file(model, models_dir), models_dir)


def loaded(file: Path, models_dir: Path) -> Ulsad:
    """The model in a file of this program's own, likewise."""
    return _detector(str(file), version(str(file)), models_dir / directory.WEIGHTS)


@lru_cache(maxsize=4)
def _detector(file: str, version: int, weights: Path) -> Ulsad:
    uploaded = next(iter(Path(file).parent.glob("weights.*")), None)
    return Ulsad.load(file, uploaded or weights)


def save_criterion(model: str, name: str, criterion: Criterion, models_dir: Path) -> tuple[str, list[str]]:
    """Add a criterion to a model's current file; for the demo, to a copy of the file.

    Return the model's name and the names of all its criteria. Raises `InputError` when it can't be written.
    """
    if model == DEMO:
        own = models_dir / f"{DEMO_LABEL}, own criteria{directory.SUFFIX}"
        kept = detector(own.name if own.exists() else DEMO, models_dir).with_criterion(name, criterion)
        kept.save(own)
        return own.name, list(kept.criteria)
    kept = detector(model, models_dir).with_criterion(name, criterion)
    kept.save(model_file(model, models_dir))
    return model, list(kept.criteria)


def criteria(model: str, models_dir: Path) -> dict[str, Criterion]:
    """The criteria saved in a model's current file, by name."""
    return detector(model, models_dir).criteria


def marks_of(model: str, models_dir: Path) -> Marks:
    """What people said of photos that this model judged. Raises `InputError` where there is no such model."""
    if model == DEMO:
        return Marks(models_dir / f"{DEMO_LABEL}.{directory.MARKS}")
    return marks.beside(model_file(model, models_dir))


def log_of(model: str, models_dir: Path) -> Log:
    """The photos that this model has scored. Raises `InputError` where there is no such model."""
    if model == DEMO:
        return Log(models_dir / f"{DEMO_LABEL}.{directory.SCORED}")
    return scored.beside(model_file(model, models_dir))


def version(file: str) -> int:
    """A number that changes with the file. Raises `InputError` when the file is gone."""
    try:
        return Path(file).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{file} is gone. Choose another one.") from error


def photo(path: str, white_level: float | None = None, at_least: int | None = None) -> Image.Image:
    """A photo at its own size, read again when the file has changed. `white_level` is the model's; without
    one, the photo's own is used for more than 8 bits. See `read_photo` for `at_least`."""
    key = path, version(path), white_level, at_least
    with _photos_lock:
        if found := _photos.get(key):
            _photos.move_to_end(key)
            return found
    image = read_photo(path, white_level, at_least).image
    with _photos_lock:
        _photos[key] = image
        while len(_photos) > 1 and sum(kept.width * kept.height for kept in _photos.values()) > MOST_PIXELS:
            _photos.popitem(last=False)
    return image


def patch_features(
    backbone: str, layers: tuple[str, str], weights: str | None, path: str, models_dir: Path
) -> torch.Tensor:
    """Features U of one photo from a pre-trained network. Its weights come from the visitor's file, or else
    from `models_dir`/weights. Raises `InputError` when photo or weights can't be read."""
    extractor = _extractor(backbone, layers, Path(weights) if weights else models_dir / directory.WEIGHTS)
    return _patch_features(extractor, path, version(path))


@lru_cache(maxsize=2)
def _extractor(backbone: str, layers: tuple[str, str], weights: Path) -> FeatureExtractor:
    return load_backbone(Config(backbone=backbone, layers=layers), weights)


@lru_cache(maxsize=8)  # a MB each with the usual layers, 22 with the finest
def _patch_features(extractor: FeatureExtractor, path: str, version: int) -> torch.Tensor:
    return attention.patch_features(extractor, photo(path), Config().image_size)


def inside(model: str, path: str, models_dir: Path) -> Inside:
    """Both branches' view of one photo. Raises `InputError` when model or photo can't be read."""
    return _inside(detector(model, models_dir), path, version(path))


@lru_cache(maxsize=8)  # a few MB each, plus the detectors that they keep alive
def _inside(opened: Ulsad, path: str, version: int) -> Inside:
    return look_inside(opened.branches, opened.square(path).pixels)


def folder_on_server(data_root: Path | None, folder: str) -> Path:
    """A folder named by a visitor, looked up level by level among the existing ones.

    Raises `InputError` unless it lies below `data_root`, links resolved.
    """
    if data_root is None:
        raise InputError("Folders on the server are disabled. Start the app with --data-root DIR.")
    root = place = data_root.resolve()
    inside = folder.strip().removeprefix(f"{data_root}/").split("/")
    for part in (part for part in inside if part not in ("", ".")):
        beside = place.iterdir() if place.is_dir() else ()
        found = next((path for path in beside if path.name == part), None)
        if found is None or not found.resolve().is_relative_to(root):
            raise InputError(f"There is no '{folder}' below {data_root}.")
        place = found
    return place.resolve()


def show_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a tab's function or generator so that the user sees the text of an `InputError`."""
    inner = function.func if isinstance(function, partial) else function

    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        with _errors_shown():
            return function(*arguments)

    @wraps(function)
    def generated(*arguments: Any) -> Iterator[Any]:
        with _errors_shown():
            yield from function(*arguments)

    result = generated if isgeneratorfunction(inner) else wrapped
    result.__name__ = inner.__name__  # a partial has none; gradio names events by it
    return result


@contextmanager
def _errors_shown() -> Iterator[None]:
    try:
        yield
    except (InputError, OSError) as error:  # users can fix disk errors, such as a full disk
        raise toast(error) from error


def toast(error: Exception) -> gr.Error:
    """A message that stays until closed. Gradio treats its text as HTML and fails on invalid UTF-8."""
    text = str(error).encode(errors="replace").decode()
    return gr.Error(escape(text), title="This did not work", duration=None, print_exception=False)
