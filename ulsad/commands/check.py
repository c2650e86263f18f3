"""Check photos for training: what is there, what is wrong, what training needs, and would more help?"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ulsad.commands.options import add_machine, add_photos, order
from ulsad.detector.detector import Ulsad
from ulsad.detector.fitting import Watch
from ulsad.detector.photo_sets import MINIMUM_PHOTOS
from ulsad.detector.terminal import print_progress
from ulsad.errors import InputError
from ulsad.photos.intake import GOOD_PARTS, HELD_OUT
from ulsad.runs import photo_check
from ulsad.runs.curve import Measured, curve_table, measured
from ulsad.runs.estimate import estimate
from ulsad.runs.process import Order

EXAMPLE = "photos/good --defects photos/scratched"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_photos(parser)
    add_machine(parser)
    parser.add_argument("--curve", action="store_true",
                        help="also train on half of the good photos and on all, and say what twice as many "
                             "would change; it takes as long as two trainings")


def run(options: argparse.Namespace) -> None:
    """Raises `InputError` when the photos can't be trained on."""
    given = order(options)
    with tempfile.TemporaryDirectory() as scratch:
        intake = given.intake(Path(scratch))
        result = photo_check.check(intake.slots, given.config.white_level)
        for slot in result.slots:
            print(f"{slot.name}: {slot.readable} photos")
        for problem in result.problems():
            print(f"  {problem}")
        if result.refused:
            raise InputError("These photos can't be trained on yet.")
        print(estimate(given.config, result.usable(GOOD_PARTS), result.usable(HELD_OUT),
                       result.seconds_per_photo, options.weights, options.device))
        if options.curve:
            _require_enough(given, len(intake.good))
            half, everything = _halves(intake.good, given.config.seed)
            print(curve_table(*(_trained(given, photos, intake.held_out) for photos in (half, everything))))


def _require_enough(given: Order, photos: int) -> None:
    if photos < 2 * MINIMUM_PHOTOS:
        raise InputError(f"--curve needs {2 * MINIMUM_PHOTOS} good photos, to train on half of them; there "
                         f"are {photos}.")
    if not given.config.stop_when_still:
        raise InputError("--curve needs stop_when_still=true, as in 'quick': it uses the self-made defects "
                         "of such a training.")


def _halves(photos: Sequence[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """Half of the photos, drawn with the seed, and all."""
    drawn = np.random.default_rng(seed).permutation(len(photos))[:len(photos) // 2]
    return [photos[i] for i in sorted(drawn)], list(photos)


def _trained(given: Order, photos: list[Path], held_out: Sequence[Path]) -> Measured:
    detector = Ulsad.fit(photos, given.config, held_out or None, given.weights, given.device,
                         watch=Watch(print_progress))
    return measured(detector)
