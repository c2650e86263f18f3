"""One photo's way through the method, step by step, as the tab Learn shows it.

Everything comes from the functions that train and predict. What only the lesson shows, the equations' own
distances and attention, is computed in float64 from the networks' float32 outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ulsad.attention.attention import attention_over
from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.method.backbones import pool_channels
from ulsad.method.branches import Branches
from ulsad.method.calibration import AnomalyMaps, Calibration, Normalisation
from ulsad.method.config import Config
from ulsad.method.equations import attention, direction_distance, distance, value_distance
from ulsad.method.networks import Outputs
from ulsad.method.residuals import whitened_distance
from ulsad.photos import probe
from ulsad.photos.images import digest, to_square

SCRATCHED, ERASED = "scratched", "erased"
REACH = 0.085  # of a spoiled place to each side, as a fraction of the photo's shorter side


@dataclass(frozen=True)
class Compared:
    """Two vectors of one patch, and both distances between them (Eq. 2)."""

    first: np.ndarray  # float64 (c*,)
    second: np.ndarray  # float64 (c*,)
    value: float  # l_v, ≥ 0
    direction: float  # l_d, in [0, 2]
    weight: float  # λ_l or λ_g

    @property
    def total(self) -> float:
        """l_v + λ l_d: the summand of Eq. 1 and 6, and the maps of Eq. 7 and 8."""
        return self.value + self.weight * self.direction

    @property
    def lengths(self) -> tuple[float, float]:
        return float(np.linalg.norm(self.first)), float(np.linalg.norm(self.second))

    @property
    def angle(self) -> float:
        """Between both vectors, in degrees from 0 to 180."""
        return math.degrees(math.acos(min(max(1 - self.direction, -1), 1)))


class Stage(NamedTuple):
    """A map on the way from an equation to the map that the model uses."""

    name: str  # "equation", "whitened", "relative", "bank" or "used"
    distances: np.ndarray  # float32 (h*, w*), ≥ 0

    @property
    def is_beyond(self) -> bool:
        """Whether the paper does not have it."""
        return self.name != "equation"


class Expected(NamedTuple):
    """What the global branch expects: for each patch, the patch of a photo that is nearest to Û there."""

    photo: str  # name of the most similar good photo of the model; "" for the photo itself, if it has none
    nearest: np.ndarray  # int (h*, w*): k = row · w* + column of a patch of that photo
    picture: np.ndarray  # uint8 (s, s, 3): these patches in place of the photo's own


class Colours(NamedTuple):
    """Three principal components of features as red, green and blue. Only a way to draw: no equation."""

    mean: Tensor  # float64 (c, 1)
    axes: Tensor  # float64 (3, c)
    low: Tensor  # float64 (3, 1): drawn as 0
    high: Tensor  # float64 (3, 1): drawn as 255

    @classmethod
    def of(cls, features: Tensor) -> Colours:
        """Fitted to one photo's features (c, h, w), without their most extreme hundredth on each side."""
        points = features.double().flatten(1)
        mean = points.mean(dim=1, keepdim=True)
        axes = torch.linalg.eigh((points - mean) @ (points - mean).T).eigenvectors[:, -3:].T.flip(0)
        largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
        axes = axes * largest.sign()  # an axis has no sign of its own
        low, high = torch.quantile(axes @ (points - mean), torch.tensor([0.01, 0.99]).double(), dim=1)
        return cls(mean, axes, low[:, None], high[:, None])

    def __call__(self, features: Tensor) -> np.ndarray:
        """Features (c, h, w) as uint8 (h, w, 3)."""
        shares = (self.axes @ (features.double().flatten(1) - self.mean) - self.low) / (self.high - self.low)
        return (255 * shares.clamp(0, 1)).round().byte().T.reshape(*features.shape[1:], 3).numpy()


@dataclass(frozen=True)
class Lesson:
    """Everything between one photo and its verdict. Features are on the h* × w* grid, on the CPU.

    A cross-fitted model has several pairs of networks: `outputs` and what follows from them are the first
    pair's, but the maps named "used" and everything of Eq. 9 and 10 come from all of them.
    """

    config: Config
    members: int  # pairs of networks that judge this photo
    square: np.ndarray  # uint8 (s, s, 3): the photo as the networks see it
    layers: tuple[Tensor, Tensor]  # of the backbone, j and j+1, float32 (c, h*, w*)
    raw: Tensor  # U before it is standardised, float32 (c*, h*, w*)
    features: Tensor  # U, standardised
    mean: np.ndarray  # μ, float32 (c*,)
    std: np.ndarray  # σ, float32 (c*,)
    outputs: Outputs  # Ũ′, Ũ″ and Û, a batch of one
    teacher: Tensor  # A of Eq. 3, float64 (c*, h*, w*)
    cross: Tensor | None  # Â of Eq. 4, float64 (c*, h*, w*); None without a global branch
    attention_error: np.ndarray | None  # float32 (h*, w*): the summand of Eq. 5
    expected: Expected | None  # None without a global branch
    local: tuple[Stage, ...]  # from Eq. 7 to the local map in use
    global_: tuple[Stage, ...]  # from Eq. 8 to the global map in use; empty without a global branch
    prediction: Prediction
    calibration: Calibration
    criterion: Criterion  # the suggested one, at the model's α and β

    @property
    def grid(self) -> tuple[int, int]:
        return self.features.shape[1], self.features.shape[2]

    @property
    def counterpart(self) -> Tensor:
        """What Eq. 8 compares with Û: Ũ″, or U in a model without L_lg; float32 (c*, h*, w*)."""
        return self.features if self.outputs.second is None else self.outputs.second[0]

    @property
    def normalisation(self) -> Normalisation:
        """Eq. 9 for both maps, at the model's α and β."""
        return self.calibration.normalisation(self.config.alpha, self.config.beta)

    @property
    def maps(self) -> AnomalyMaps:
        """The normalised maps (Eq. 9) and their maxima (Eq. 10)."""
        return self.prediction.maps()

    @property
    def verdict(self) -> str:
        """"pass", "review" or "fail" under the suggested criterion."""
        maps = self.maps
        return str(self.criterion.verdicts(np.array([[maps.score, maps.local_score, maps.global_score]]))[0])

    def at_levels(self, alpha: float, beta: float) -> Lesson:
        """The same photo with other quantile levels in Eq. 9, 0 ≤ α < β ≤ 1, and the criterion suggested
        for them."""
        return replace(self, config=replace(self.config, alpha=alpha, beta=beta),
                       prediction=replace(self.prediction, alpha=alpha, beta=beta),
                       criterion=Criterion.suggested(self.calibration, alpha, beta))

    def local_at(self, row: int, column: int) -> Compared:
        """U and Ũ′ at one patch (Eq. 1 and 7)."""
        return _compared(self.features, self.outputs.reconstruction[0], self.config.lambda_l, row, column)

    def global_at(self, row: int, column: int) -> Compared | None:
        """Û and its counterpart at one patch (Eq. 6 and 8); None without a global branch."""
        if self.outputs.global_features is None:
            return None
        return _compared(self.outputs.global_features[0], self.counterpart, self.config.lambda_g, row, column)

    def attention_at(self, row: int, column: int) -> np.ndarray:
        """W[:, q] of Eq. 3 for one patch q: float32 (h*, w*), sums to 1."""
        return attention_over(self.features, self.features[:, row, column])

    def cross_attention_at(self, row: int, column: int) -> np.ndarray | None:
        """Ŵ[:, q] of Eq. 4 in the same form; None without a global branch."""
        if self.outputs.global_features is None:
            return None
        return attention_over(self.features, self.outputs.global_features[0, :, row, column])

    def at_patch(self, square: np.ndarray, row: int, column: int) -> float:
        """The value of a map at the network's resolution (s, s) at the centre of a patch."""
        step = len(square) // self.grid[0]
        return float(square[row * step + step // 2, column * step + step // 2])


def teach(detector: Ulsad, photo: Path | Image.Image) -> Lesson:
    """One photo, a file or RGB at its own size, through all steps."""
    config, square = detector.config, detector.square(photo).pixels
    branches, prediction = detector.branches_for(digest(square)), detector.predict(photo)
    normalised = branches.extractor.normalise(square[None].to(branches.mean.device))
    layers = branches.extractor.taps(normalised)
    raw = pool_channels(torch.cat(layers, dim=1), config.feature_dim)
    on_device, of_all = branches.forward_each(normalised, raw)
    features, outputs = on_device[0].cpu(), of_all[0].map(Tensor.cpu)
    teacher, cross, error = _attended(features, outputs.global_features, config.lambda_g)
    return Lesson(
        config, len(branches.members), square.permute(1, 2, 0).numpy(),
        (layers[0][0].cpu(), layers[1][0].cpu()), raw[0].cpu(), features, branches.mean.cpu().numpy().ravel(),
        branches.std.cpu().numpy().ravel(), outputs, teacher, cross, error,
        _expected(detector, branches, prediction, features, square, outputs.global_features),
        _local_stages(branches, on_device, of_all), _global_stages(branches, on_device, of_all), prediction,
        detector.calibration, Criterion.suggested(detector.calibration, config.alpha, config.beta))


def spoiled(photo: Image.Image, kind: str, place: probe.Point) -> Image.Image:
    """A copy of a photo with a scratch, or with a part erased, around a place (x, y as fractions).

    Raises `InputError` for a photo so small that nothing can be erased.
    """
    short = min(photo.size)
    across, down = REACH * short / photo.width, REACH * short / photo.height
    x, y = min(max(place[0], across), 1 - across), min(max(place[1], down), 1 - down)
    if kind == ERASED:
        try:
            return probe.erase(photo, (x - across, y - down, x + across, y + down))
        except InputError as error:
            raise InputError("This photo is too small to erase a part of it. Choose a scratch, or another "
                             "photo.") from error
    return probe.scratch(photo, [(x - across, y + down / 2), (x, y), (x + across, y - down)])


def parting(good: Lesson, other: Lesson) -> tuple[float, float | None]:
    """How many times higher the maxima of the other's local and global map in use are, before Eq. 9. The
    second is None without a global branch."""
    def ratio(first: tuple[Stage, ...], second: tuple[Stage, ...]) -> float:
        return float(second[-1].distances.max() / max(first[-1].distances.max(), 1e-12))

    return ratio(good.local, other.local), ratio(good.global_, other.global_) if good.global_ else None


def _attended(
    features: Tensor, global_features: Tensor | None, lambda_g: float
) -> tuple[Tensor, Tensor | None, np.ndarray | None]:
    """A (Eq. 3), Â (Eq. 4) and the summand of Eq. 5, for U (c*, h*, w*) and Û (1, c*, h*, w*)."""
    grid, z = features.shape[1:], features.double().flatten(1)[None]
    teacher = attention(z, z)
    if global_features is None:
        return teacher[0].unflatten(1, grid), None, None
    cross = attention(z, global_features.double().flatten(2))
    error = distance(cross, teacher, lambda_g)[0].unflatten(0, grid)
    return teacher[0].unflatten(1, grid), cross[0].unflatten(1, grid), error.float().numpy()


def _compared(first: Tensor, second: Tensor, weight: float, row: int, column: int) -> Compared:
    a, b = (features[None, :, row, column].double() for features in (first, second))
    return Compared(a[0].numpy(), b[0].numpy(), float(value_distance(a, b)), float(direction_distance(a, b)),
                    weight)


def _on_grid(distances: Tensor) -> np.ndarray:
    return distances[0].float().cpu().numpy()


def _local_stages(branches: Branches, features: Tensor, outputs: list[Outputs]) -> tuple[Stage, ...]:
    """Eq. 7, what the model's configuration adds to it, and the map in use."""
    first, reconstruction = branches.members[0], outputs[0].reconstruction
    plain = distance(reconstruction.double(), features.double(), branches.config.lambda_l)
    stages = [Stage("equation", _on_grid(plain))]
    if first.whitening is not None:
        stages.append(Stage("whitened", _on_grid(
            whitened_distance(reconstruction - features, first.whitening))))
    if first.expected is not None or first.spread is not None:
        stages.append(Stage("relative", _on_grid(first.distances(features, outputs[0])[0])))
    if branches.bank is not None:
        stages.append(Stage("bank", _on_grid(branches.bank.distances(features))))
    if branches.bank is not None or len(branches.members) > 1:
        stages.append(Stage("used", _on_grid(branches.distances(features, outputs)[0])))
    return tuple(stages)


def _global_stages(branches: Branches, features: Tensor, outputs: list[Outputs]) -> tuple[Stage, ...]:
    """Eq. 8, and the map in use where it is another."""
    whole, second = outputs[0].global_features, outputs[0].second
    if whole is None:
        return ()
    counterpart = features if second is None else second
    plain = Stage("equation", _on_grid(
        distance(counterpart.double(), whole.double(), branches.config.lambda_g)))
    if branches.members[0].expected is None and len(branches.members) == 1:
        return (plain,)
    return plain, Stage("used", _on_grid(branches.distances(features, outputs)[1]))


def _expected(
    detector: Ulsad, branches: Branches, prediction: Prediction, features: Tensor, square: Tensor,
    global_features: Tensor | None,
) -> Expected | None:
    """Found in the most similar good photo that the model keeps: a bank has patches without their places."""
    if global_features is None:
        return None
    name, source, patches = "", square, features
    if detector.references.names:
        name = detector.references.names[prediction.reference]
        source = to_square(detector.references.photo(prediction.reference), branches.config.image_size)
        raw = branches.extractor.features_of(source[None])
        patches = ((raw - branches.mean.cpu()) / branches.std.cpu())[0]
    nearest = torch.cdist(global_features[0].flatten(1).T, patches.flatten(1).T).argmin(dim=1)
    picture = _mosaic(source, nearest, features.shape[1])
    return Expected(name, nearest.unflatten(0, features.shape[1:]).numpy(), picture)


def _mosaic(square: Tensor, chosen: Tensor, grid: int) -> np.ndarray:
    """The chosen patches (g²,) of a square, uint8 (3, s, s), in a new order: uint8 (s, s, 3)."""
    side = square.shape[1] // grid
    tiles = square.unfold(1, side, side).unfold(2, side, side).flatten(1, 2)[:, chosen]
    rows = tiles.unflatten(1, (grid, grid)).permute(1, 3, 2, 4, 0)
    return rows.reshape(grid * side, grid * side, 3).numpy()
