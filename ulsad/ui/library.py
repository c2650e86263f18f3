"""What the app holds on the server: models, photos and predictions, cached within bounds.

The browser and `gr.State` only ever hold paths; gradio would copy anything larger for every visitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial, wraps
from html import escape
from inspect import isgeneratorfunction
from pathlib import Path

import gradio as gr
import torch
from PIL import Image

from ulsad import attention, runs
from ulsad.backbones import FeatureExtractor, load_backbone
from ulsad.config import Config
from ulsad.criterion import Criterion
from ulsad.detector import Ulsad
from ulsad.errors import InputError
from ulsad.images import find_images, read_image
from ulsad.inside import Inside, look_inside

ASSETS = Path(__file__).resolve().parents[2] / "assets"
DEMO_MODEL = ASSETS / "demo.safetensors"


def demo_photos() -> list[str]:
    """Photos of the synthetic part tray that ship with the app."""
    return [str(path) for path in find_images(ASSETS / "demo")]


def models(models_dir: Path) -> list[tuple[str, str]]:
    """(label, path) of every model that can be opened: trained ones, newest first, then the demo."""
    trained = [(folder.name, model) for folder in runs.all_runs(models_dir)
               if (model := runs.read(folder).model)]
    loose = [(file.stem, file) for file in sorted(models_dir.glob("*.safetensors"))]
    return [(label, str(path)) for label, path in trained + loose] + [("demo tray", str(DEMO_MODEL))]


def detector(model: str, models_dir: Path) -> Ulsad:
    """The model at a path, loaded once; backbone weights are also looked for in `models_dir`/weights."""
    return _detector(model, version(model), models_dir / runs.WEIGHTS)


@lru_cache(maxsize=4)
def _detector(model: str, version: int, weights: Path) -> Ulsad:
    uploaded = next(iter(Path(model).parent.glob("weights.*")), None)
    return Ulsad.load(model, uploaded or weights)


def save_criterion(model: str, name: str, criterion: Criterion, models_dir: Path) -> tuple[str, list[str]]:
    """Add a criterion to a model's file as it is now, the demo's to a copy of it.

    Return the file and the names of all criteria in it. Raises `InputError` when it can't be written.
    """
    file = models_dir / "demo tray, own criteria.safetensors" if model == str(DEMO_MODEL) else Path(model)
    kept = detector(str(file) if file.exists() else model, models_dir).with_criterion(name, criterion)
    kept.save(file)
    return str(file), list(kept.criteria)


def criteria(model: str, models_dir: Path) -> dict[str, Criterion]:
    """What is saved in a model's file now, by name."""
    return detector(model, models_dir).criteria


def version(file: str) -> int:
    """Changes with the file. Raises `InputError` when it is gone."""
    try:
        return Path(file).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{file} is gone. Choose another one.") from error


def photo(path: str) -> Image.Image:
    """A photo through the one loader, at its own size; read again when the file has changed."""
    return _photo(path, version(path))


@lru_cache(maxsize=16)
def _photo(path: str, version: int) -> Image.Image:
    return read_image(path)


def patch_features(
    backbone: str, layers: tuple[str, str], weights: str | None, path: str, models_dir: Path
) -> torch.Tensor:
    """U of one photo through a pre-trained network, whose weights come from a visitor's file, or else are
    looked for in `models_dir`/weights. Raises `InputError` when photo or weights can't be read."""
    extractor = _extractor(backbone, layers, Path(weights) if weights else models_dir / runs.WEIGHTS)
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
    return look_inside(opened.branches, photo(path))


def folder_on_server(data_root: Path | None, folder: str) -> Path:
    """A folder named by a visitor. Raises `InputError` unless it lies below `data_root`."""
    if data_root is None:
        raise InputError("Folders on the server are off; start the app with --data-root DIR.")
    try:
        path = (data_root / folder).resolve()
        is_below = path.is_relative_to(data_root.resolve()) and path.exists()
    except (OSError, ValueError):  # a name too long, or with a null in it
        is_below = False
    if not is_below:
        raise InputError(f"There is no '{folder}' below {data_root}.")
    return path


def shown(function):
    """Let a tab's function, or generator, show `InputError` to the user as it is."""
    @wraps(function)
    def wrapped(*arguments):
        with _shown():
            return function(*arguments)

    @wraps(function)
    def generated(*arguments):
        with _shown():
            yield from function(*arguments)

    inner = function.func if isinstance(function, partial) else function
    return generated if isgeneratorfunction(inner) else wrapped


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise toast(error) from error


def toast(error: InputError) -> gr.Error:
    """A message that stays until it is closed; gradio takes its text as HTML."""
    return gr.Error(escape(str(error)), title="This did not work", duration=None)
