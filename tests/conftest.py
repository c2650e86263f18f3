"""Shared by all tests: a tiny demo set and one detector trained on it, made once per session."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ulsad import Config, Ulsad
from ulsad.demo.dataset import write_demo

# Tests compare bits, which GPUs don't repeat; test_gpu.py wants to be shown one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# After every event gradio would sum up all events before, which takes longer and longer.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")

ASSETS = Path(__file__).resolve().parents[1] / "assets"
DEMO_MODEL, DEMO_PHOTOS = ASSETS / "demo.safetensors", sorted((ASSETS / "demo").glob("*.jpg"))
SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY = Config(frn_width=32, autoencoder_width=16, augmented_photos=0, steps=12, batch_size=8,
              precision="float32", stop_when_still=False, folds=1)
BRIEF = replace(TINY, autoencoder_width=8, steps=2)  # for what has nothing to do with how well it is trained


def shared(path: str) -> Path:
    """A file of the measuring data beside the checkout; the test is skipped where it is absent."""
    place = SHARED / path
    if not place.exists():
        pytest.skip(f"needs {path} in a folder 'shared' beside the checkout")
    return place


def large_jpeg(place: Path, size: tuple[int, int] = (2100, 1540), mode: str = "RGB", **options: Any) -> Path:
    """A photo with detail at every scale: an enlarged one under noise."""
    import numpy as np
    from PIL import Image

    photo = Image.open(DEMO_PHOTOS[1]).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 12, (size[1], size[0], 1))
    photo = Image.fromarray((np.asarray(photo) + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    photo.save(place, quality=92, **options)
    return place


def pytest_configure(config: pytest.Config) -> None:
    """Divide the cores among the processes of xdist, and those that they start: each with a thread on every
    core keep each other waiting, for several times as long."""
    if processes := getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: begun last, they would keep one process busy when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def two_threads():
    """For work that is divided among threads, which it isn't where this process has a single one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


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


@pytest.fixture(scope="session")
def local_detector(good_photos) -> Ulsad:
    """One without a global branch."""
    return Ulsad.fit(good_photos, replace(BRIEF, global_target="none"))


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory) -> Path:
    """Where gradio would serve nothing from: in a hidden folder behind a link, neither below the working
    directory nor below what the app takes for the system's temporary folder."""
    root = tmp_path_factory.mktemp("models")
    (root / ".local/share/mödels of mine").mkdir(parents=True)
    (root / "link").symlink_to(root / ".local/share/mödels of mine")
    return root / "link"


@pytest.fixture(scope="module")
def address(models_dir, tmp_path_factory):
    """Of the app, which is a process of its own."""
    from ulsad.speed import latency

    temporary = tmp_path_factory.mktemp("temporary")
    with latency.served(models_dir, TMPDIR=str(temporary)) as address:
        yield address
    assert not list(temporary.glob("ulsad-*"))  # visitors' photos are gone with the app


@pytest.fixture(scope="module")
def page(address):
    from browser import opened

    with opened(address) as page:
        yield page
