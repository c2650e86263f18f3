"""What the app holds on the server: models, photos and predictions, cached within bounds.

The browser and `gr.State` only ever hold paths; gradio would copy anything larger for every visitor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
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
from ulsad.photos.images import find_images, read_image
from ulsad.runs import directory

_PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = next(filter(Path.is_dir, (_PACKAGE / "assets", _PACKAGE.parent / "assets")))  # installed; checkout
DEMO_MODEL = ASSETS / "demo.safetensors"
DEMO = ":demo"  # its name in the list of models; no run can be called that
DEMO_LABEL = "demo tray"
MOST_PIXELS = 100_000_000  # of photos in memory, 3 bytes each; the last one is always kept

_photos: OrderedDict[tuple, Image.Image] = OrderedDict()  # the least recently used first
_photos_lock = Lock()


def demo_photos() -> list[Path]:
    """Photos of the synthetic part tray that ship with the app."""
    return find_images(ASSETS / "demo")


def models(models_dir: Path) -> list[tuple[str, str]]:
    """(label, name) of every model that can be opened: trained ones, newest first, then the demo.

    A name is that of a run's folder, of a file beside the runs, or `DEMO`.
    """
    trained = [folder.name for folder in directory.all_runs(models_dir) if directory.read(folder).model]
    loose = [file.name for file in directory.lone_models(models_dir)]
    return [(label(name), name) for name in (*trained, *loose, DEMO)]


def label(model: str) -> str:
    """What people call the model of that name."""
    return DEMO_LABEL if model == DEMO else model.removesuffix(directory.SUFFIX)


def model_file(model: str | None, models_dir: Path) -> Path:
    """The file of the model of that name, looked up among those that are there.

    Raises `InputError` where there is none: a name may come from anybody.
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
    """The model of that name, loaded once; backbone weights are also looked for in `models_dir`/weights."""
    file = str(model_file(model, models_dir))
    return _detector(file, version(file), models_dir / directory.WEIGHTS)


@lru_cache(maxsize=4)
def _detector(file: str, version: int, weights: Path) -> Ulsad:
    uploaded = next(iter(Path(file).parent.glob("weights.*")), None)
    return Ulsad.load(file, uploaded or weights)


def save_criterion(model: str, name: str, criterion: Criterion, models_dir: Path) -> tuple[str, list[str]]:
    """Add a criterion to a model's file as it is now, the demo's to a copy of it.

    Return the model and the names of all criteria in it. Raises `InputError` when it can't be written.
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
    """What is saved in the file of a model now, by name."""
    return detector(model, models_dir).criteria


def version(file: str) -> int:
    """Changes with the file. Raises `InputError` when it is gone."""
    try:
        return Path(file).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{file} is gone. Choose another one.") from error


def photo(path: str, white_level: float | None = None) -> Image.Image:
    """A photo through the one loader, at its own size; read again when the file has changed. What is white in
    more than 8 bits is a model's to say, or else the photo's own."""
    key = path, version(path), white_level
    with _photos_lock:
        if found := _photos.get(key):
            _photos.move_to_end(key)
            return found
    image = read_image(path, white_level)
    with _photos_lock:
        _photos[key] = image
        while len(_photos) > 1 and sum(kept.width * kept.height for kept in _photos.values()) > MOST_PIXELS:
            _photos.popitem(last=False)
    return image


def patch_features(
    backbone: str, layers: tuple[str, str], weights: str | None, path: str, models_dir: Path
) -> torch.Tensor:
    """U of one photo through a pre-trained network, whose weights come from a visitor's file, or else are
    looked for in `models_dir`/weights. Raises `InputError` when photo or weights can't be read."""
    extractor = _extractor(backbone, layers, Path(weights) if weights else models_dir / directory.WEIGHTS)
    return _patch_features(extractor, path, version(path))


@lru_cache(maxsize=2)
def _extractor(backbone: str, layers: tuple[str, str], weights: Path) -> FeatureExtractor:
    return load_backbone(Config(backbone=backbone, layers=layers), weights)


@lru_cache(maxsize=8)  # a MB each with the usual layers, 22 with the finest
def _patch_features(extractor: FeatureExtractor, path: str, version: int) -> torch.Tensor:
    return attention.patch_features(extractor, photo(path), Config().image_size)


def inside(model: str, path: str, models_dir: Path) -> Inside:
    """What both branches of a model make of one photo. Raises `InputError` when either can't be read."""
    return _inside(detector(model, models_dir), path, version(path))


@lru_cache(maxsize=8)  # a few MB each, and the detectors they come from
def _inside(opened: Ulsad, path: str, version: int) -> Inside:
    return look_inside(opened.branches, photo(path, opened.config.white_level))


def folder_on_server(data_root: Path | None, folder: str) -> Path:
    """A folder named by a visitor, looked up step by step among those that are there.

    Raises `InputError` unless it lies below `data_root`, also where a link leads out of it.
    """
    if data_root is None:
        raise InputError("Folders on the server are off; start the app with --data-root DIR.")
    root = place = data_root.resolve()
    inside = folder.strip().removeprefix(f"{data_root}/").split("/")
    for part in (part for part in inside if part not in ("", ".")):
        beside = place.iterdir() if place.is_dir() else ()
        found = next((path for path in beside if path.name == part), None)
        if found is None or not found.resolve().is_relative_to(root):
            raise InputError(f"There is no '{folder}' below {data_root}.")
        place = found
    return place.resolve()


def shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a tab's function, or generator, show `InputError` to the user as it is."""
    inner = function.func if isinstance(function, partial) else function

    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        with _shown():
            return function(*arguments)

    @wraps(function)
    def generated(*arguments: Any) -> Iterator[Any]:
        with _shown():
            yield from function(*arguments)

    result = generated if isgeneratorfunction(inner) else wrapped
    result.__name__ = inner.__name__  # which a partial has not; gradio lists events by it
    return result


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except (InputError, OSError) as error:  # what a disk refuses is the user's to mend
        raise toast(error) from error


def toast(error: Exception) -> gr.Error:
    """A message that stays until it is closed; gradio takes its text as HTML, and breaks off at what is no
    UTF-8."""
    text = str(error).encode(errors="replace").decode()
    return gr.Error(escape(text), title="This did not work", duration=None, print_exception=False)
