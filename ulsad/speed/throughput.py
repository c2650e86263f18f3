"""Speed of training and inference on this machine, compared with a plain implementation of the paper.

Both are timed alternately, so that other load on the machine affects both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ulsad.compute.device import choose_device
from ulsad.compute.precision import tf32_convolutions, uses_bfloat16
from ulsad.demo.dataset import write_demo
from ulsad.detector.detector import Ulsad
from ulsad.detector.preparation import feature_statistics
from ulsad.errors import InputError
from ulsad.evaluation.tables import Table
from ulsad.method.backbones import load_backbone
from ulsad.method.config import PRESETS, Config
from ulsad.method.equations import attention
from ulsad.method.networks import Networks
from ulsad.method.training import Training, TrainingData
from ulsad.photos.images import Skipped, find_images, read_squares, to_square
from ulsad.speed import plain

ROUNDS = 5  # after a warm-up that is not counted
COLUMNS = ("what", "plainly", "here", "unit", "times as fast")


@dataclass(frozen=True)
class Row:
    """Median seconds for `count` items, with the plain implementation and with ours; shown as a rate or in
    ms."""

    what: str
    unit: str  # "ms", or items per second
    plainly: float
    here: float
    count: int = 1

    def cells(self) -> tuple[str, ...]:
        shown = [f"{1000 * s:.1f}" if self.unit == "ms" else f"{self.count / s:.2f}"
                 for s in (self.plainly, self.here)]
        return self.what, *shown, self.unit, f"{self.plainly / self.here:.1f}"


def beside_plain(demo_model: Path, files: Sequence[Path], folder: Path, machine: str) -> Table:
    """Training with the `paper` preset and two backbones, and inference with the demo model and with `paper`.

    On a GPU if there is one, and then also in bfloat16 besides the preset's float32. Photos are scored from
    `files`; `folder` is for temporary files.
    """
    write_demo(folder / "tray", seed=0, train=16, validation=0, test_good=0, per_kind=0)
    photos, device = find_images(folder / "tray" / "train"), choose_device(None)
    rows: list[Row] = []
    notes: list[str] = []
    for backbone in ("resnet18", "wide_resnet50_2"):
        config, weights = replace(PRESETS["paper"], backbone=backbone), random_weights(backbone, folder)
        for precision in ("float32", "auto") if device.type == "cuda" else ("float32",):
            row, note = training(replace(config, precision=precision), photos, weights, device)
            rows.append(row)
            notes.append(note)
    rows += inference(Ulsad.load(demo_model), "quick", files, None)
    paper = Ulsad.fit(photos, replace(config, epochs=None, steps=1), weights=weights)
    rows += inference(paper, "paper", files, weights)
    return Table("Plainly and here", COLUMNS, tuple(row.cells() for row in rows),
                 f"{machine} Networks with random weights. {'. '.join(notes)}.")


def random_weights(backbone: str, folder: Path) -> Path:
    """A weights file with random values, for the same cost as published weights."""
    from torchvision.models import get_model

    file = folder / f"{backbone}-random.pth"
    torch.save(get_model(backbone, weights=None).state_dict(), file)
    return file


def training(
    config: Config, photos: Sequence[Path], weights: Path | None, device: torch.device
) -> tuple[Row, str]:
    """Time of a training step, and a note on how it compares with the minimum for its arithmetic."""
    config = replace(config, epochs=None, minutes=None, steps=1000)
    extractor = load_backbone(config, weights).to(device)
    backbone = plain.PublishedBackbone.pretrained(config, weights).to(device)
    squares = read_squares(photos, config.image_size)[1]
    features = extractor.features_of(squares)
    mean, std = feature_statistics(features)
    features = (features - mean) / std
    patches = features.flatten(2)
    networks = Networks(config, extractor.channels, extractor.grid).to(device)
    reference = plain.train(
        plain.plain_networks(networks), backbone, extractor.normalise(squares.to(device)),
        mean.to(device), std.to(device), config,
        (torch.randperm(len(squares))[: config.batch_size] for _ in range(ROUNDS + 1)))
    ours = Training(networks, TrainingData(squares, features, attention(patches, patches)), config,
                    extractor.normalise)
    steps = iter(ours)

    def plainly_done() -> None:
        with tf32_convolutions(device):
            next(reference)

    plainly, here = in_turns(plainly_done, lambda: next(steps))
    low_precision = uses_bfloat16(config.precision, device)
    with FlopCounterMode(display=False) as counter:
        ours.differentiate(ours.live, torch.arange(config.batch_size), None)
    operations = counter.get_total_flops()
    rate = matrix_rate(device, torch.bfloat16 if low_precision else torch.float32)
    note = (f"{config.backbone}: {operations / 1e9:.0f} GFLOP per step, which would take "
            f"{operations / rate / here:.0%} of its time at {rate / 1e9:.0f} GFLOP/s, the rate of a large "
            "matrix product")
    what = f"training, paper, {config.backbone}{', bfloat16' if low_precision else ''}"
    return Row(what, "photos·epochs/s", plainly, here, config.batch_size), note


def inference(detector: Ulsad, name: str, files: Sequence[Path], weights: Path | None) -> Iterator[Row]:
    """Time from photo files to three maps at the photos' own size, for one photo and for sixteen."""
    device = detector.branches.mean.device
    backbone = plain.PublishedBackbone.pretrained(detector.config, weights).to(device)
    networks = [plain.plain_networks(member.networks).eval() for member in detector.branches.members]
    for count in (1, 16):
        some = list(islice(files, count))
        seconds = in_turns(partial(each_plainly, detector, backbone, networks, some),
                           partial(three_maps, detector, some))
        unit = "ms" if count == 1 else "photos/s"
        yield Row(f"photo file to three maps, {name}, {count} at once", unit, *seconds, count)


def three_maps(detector: Ulsad, files: Sequence[Path]) -> None:
    """Compute local, global and combined maps at the photos' own size, and discard them."""
    for prediction in detector.predict_many(files):
        if isinstance(prediction, Skipped):
            raise InputError(prediction.reason)
        _ = prediction.local_map, prediction.global_map, prediction.combined_map


def each_plainly(
    detector: Ulsad, backbone: plain.PublishedBackbone, networks: Sequence[Networks], files: Sequence[Path]
) -> None:
    """The same as `three_maps`, one photo after the other."""
    for file in files:
        plain_maps(detector, backbone, networks, file)


@torch.no_grad()
def plain_maps(
    detector: Ulsad, backbone: plain.PublishedBackbone, networks: Sequence[Networks], file: Path
) -> list[Image.Image]:
    """Local, global and combined map of one photo, computed step by step: float32 images of its size."""
    branches, config = detector.branches, detector.config
    photo = detector.reading(file).image
    square = to_square(photo, config.image_size)[None].to(branches.mean.device)
    image = branches.extractor.normalise(square)
    features = (backbone(image) - branches.mean) / branches.std
    distances = branches.distances(features, [each(image, features) for each in networks])
    raw = [_blurred(F.interpolate(d[:, None], config.image_size, mode="bilinear"), config.blur_sigma)
           for d in distances]
    local, whole = (r[0, 0].cpu().numpy() for r in raw)
    combined = detector.calibration.normalisation(config.alpha, config.beta)(local, whole).combined
    return [Image.fromarray(values).resize(photo.size, Image.Resampling.BILINEAR)
            for values in (local, whole, combined)]


def _blurred(maps: Tensor, sigma: float) -> Tensor:
    """Blur with a kernel of 4 σ to each side, 33 px in total at σ = 4."""
    if not sigma:
        return maps
    from torchvision.transforms.v2.functional import gaussian_blur

    return gaussian_blur(maps, [2 * round(4 * sigma) + 1] * 2, [sigma] * 2)


def in_turns(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both actions, run alternately."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + 1):
        for action, times in zip((first, second), seconds, strict=True):
            taken = _timed(action)
            if number:
                times.append(taken)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def _timed(action: Callable[[], object]) -> float:
    """Seconds, including the GPU's work."""
    started = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, the best of a few; on GPUs float32 means TF32."""
    side = 2048 if device.type == "cpu" else 8192
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    best = min(_timed(lambda: a @ b) for _ in range(ROUNDS))
    torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * side**3 / best
