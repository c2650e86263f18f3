"""`Ulsad`: fit on good photos, predict anomaly maps, save, load. Every object is fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ulsad.compute.device import choose_device
from ulsad.compute.rows import Rows
from ulsad.compute.workers import in_parallel
from ulsad.detector import model_file
from ulsad.detector.calibrating import calibrate
from ulsad.detector.criterion import Criterion
from ulsad.detector.photo_sets import Photos, check_enough, read_photos
from ulsad.detector.prediction import Prediction
from ulsad.detector.references import References
from ulsad.detector.snapshot import Parts, optimiser_of, rebuilt, tensors_of
from ulsad.errors import InputError
from ulsad.method.backbones import load_backbone
from ulsad.method.branches import Analysis, Branches
from ulsad.method.calibration import Calibration
from ulsad.method.config import CALIBRATION, Config
from ulsad.photos.images import (
    Reading,
    Skipped,
    Square,
    as_reading,
    digest,
    read_photo,
    read_square,
    square_of,
)

if TYPE_CHECKING:
    from ulsad.detector.fitting import Fitted, Watch

Item = TypeVar("Item")

UNFAMILIAR = "Looks like none of the good photos"  # begins the note on a photo that is unlike all of them


class Ulsad:
    """A trained detector, made by `Ulsad.fit` or `Ulsad.load`.

    detector = Ulsad.fit("photos/good")
    prediction = detector.predict("photo.jpg")
    prediction.score, prediction.combined_map.shape
    """

    def __init__(
        self, branches: Branches, calibration: Calibration, held_out: np.ndarray, references: References,
        record: dict[str, Any], criteria: dict[str, Criterion] | None = None,
        optimiser: dict[str, Tensor] | None = None,
    ) -> None:
        self.branches = branches
        self.calibration = calibration
        self.held_out = held_out  # float32 (n, b, g, g): distances of the held-out good photos
        self.references = references
        self.record = record  # training photos and progress; plain JSON values
        self.criteria = criteria or {}  # by name
        self.optimiser = optimiser or {}  # state to resume training from; empty in a finished model

    @property
    def config(self) -> Config:
        return self.branches.config

    @classmethod
    def fit(
        cls,
        photos: Photos,
        config: Config | None = None,
        held_out: Photos | None = None,
        weights: Path | str | None = None,
        device: str | None = None,
        *,
        watch: Watch[Ulsad] | None = None,
        resume: Ulsad | None = None,
        scratch: Path | None = None,
    ) -> Ulsad:
        """Train on good photos: a folder, or a list of files.

        The quantiles of Eq. 9 come from `held_out`, or from a seeded share of `photos` that is not trained
        on. `weights`: see `load_backbone`. Unreadable photos are skipped and listed in `record`, with notes
        on others. If the configuration has no white level for photos with more than 8 bits, it is found from
        all of them and stored in the model's configuration.

        `watch` receives the progress and can stop training (see `Watch`). To resume, pass a loaded checkpoint
        as `resume`, with the same photos; the result is the same. Data beyond `rows.MEMORY` goes into
        temporary files below `scratch`. Processes started by torchrun share the work (`distributed.group`).

        Raises `InputError` (too few photos, missing weights, other photos than `resume`'s, …) and
        `TrainingDiverged`.
        """
        from ulsad.detector.fitting import Fit, Fitted, Watch  # what trains is not needed on the line

        if resume and not resume.optimiser:
            raise InputError("This model is not a checkpoint, so training can't be resumed from it.")
        fit = Fit(resume.config if resume else config or Config(),
                  (watch or Watch()).made_of(cls._of),
                  Fitted(resume._parts(), resume.record, resume.optimiser) if resume else None)
        return cls._of(fit.run(photos, held_out, weights, device, scratch))

    @classmethod
    def _of(cls, fitted: Fitted) -> Ulsad:
        return cls(*fitted.parts, fitted.record, optimiser=fitted.optimiser)

    def _parts(self) -> Parts:
        return Parts(self.branches, self.calibration, self.held_out, self.references)

    def predict(self, photo: Path | str | Image.Image | np.ndarray) -> Prediction:
        """Predict the raw maps of one photo: a file, a Pillow image, or uint8 (H, W) or (H, W, 3).

        Raises `InputError` when it cannot be read.
        """
        return self._predict([self.square(photo)])[0]

    def square(self, photo: Path | str | Image.Image | np.ndarray) -> Square:
        """A photo as the networks see it. Raises `InputError` when it cannot be read."""
        path = Path(photo) if isinstance(photo, (str, Path)) else None
        return square_of(path, self.reading(photo, self.config.decoded_side), self.config.image_size)

    def reading(
        self, photo: Path | str | Image.Image | np.ndarray, at_least: int | None = None
    ) -> Reading:
        """A photo with the model's white level, but at its own size, or see `read_photo` for `at_least`.

        Raises `InputError` when it cannot be read.
        """
        if isinstance(photo, (str, Path)):
            return read_photo(photo, self.config.white_level, at_least)
        return as_reading(photo, self.config.white_level)

    def predict_many(
        self, paths: Iterable[Path], seen: Callable[[Square], None] = lambda square: None
    ) -> Iterator[Prediction | Skipped]:
        """Predict many files, in order; an unreadable one gives `Skipped`.

        `seen` receives each photo as the networks see it, on one of several threads.
        """
        def read(path: Path) -> Square | Skipped:
            square = read_square(path, self.config.image_size, self.config.white_level,
                                 self.config.decoded_side)
            if isinstance(square, Square):
                seen(square)
            return square

        extractor = self.branches.extractor
        if extractor.on_cpu:  # run the networks in the threads that decode photos
            results = in_parallel(lambda files: self._predict_read(map(read, files)),
                                  _pieces(paths, extractor.at_once))
        else:
            results = map(self._predict_read, _pieces(in_parallel(read, paths), extractor.at_once))
        yield from chain.from_iterable(results)

    def _predict_read(self, results: Iterable[Square | Skipped]) -> list[Prediction | Skipped]:
        results = list(results)
        photos = [result for result in results if not isinstance(result, Skipped)]
        predictions = iter(self._predict(photos) if photos else [])
        return [result if isinstance(result, Skipped) else next(predictions) for result in results]

    def _predict(self, photos: list[Square]) -> list[Prediction]:
        digests, known = [digest(photo.pixels) for photo in photos], self._training_photos
        distances, descriptors = self._analyse(torch.stack([photo.pixels for photo in photos]), digests)
        names = [self.record["train"][known[of]] if of in known else None for of in digests]
        nearest = self.references.nearest(descriptors, names)
        strangeness = self.references.strangeness(descriptors).tolist()
        return [
            Prediction(photo.path, photo.size, distances[i], self.branches.resampling, self.calibration,
                       self.config.alpha, self.config.beta, int(nearest[i]), digests[i],
                       self._notes(photo, strangeness[i]), strangeness[i])
            for i, photo in enumerate(photos)
        ]

    def _analyse(self, images: Rows, digests: Sequence[str]) -> Analysis:
        """Cross-fitted, training photos are analysed without the members and patches that know them, as for
        the quantiles."""
        numbers = [self._training_photos.get(of) for of in digests]
        if self.branches.folds is None or all(number is None for number in numbers):
            return self.branches.analyse(images)
        each = [self.branches.analyse(images[i:i + 1], None if number is None else [number])
                for i, number in enumerate(numbers)]
        return Analysis(*map(np.concatenate, zip(*each, strict=True)))

    def branches_for(self, of: str) -> Branches:
        """The branches that judge the photo with this digest: cross-fitted, those that do not know it."""
        number = self._training_photos.get(of)
        if number is None or self.branches.folds is None:
            return self.branches
        return self.branches.without(number)

    @cached_property
    def _training_photos(self) -> dict[str, int]:
        """The index of each training photo, by its digest."""
        return {of: i for i, of in enumerate(self.record["digests"]["train"])}

    def _notes(self, photo: Square, strangeness: float) -> tuple[str, ...]:
        """Notes on a photo to read before its score."""
        notes = (*_remark(strangeness), *photo.notes)
        if self.config.white_level is None and photo.white is not None:
            return (*notes, "The model was trained on photos of 8 bits.")
        return notes

    def recalibrated(self, held_out: Photos, **changes: Any) -> Ulsad:
        """The same networks with new quantiles from these good photos, which must not be training photos
        unless the model is cross-fitted.

        Saved criteria are dropped: their thresholds belong to the old quantiles.

        `changes` may set anything in `config.CALIBRATION`, which affects only the processing of the maps.
        Takes seconds. Raises `InputError` for other settings and for fewer than two readable photos.
        """
        if other := set(changes) - set(CALIBRATION):
            raise InputError(f"{', '.join(sorted(other))} can't be changed without a new training.")
        config = replace(self.config, **changes)
        photos = read_photos(held_out, config)
        check_enough(photos, minimum=2)
        branches = replace(self.branches, config=config)
        record = self.record | {
            "held_out": [path.name for path in photos.paths],
            "digests": self.record["digests"] | {"held_out": photos.digests},
            "notes": [*self.record.get("notes", []), *photos.notes]}
        distances = self._analyse(photos.images, photos.digests).distances
        calibration = calibrate(branches, distances, self.calibration.ignored)
        return Ulsad(branches, calibration, distances, self.references, record)

    def seen_in(self, prediction: Prediction) -> str:
        """"training" or "held-out" if the model was made with this photo, else "". Photos that were held out
        in their turn are "held-out", as their maps come from networks that do not know them."""
        is_trained_on = prediction.digest in self._training_photos
        if prediction.digest in self.record["digests"]["held_out"] or (
                is_trained_on and self.branches.folds is not None):
            return "held-out"
        return "training" if is_trained_on else ""

    def ignoring(self, ignored: np.ndarray | None) -> Ulsad:
        """The same detector with these pixels, bool (s, s), left out everywhere; None: no pixels.

        Raises `InputError` when all pixels are marked.
        """
        if ignored is not None and ignored.all():
            raise InputError("The whole photo is marked to be ignored. Leave something unmarked.")
        ignored = None if ignored is None or not ignored.any() else ignored
        return Ulsad(self.branches, calibrate(self.branches, self.held_out, ignored), self.held_out,
                     self.references, self.record, self.criteria)

    def with_criterion(self, name: str, criterion: Criterion) -> Ulsad:
        """The same detector with one more criterion; one with the same name is replaced."""
        return Ulsad(self.branches, self.calibration, self.held_out, self.references, self.record,
                     self.criteria | {name: criterion})

    def save(self, path: Path | str, resumable: bool = False) -> None:
        """Write the model as one safetensors file; an existing one is replaced only when complete.

        A `resumable` file is three times as large; training can be resumed from it, see `fit`.
        """
        header = {
            "config": self.config.to_json(),
            "weights_hash": self.branches.extractor.weights_hash,
            "record": self.record,
            "criteria": {name: criterion.to_dict() for name, criterion in self.criteria.items()},
            "references": self.references.names,
        }
        optimiser = self.optimiser if resumable else {}
        model_file.write(path, tensors_of(self._parts(), optimiser), header)

    @classmethod
    def load(cls, path: Path | str, weights: Path | str | None = None, device: str | None = None) -> Ulsad:
        """Read a model; the backbone's weights are found as in `load_backbone` and must match the model's.

        Raises `InputError` for a damaged or foreign file and for other backbone weights.
        """
        tensors, header = model_file.read(path)
        config = Config.from_json(header["config"])
        extractor = load_backbone(config, weights).to(choose_device(device))
        model_file.require_weights(path, header, config.backbone, extractor.weights_hash)
        try:
            parts = rebuilt(config, extractor, tensors, tuple(header["references"]))
            criteria = {name: Criterion.from_dict(values) for name, values in header["criteria"].items()}
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{path}: its tensors do not fit its own configuration "
                             f"({str(error)[:150]} …).") from error
        return cls(*parts, header["record"], criteria, optimiser_of(tensors))


def _remark(strangeness: float) -> tuple[str, ...]:
    """A note on a photo with a strangeness above 1, see `References.strangeness`."""
    if strangeness <= 1:
        return ()
    return (f"{UNFAMILIAR} that the model was trained on ({strangeness:.1f} times the "
            "distance limit for photos of this part), so its score means little. Is it the right model?",)


def _pieces(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    return iter(lambda: list(islice(remaining, size)), [])
