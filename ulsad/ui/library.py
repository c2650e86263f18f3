"""What the app holds on the server: models, photos and predictions, cached within bounds.

The browser and `gr.State` only ever hold paths; gradio would copy anything larger for every visitor.
"""

from __future__ import annotations

from functools import lru_cache, wraps
from pathlib import Path

import gradio as gr
import torch
from PIL import Image

from ulsad import attention, runs
from ulsad.backbones import FeatureExtractor, load_backbone
from ulsad.config import Config
from ulsad.detector import Ulsad
from ulsad.errors import InputError
from ulsad.images import find_images, read_image
from ulsad.prediction import Prediction

ASSETS = Path(__file__).resolve().parents[2] / "assets"
DEMO_MODEL = ASSETS / "demo.safetensors"
WEIGHTS = "weights"  # the folder of the models directory for backbones' published weights files


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
    return _detector(model, _version(model), models_dir / WEIGHTS)


@lru_cache(maxsize=4)
def _detector(model: str, version: int, weights: Path) -> Ulsad:
    uploaded = next(iter(Path(model).parent.glob("weights.*")), None)
    return Ulsad.load(model, uploaded or weights)


def prediction(model: str, photo: str, models_dir: Path) -> Prediction:
    """The raw maps of a photo; moving a slider afterwards finds them here."""
    return _prediction(model, _version(model), photo, _version(photo), models_dir)


@lru_cache(maxsize=64)
def _prediction(
    model: str, model_version: int, photo: str, photo_version: int, models_dir: Path
) -> Prediction:
    return detector(model, models_dir).predict(photo)


def _version(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{file} is gone. Choose another one.") from error


def photo(path: str) -> Image.Image:
    """A photo through the one loader, at its own size; read again when the file has changed."""
    return _photo(path, _version(path))


@lru_cache(maxsize=16)
def _photo(path: str, version: int) -> Image.Image:
    return read_image(path)


@lru_cache(maxsize=2)
def _backbone(name: str, weights: Path) -> FeatureExtractor:
    return load_backbone(Config(backbone=name), weights)


def patch_features(backbone: str, path: str, models_dir: Path) -> torch.Tensor:
    """Standardised patch features of one photo, for the Attention tab."""
    return _patch_features(backbone, path, _version(path), models_dir)


@lru_cache(maxsize=8)
def _patch_features(backbone: str, path: str, version: int, models_dir: Path) -> torch.Tensor:
    extractor = _backbone(backbone, models_dir / WEIGHTS)
    return attention.patch_features(extractor, photo(path), Config().image_size)


def shown(function):
    """Let a tab's function show `InputError` to the user as it is."""
    @wraps(function)
    def wrapped(*arguments):
        try:
            return function(*arguments)
        except InputError as error:
            raise gr.Error(str(error), title="This did not work", duration=None) from error
    return wrapped
