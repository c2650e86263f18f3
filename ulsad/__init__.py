"""ULSAD: a detector of structural and logical defects, trained on photos of good parts alone."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Read when torch is loaded. Waiting threads that spin take the cores from working ones: scoring and drawing
# would be a third slower, and an app beside a training several times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def lazy(package: str, face: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: `face` maps names to their modules, which load on first use."""
    def attribute(name: str) -> Any:
        if name not in face:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{face[name]}"), name)
    return attribute


_FACE = {
    "Ulsad": "detector.detector", "Prediction": "detector.prediction", "Config": "method.config",
    "PRESETS": "method.config", "Progress": "detector.fitting", "Watch": "detector.fitting",
    "TrainingDiverged": "detector.fitting",
    "Skipped": "photos.images", "InputError": "errors"}
__all__ = list(_FACE)
__getattr__ = lazy(__name__, _FACE)
