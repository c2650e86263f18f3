"""Check photos for training: what is there, what is wrong, and what training would need."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ulsad.commands.options import add_machine, add_photos, order
from ulsad.errors import InputError
from ulsad.photos.intake import GOOD_PARTS, HELD_OUT
from ulsad.runs import photo_check
from ulsad.runs.estimate import estimate

EXAMPLE = "photos/good --defects photos/scratched"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_photos(parser)
    add_machine(parser)


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
