"""The paper's baselines on the same photos, as implemented in anomalib.

anomalib is optional. Each method runs in its own child process, which imports anomalib, so that memory is
measured separately and crashes stay contained. Photos are the same as for Ulsad, read by Ulsad's loader; no
test photo is used for early stopping, thresholds or normalisation.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ulsad.compute.device import choose_device
from ulsad.compute.memory import peak_memory_mb
from ulsad.detector.photo_sets import with_white_level
from ulsad.errors import InputError
from ulsad.method.backbones import BACKBONES, pretrained_stages
from ulsad.method.config import Config
from ulsad.photos.datasets import Category
from ulsad.photos.images import read_squares

_JOB, _RESULT, _LOG = "job.json", "result.npz", "log.txt"
_SCORED_AT_ONCE = 8
_MANY_PATCHES = 50_000  # a coreset takes quadratic time: two minutes for 39,000 on two cores
_NETWORK_SECONDS = 20  # without a timeout, a firewall that drops packets would block for minutes


@dataclass(frozen=True)
class Outcome:
    """A method's results on the n test photos of a category, in order; or, without scores, the reason."""

    method: str
    backbone: str  # what was used; "its own" if the method has its own networks
    scores: np.ndarray | None  # float64 (n,), higher is stranger
    maps: np.ndarray | None  # float32 (n, s, s)
    seconds: float  # reading, training and scoring, without imports and downloads
    memory_mb: float  # peak resident memory of its process; NaN if unknown
    note: str  # one line: training length and deviations, or why it could not run


@dataclass(frozen=True)
class _Baseline:
    model: str  # its class in anomalib.models
    epochs: int | None  # the published maximum; None: a single pass, nothing to train
    batch: int
    extractor: str | None = None  # attribute of the pre-trained network; None: the method has its own
    layers: int | None = None  # number of layers used, counted from the deepest; None: fixed


_BASELINES = {
    "patchcore": _Baseline("Patchcore", None, 16, "feature_extractor.feature_extractor", 2),
    "padim": _Baseline("Padim", None, 16, "feature_extractor.feature_extractor", 3),
    "cflow": _Baseline("Cflow", 50, 16, "encoder.feature_extractor", 2),
    "fastflow": _Baseline("Fastflow", 500, 16, "feature_extractor"),
    "draem": _Baseline("Draem", 700, 8),
    "efficient_ad": _Baseline("EfficientAd", 1000, 1),
    "reverse_distillation": _Baseline("ReverseDistillation", 200, 16, "encoder.feature_extractor", 3),
}
BASELINES = tuple(_BASELINES)

Module = Any  # an anomalib module; anomalib may not be installed, and modules differ in their attributes

# anomalib builds backbones with timm, which has other names for some of them and their stages.
_TIMM_NAMES = {"efficientnet_lite0": "tf_efficientnet_lite0"}
_LAYERS = {"efficientnet_lite0": ("blocks.1", "blocks.2", "blocks.4")}
_RESNET_LAYERS = ("layer1", "layer2", "layer3")


def check_baselines(methods: Iterable[str]) -> None:
    """Raise `InputError` for an unknown method, or if anomalib is not installed."""
    for method in methods:
        if method not in _BASELINES:
            raise InputError(f"There is no method '{method}'. Known: {', '.join(BASELINES)}.")
    if find_spec("anomalib") is None:
        raise InputError("The baselines need anomalib, which is not installed: pip install anomalib")


def run_baseline(
    method: str, category: Category, weights: Path | None = None, *, backbone: str = "resnet18",
    image_size: int = 256, seed: int = 0, epochs: int | None = None, minutes: float = 3.0,
    white_level: float | None = None,
) -> Outcome:
    """Train one of `BASELINES` on a category's training photos and score its test photos, in a separate
    process.

    `weights`: of `backbone`, see `load_backbone`; a method with its own networks ignores both. Training ends
    after `epochs` (None: the published number) or `minutes`, whichever is first. If the method can't run, the
    outcome's note says why. Raises `InputError` as `check_baselines` does.
    """
    check_baselines([method])
    job = {"method": method, "backbone": backbone, "weights": weights and str(weights),
           "image_size": image_size, "seed": seed, "epochs": epochs, "minutes": minutes,
           "white_level": white_level, "train": [str(path) for path in category.train],
           "held_out": [str(path) for path in category.held_out],
           "test": [str(photo.path) for photo in category.test]}
    used = "its own" if _BASELINES[method].extractor is None else backbone
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / _JOB).write_text(json.dumps(job), encoding="utf-8")
        code = _run_process(folder)
        if code != 0:
            return Outcome(method, used, None, None, np.nan, np.nan, _last_words(folder, code))
        result = _read_result(folder)
    return Outcome(method, used, result.get("scores"), result.get("maps"),
                   float(result.get("seconds", np.nan)), float(result["memory_mb"]), str(result["note"]))


def _run_process(folder: Path) -> int:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])]),
        # PatchCore's coreset loop fragments glibc's heap by gigabytes if arrays of megabytes are on it.
        "MALLOC_MMAP_THRESHOLD_": str(2**22)}
    with open(folder / _LOG, "wb") as log:
        command = [sys.executable, "-m", "ulsad.evaluation.baselines", str(folder)]
        return subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                              env=environment, check=False).returncode


def _read_result(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / _RESULT) as file:
        return dict(file)


def _last_words(folder: Path, code: int) -> str:
    lines = (folder / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    signalled = f"ended by signal {-code}{', out of memory?' if code == -9 else ''}"
    return signalled if code < 0 else f"ended with code {code}: {_one_line(lines[-1] if lines else '')}"


# What follows runs in the child process.


def _run_child(folder: Path) -> None:
    """Do the job in `folder`; errors become a note."""
    socket.setdefaulttimeout(_NETWORK_SECONDS)
    job = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    try:
        result = _run(job, folder)
    except Exception as error:  # third-party code may raise anything; the other methods must still run
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        result = {"note": _one_line(text)}
    np.savez(folder / _RESULT, memory_mb=peak_memory_mb(), **result)


def _run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    from lightning import seed_everything

    seed_everything(job["seed"], verbose=False)
    options, remark = _options(job)
    module = _build(job, options)
    started = time.monotonic()
    job["white_level"] = _white_level(job)
    train, test = _read(job["train"], job), _read(job["test"], job, all_needed=True)
    length = _train(module, train, job, folder)
    scores, maps = _score(module, test)
    return {"scores": scores, "maps": maps, "seconds": time.monotonic() - started,
            "note": "; ".join(filter(None, [length, remark]))}


def _options(job: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Constructor arguments that some methods need here, and a remark on the deviation."""
    method = job["method"]
    if method == "padim" and job["backbone"] not in ("resnet18", "wide_resnet50_2"):
        return {"n_features": 100}, ""  # a default is published only for those two
    if method == "patchcore" and len(job["train"]) * (job["image_size"] // 8) ** 2 > _MANY_PATCHES:
        return {"coreset_sampling_ratio": 0.01}, "coreset of 1 % instead of 10 % (too many patches)"
    if method == "efficient_ad":
        return {"imagenet_dir": _efficient_ad_data()}, ""
    if method == "draem":
        try:
            return {"dtd_dir": _draem_data()}, ""
        except InputError:  # with a folder without pictures, anomalib uses noise
            return {"dtd_dir": Path(__file__).parent}, "noise instead of DTD textures, which can't be fetched"
    return {}, ""


def _efficient_ad_data() -> Path:
    """Fetch ImageNette and the teacher's weights to where anomalib expects them; return ImageNette's
    folder."""
    from anomalib.models.image.efficient_ad import lightning_model
    from anomalib.utils.path import get_datasets_dir, get_pretrained_weights_dir

    _fetch(get_pretrained_weights_dir(), "efficientad_pretrained_weights/*.pth",
           lightning_model.WEIGHTS_DOWNLOAD_INFO)
    folder = get_datasets_dir() / "imagenette"
    _fetch(folder, "*.JPEG", lightning_model.IMAGENETTE_DOWNLOAD_INFO)
    return folder


def _draem_data() -> Path:
    from anomalib.models.image.draem.lightning_model import DTD_DOWNLOAD_INFO
    from anomalib.utils.path import get_datasets_dir

    folder = get_datasets_dir() / "dtd"
    _fetch(folder, "*.jpg", DTD_DOWNLOAD_INFO)
    return folder


def _fetch(root: Path, pattern: str, info: Any) -> None:
    """Let anomalib download what is missing below `root`. Raises `InputError` when it can't."""
    from anomalib.data.utils import download_and_extract

    if any(root.rglob(pattern)):
        return
    try:
        download_and_extract(root, info)
    except (OSError, ValueError) as error:
        with suppress(OSError):  # an empty folder would be taken for the data
            root.rmdir()
        raise InputError(f"needs {info.name}, which is not in {root} and can't be fetched ({error})"
                         ) from error


def _backbone_state(job: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of Ulsad's own backbone with these weights, under timm's names."""
    config = Config(backbone=job["backbone"], image_size=job["image_size"])
    state = pretrained_stages(config, job["weights"]).state_dict()
    return {re.sub(r"^block(\d)", r"blocks.\1", name): value for name, value in state.items()}


def _build(job: dict[str, Any], options: dict[str, Any]) -> Module:
    """anomalib's module with Ulsad's weights in its backbone, and no post-processing of raw scores."""
    from anomalib import models
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    baseline, backbone, size = _BASELINES[job["method"]], job["backbone"], (job["image_size"],) * 2
    make = getattr(models, baseline.model)
    options = options | {"post_processor": False, "evaluator": False, "visualizer": False}
    if baseline.extractor is None:
        return make(pre_processor=make.configure_pre_processor(size), **options)
    normalise = Normalize(BACKBONES[backbone].mean, BACKBONES[backbone].std)
    options |= {"backbone": _TIMM_NAMES.get(backbone, backbone), "pre_trained": False,
                "pre_processor": PreProcessor(Compose([Resize(size), normalise]))}
    if baseline.layers:
        options["layers"] = list(_LAYERS.get(backbone, _RESNET_LAYERS)[-baseline.layers:])
    state = _backbone_state(job)  # before the network is built: weights may be missing
    module = make(**options)
    extractor = module.model.get_submodule(baseline.extractor)
    if surplus := extractor.load_state_dict(state, strict=False).unexpected_keys:
        raise InputError(f"anomalib's {backbone} differs from Ulsad's ({surplus[0]})")
    return module


def _white_level(job: dict[str, Any]) -> float | None:
    """The white level that `Ulsad.fit` would use for these photos."""
    train, held_out = (list(map(Path, job[name])) for name in ("train", "held_out"))
    return with_white_level(Config(white_level=job["white_level"]), train, held_out or None)[0].white_level


def _read(paths: list[str], job: dict[str, Any], all_needed: bool = False) -> Tensor:
    """Photos as anomalib's modules expect them, float32 (n, 3, s, s) in 0..1, without unreadable ones."""
    _, images, skipped = read_squares(map(Path, paths), job["image_size"], white_level=job["white_level"])
    if skipped and all_needed:
        raise InputError(skipped[0].reason)
    return images.float() / 255


def _train(module: Module, images: Tensor, job: dict[str, Any], folder: Path) -> str:
    """Fit to images (n, 3, s, s); return a text on the training length. No validation, so no early
    stopping."""
    from lightning import LightningDataModule, Trainer

    baseline = _BASELINES[job["method"]]
    held_out = images[:0]
    if job["method"] == "efficient_ad":  # it scales its maps by quantiles of good photos not trained on
        held_out = _read(job["held_out"], job) if job["held_out"] else images[::10]
        images = images if job["held_out"] else images[torch.arange(len(images)) % 10 != 0]
    data = LightningDataModule()
    data.train_batch_size = baseline.batch  # EfficientAd requires it
    data.train_dataloader = lambda: _loader(images, baseline.batch, shuffle=True)
    limits = {}
    if baseline.epochs is not None:
        limits = {"max_epochs": job["epochs"] or baseline.epochs,
                  "max_time": timedelta(minutes=job["minutes"])}
    device = choose_device(None)
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        default_root_dir=folder, **{"devices": 1} | module.trainer_arguments | limits)
    trainer.fit(module, datamodule=data)
    module.to(device).eval()
    if len(held_out):
        module.model.quantiles.update(module.map_norm_quantiles(_loader(held_out, 1)))
    if not limits:
        return ""
    if trainer.should_stop:
        return (f"stopped after {job['minutes']:g} min, in epoch {trainer.current_epoch} "
                f"of {limits['max_epochs']}")
    return f"all {limits['max_epochs']} epochs"


def _loader(images: Tensor, batch: int, shuffle: bool = False) -> Any:
    from anomalib.data import ImageBatch
    from torch.utils.data import DataLoader, TensorDataset

    def collate(chosen: list[tuple[Tensor, ...]]) -> ImageBatch:
        return ImageBatch(image=torch.stack([image for image, in chosen]),
                          gt_label=torch.zeros(len(chosen), dtype=torch.bool))

    return DataLoader(TensorDataset(images), batch, shuffle=shuffle, collate_fn=collate)


@torch.inference_mode()
def _score(module: Module, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores float64 (n,) and raw maps float32 (n, s, s) of images (n, 3, s, s) in 0..1."""
    scores, maps = [], []
    for batch in images.split(_SCORED_AT_ONCE):
        result = module.model(module.pre_processor.transform(batch.to(module.device)))
        map_ = result.anomaly_map.float().reshape(len(batch), 1, *result.anomaly_map.shape[-2:])
        score = map_.amax(dim=(1, 2, 3)) if result.pred_score is None else result.pred_score
        scores.append(score.reshape(len(batch)).double().cpu())
        maps.append(F.interpolate(map_, images.shape[-2:], mode="bilinear")[:, 0].cpu())
    return torch.cat(scores).numpy(), torch.cat(maps).numpy()


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"


if __name__ == "__main__":
    _run_child(Path(sys.argv[1]))
