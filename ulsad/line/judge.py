"""A loaded model with a criterion, which gives verdicts."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

import ulsad
from ulsad.detector.batch import Batch, Judged
from ulsad.detector.criterion import Criterion, unpacked
from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.line.verdict import UNREADABLE, Basis, Verdict
from ulsad.photos.images import Skipped


@dataclass(frozen=True)
class Judge:
    """Gives verdicts on photos. Threads may share one."""

    own: Ulsad  # as loaded
    detector: Ulsad  # the same, without the areas that the criterion ignores
    criterion: Criterion
    basis: Basis

    @classmethod
    def load(
        cls, model: Path | str, criterion: str | None = None, *, alpha: float | None = None,
        beta: float | None = None, weights: Path | str | None = None, device: str | None = None,
    ) -> Judge:
        """From a model's file, with the criterion saved under this name, or else the suggested one.

        `alpha` and `beta` are for the suggested one. See `Ulsad.load` for the others. Raises `InputError`.
        """
        model = Path(model)
        while True:
            before = stamp_of(model)
            sha256, detector = sha256_of(model), Ulsad.load(model, weights, device)
            if stamp_of(model) == before:  # else it was replaced in the meantime
                return cls.of(detector, chosen(detector, criterion, alpha, beta), model.name, sha256,
                              criterion or "")

    @classmethod
    def of(cls, detector: Ulsad, criterion: Criterion, model: str, sha256: str, name: str = "") -> Judge:
        """From a detector whose file has this name and hash, and its criterion with its own name, if any."""
        basis = Basis(model, sha256, detector.branches.extractor.weights_hash, name, criterion.to_dict(),
                      ulsad.__version__, version("torch"))
        judging = detector.ignoring(unpacked(criterion.ignored)) if criterion.ignored else detector
        return cls(detector, judging, criterion, basis)

    def verdict(self, photo: Path | str | Image.Image | np.ndarray, name: str | None = None) -> Verdict:
        """The verdict on one photo: a file, or pixels as `Ulsad.predict` takes them. Its name is the file's
        if none is given. Raises `InputError` if it can't be read."""
        if name is None:
            name = Path(photo).name if isinstance(photo, (str, Path)) else ""
        prediction = self.detector.predict(photo)
        if isinstance(photo, (str, Path)):
            return self.of_prediction(prediction, name)
        return self._of(prediction, name, hashlib.sha256(np.asarray(photo).tobytes()).hexdigest())

    def verdicts(self, photos: Mapping[Path, str]) -> Iterator[tuple[Verdict, Prediction] | Skipped]:
        """The verdict on each photo, by the name given for it, and its maps; in order, some at a time in
        parallel. A photo that can't be read gives `Skipped`."""
        for result in self.detector.predict_many(photos):
            if isinstance(result, Skipped):
                yield result
                continue
            try:
                yield self.of_prediction(result, photos[result.file]), result
            except InputError as error:
                yield Skipped(result.file, str(error))

    def of_prediction(self, prediction: Prediction, name: str) -> Verdict:
        """The verdict that follows from a prediction. Raises `InputError` if its file is gone."""
        return self._of(prediction, name, sha256_of(prediction.file))

    def of_batch(self, batch: Batch) -> Iterator[Verdict]:
        """The verdicts on photos that were scored together; one that is gone has no SHA-256."""
        for name, judged, prediction in zip(batch.names, batch.judged(self.criterion), batch.predictions,
                                            strict=True):
            yield self._verdict(judged, prediction, name, _sha256_or_none(prediction))

    def unreadable(self, skipped: Skipped, name: str) -> Verdict:
        """The verdict on a file that can't be read, with the reason in its notes."""
        sha256 = _sha256_or_none(skipped)
        reason = skipped.reason.removeprefix(f"{skipped.path}: ")
        return Verdict(name, math.nan, math.nan, math.nan, UNREADABLE, "", "", (reason,), now(), sha256,
                       self.basis.id)

    def _of(self, prediction: Prediction, name: str, sha256: str) -> Verdict:
        judged = Batch((name,), (prediction,)).judged(self.criterion)[0]
        return self._verdict(judged, prediction, name, sha256)

    def _verdict(self, judged: Judged, prediction: Prediction, name: str, sha256: str) -> Verdict:
        return Verdict(name, *judged, self.detector.seen_in(prediction), prediction.notes, now(), sha256,
                       self.basis.id)


def chosen(
    detector: Ulsad, name: str | None, alpha: float | None = None, beta: float | None = None
) -> Criterion:
    """The criterion saved under this name, or else the suggested one at α and β (default: the model's).

    Raises `InputError`.
    """
    if name is not None:
        if alpha is not None or beta is not None:
            raise InputError(f"The criterion '{name}' has its own α and β. Give either it or α and β.")
        if name not in detector.criteria:
            known = ", ".join(detector.criteria) or "none"
            raise InputError(f"The model has no criterion '{name}'. Saved criteria: {known}.")
        return detector.criteria[name]
    alpha = detector.config.alpha if alpha is None else alpha
    beta = detector.config.beta if beta is None else beta
    if not 0 <= alpha < beta <= 1:
        raise InputError(f"α must be below β, both from 0 to 1, not {alpha} and {beta}.")
    return Criterion.suggested(detector.calibration, alpha, beta)


def sha256_of(file: Path) -> str:
    """Of a file's bytes. Raises `InputError` if it can't be read."""
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file} can't be read ({error.strerror}).") from error


def _sha256_or_none(photo: Prediction | Skipped) -> str:
    """"" if its file is gone, or if it never was one."""
    try:
        return sha256_of(photo.path) if photo.path else ""
    except InputError:
        return ""


def now() -> str:
    """The time as it stands in verdicts: ISO 8601, local, with the offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def stamp_of(file: Path) -> tuple[int, int, int] | None:
    """Changes with the file; None if it is gone."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
