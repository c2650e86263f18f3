"""The good photos that look strangest to networks that do not know them: is each of them really good?

A defect among the good photos is learned as good, and raises the thresholds.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulsad.detector import rendering
from ulsad.detector.criterion import strange
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.runs import directory
from ulsad.runs.outcome import Outcome

SHOWN = 3  # photos, or as many as are far above all others
SIDE = 320  # px of a picture's longer side


class Strangest(NamedTuple):
    """A good photo with a high score, of networks and patches that do not know it."""

    name: str
    score: float
    is_far_above: bool  # all others, see `criterion.strange`


def strangest(outcome: Outcome, record: dict[str, Any]) -> list[Strangest]:
    """The held-out good photos with the highest scores, highest first."""
    scores = np.array([one.combined for one in outcome.held_out])
    far = set(strange(scores).tolist())
    order = np.argsort(-scores, kind="stable")[:max(SHOWN, len(far))]
    return [Strangest(record["held_out"][i], float(scores[i]), int(i) in far) for i in order]


def draw(folder: Path, detector: Ulsad, paths: Sequence[Path], found: Sequence[Strangest]) -> None:
    """Write 1.png, 2.png, … into a new folder: each photo beside its combined map. `paths` has the model's
    good photos."""
    by_name = {path.name: path for path in paths}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, one in enumerate(found, start=1):
        with suppress(InputError, OSError):  # gone, or the disk is full; the training is done all the same
            prediction = detector.predict(by_name[one.name])
            photo = rendering.fit_within(detector.reading(by_name[one.name], SIDE).image, SIDE)
            views, titles = rendering.views(photo, prediction.maps()), rendering.TITLES
            rendering.sheet([views[0], views[-1]], (titles[0], titles[-1])).save(folder / f"{number}.png")


def pictures(run: Path) -> list[Path]:
    """What `draw` wrote for a run, in the same order."""
    folder = run / directory.STRANGEST
    return sorted(folder.glob("*.png"), key=lambda file: int(file.stem))
