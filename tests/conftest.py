"""Shared by all tests: a tiny demo set and one detector trained on it, made once per session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ulsad import Config, Ulsad
from ulsad.demo.dataset import write_demo

# Tests compare bits, which GPUs don't repeat; test_gpu.py wants to be shown one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

ASSETS = Path(__file__).resolve().parents[1] / "assets"
DEMO_MODEL, DEMO_PHOTOS = ASSETS / "demo.safetensors", sorted((ASSETS / "demo").glob("*.jpg"))
SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY = Config(frn_width=32, autoencoder_width=16, augmented_photos=0, steps=12, batch_size=8,
              precision="float32")


def shared(path: str) -> Path:
    """A file of the measuring data beside the checkout; the test is skipped where it is absent."""
    place = SHARED / path
    if not place.exists():
        pytest.skip(f"needs {path} in a folder 'shared' beside the checkout")
    return place


@pytest.fixture
def in_float64():
    """Training amplifies rounding: in float32 from 1e-7 to 5e-3 within twenty steps. And nothing is TF32."""
    import torch  # not above: ulsad has to be loaded before it, see there

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "tray"
    write_demo(folder, seed=5, train=12, validation=2, test_good=3, per_kind=1)
    return folder


@pytest.fixture(scope="session")
def good_photos(demo_set) -> Path:
    return demo_set / "train" / "good"


@pytest.fixture(scope="session")
def detector(good_photos) -> Ulsad:
    """Trained for a dozen steps: its numbers are poor, its mechanics are real."""
    return Ulsad.fit(good_photos, TINY)
