"""Pictures of anomaly maps beside the photo."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ulsad.detector import rendering
from ulsad.detector.prediction import Prediction
from ulsad.errors import InputError
from ulsad.line.judge import Judge

SIDE = 512  # px, of the longer side of each view


def write_maps(judge: Judge, prediction: Prediction, file: Path | BinaryIO) -> None:
    """A photo with its local, global and combined map side by side, as PNG; nothing if the photo is gone.

    Raises `OSError`.
    """
    try:
        photo = rendering.fit_within(judge.detector.reading(prediction.file, SIDE).image, SIDE)
    except InputError:
        return  # somebody has taken it since it was judged
    criterion = judge.criterion
    maps = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
    rendering.sheet(rendering.views(photo, maps)).save(file, "PNG")
