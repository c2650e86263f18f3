"""Both branches of a model together: from 8-bit squares to distances on the grid (Eq. 7 and 8)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ulsad.compute.rows import Rows, batches
from ulsad.method.backbones import FeatureExtractor
from ulsad.method.bank import FITTED_ON, Bank
from ulsad.method.config import Config
from ulsad.method.equations import resampling_matrix
from ulsad.method.member import Member
from ulsad.method.networks import Outputs

BATCH = 16  # photos processed at a time; bounds memory and affects nothing else
FIELDS = 16  # 4 × 4 fields of a photo, whose means describe it


class Analysis(NamedTuple):
    """Results for n photos on the g × g grid."""

    distances: np.ndarray  # float32 (n, b, g, g), ≥ 0: local and, if there is one, global (Eq. 7 and 8)
    descriptors: np.ndarray  # float32 (n, c* · FIELDS), see `describe`


def describe(features: Tensor) -> Tensor:
    """Standardised features (n, c*, g, g) → (n, c* · 16): means in 4 × 4 fields, for comparing photos."""
    return F.adaptive_avg_pool2d(features, math.isqrt(FIELDS)).flatten(1)


@dataclass(frozen=True)
class Branches:
    """Backbone, standardisation, networks and bank of one model.

    `mean` and `std` are μ and σ of the training features, float32 (1, c*, 1, 1). A model has one member; or,
    cross-fitted, several, each trained without its own fold of the photos, and its maps are the mean of
    theirs. `folds`, int (n,), then says which member does not know each of the n training photos.
    """

    config: Config
    extractor: FeatureExtractor
    members: tuple[Member, ...]
    mean: Tensor
    std: Tensor
    bank: Bank | None = None
    folds: Tensor | None = None

    @torch.no_grad()
    def fitted(self, images: Rows, most: int = FITTED_ON, keep_whitening: bool = False,
               features: Tensor | None = None) -> Branches:
        """A copy whose members are fitted on at most so many of the training photos, uint8 (n, 3, s, s),
        without copies, and each member only on photos that it was trained on. `features`: those of the
        photos, standardised, if they are known."""
        config = self.config
        if config.local_metric == "plain" and not config.relative_maps and not config.nearest_patches:
            return self  # nothing to measure
        folds = torch.full((len(images),), -1) if self.folds is None else self.folds
        some = folds.argsort(stable=True)[:: math.ceil(len(images) / most)]
        features, outputs = self._forward_all(images[some], None if features is None else features[some])

        def known(member: int, values: Tensor) -> Tensor:
            return values[(folds[some] != member).to(values.device)]

        return replace(self, members=tuple(
            member.fitted(known(i, features), of_all.map(partial(known, i)), keep_whitening)
            for i, (member, of_all) in enumerate(zip(self.members, outputs, strict=True))))

    @torch.no_grad()
    def analyse(self, images: Rows, made_from: Sequence[int] | None = None,
                features: Tensor | None = None) -> Analysis:
        """The result for uint8 (n, 3, s, s), on the grid. `features`: theirs, standardised, if known.

        `made_from` gives the training photo that each of them is, or was made from. It is then analysed
        without the members and the patches that know this photo, see `without`.

        Always in float32, so that a model trained in bfloat16 gives the same maps on other machines.
        """
        pieces = _pieces(images, features, 1 if made_from is not None else self.extractor.at_once)
        judges = (self.without(photo) for photo in made_from) if made_from is not None else repeat(self)
        distances, descriptors = zip(*self.extractor.each(_analysed, zip(judges, pieces)), strict=True)
        return Analysis(np.concatenate(distances), np.concatenate(descriptors))

    def without(self, photo: int) -> Branches:
        """The same branches without the members and patches that know a training photo, given by its index.

        Raises `ValueError` if all members know it, as in a model that is not cross-fitted.
        """
        if self.folds is None:
            raise ValueError("every network of this model was trained on this photo")
        member = self.members[int(self.folds[photo])]
        return replace(self, members=(member,), bank=self.bank and self.bank.without(photo), folds=None)

    @torch.no_grad()
    def forward(self, square: Tensor) -> tuple[Tensor, Outputs]:
        """Standardised features of one photo, uint8 (3, s, s), and the networks' outputs (the mean of all
        members'), as batches of one on the CPU."""
        features, outputs = self._forward(square[None])
        return features.cpu(), Outputs.mean(outputs).map(Tensor.cpu)

    @torch.no_grad()
    def forward_each(self, normalised: Tensor, raw: Tensor) -> tuple[Tensor, list[Outputs]]:
        """Standardised features and the outputs of every member's networks, on their device, as `distances`
        takes them; from the backbone's input (n, 3, s, s) and its features (n, c*, h*, w*)."""
        features = (raw - self.mean) / self.std
        return features, self._outputs(normalised, features)

    @cached_property
    def resampling(self) -> np.ndarray:
        """float32 (s, g): the matrix from distances on the grid to raw maps at the image size, see
        `equations.resample`."""
        return resampling_matrix(self.extractor.grid, self.config.image_size, self.config.blur_sigma).numpy()

    def distances(self, features: Tensor, outputs: Sequence[Outputs]) -> list[Tensor]:
        """Local and, if there is one, global distances at every position, (n, h*, w*) each: the means of the
        members', for the outputs of each.

        With a bank, the local one is the mean of ψ's distance and of the one to the nearest good patch, each
        in units of its spread over good patches.
        """
        each = [member.distances(features, of_all)
                for member, of_all in zip(self.members, outputs, strict=True)]
        local, *whole = (torch.stack(distances).mean(dim=0) for distances in zip(*each, strict=True))
        return [local if self.bank is None else (local + self.bank.distances(features)) / 2, *whole]

    def _outputs(self, normalised: Tensor, features: Tensor) -> list[Outputs]:
        return [member.networks.eval()(normalised, features) for member in self.members]

    @torch.no_grad()
    def _forward(self, images: Tensor, features: Tensor | None = None) -> tuple[Tensor, list[Outputs]]:
        normalised = self.extractor.normalise(images.to(self.mean.device))
        if features is None:
            return self.forward_each(normalised, self.extractor(normalised))
        known = features.to(self.mean.device)
        return known, self._outputs(normalised, known)

    def _forward_all(self, images: Rows, features: Tensor | None) -> tuple[Tensor, list[Outputs]]:
        pieces = _pieces(images, features, self.extractor.at_once)
        found, outputs = zip(*self.extractor.each(lambda piece: self._forward(*piece), pieces), strict=True)
        return torch.cat(found), [Outputs.joined(parts) for parts in zip(*outputs, strict=True)]


def _pieces(images: Rows, features: Tensor | None, size: int) -> Iterable[tuple[Tensor, Tensor | None]]:
    """Images with their features, as far as these are known."""
    return zip(batches(images, size), repeat(None) if features is None else features.split(size))


@torch.no_grad()
def _analysed(piece: tuple[Branches, tuple[Tensor, Tensor | None]]) -> Analysis:
    branches, of_photos = piece
    features, outputs = branches._forward(*of_photos)
    distances = torch.stack(branches.distances(features, outputs), dim=1)
    return Analysis(distances.cpu().numpy(), describe(features).cpu().numpy())
