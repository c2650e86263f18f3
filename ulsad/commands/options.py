"""Options that several commands share, and parsers for their values."""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from ulsad.detector.criterion import Criterion, unpacked
from ulsad.detector.detector import Ulsad
from ulsad.line.judge import chosen
from ulsad.method.config import PRESETS
from ulsad.runs.process import Order


def add_photos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="*", type=Path,
                        help="good parts: a folder, a zip, or photos; or a whole data set")
    parser.add_argument("--held-out", nargs="+", type=Path, metavar="PHOTOS", default=[],
                        help="good parts for calibration only; default: a share of the photos is held out")
    parser.add_argument("--defects", nargs="+", type=Path, metavar="PHOTOS", default=[],
                        help="known defects, used only to test the finished model")
    add_settings(parser)


def order(options: argparse.Namespace) -> Order:
    """The order from the options of `add_photos` and `add_machine`. Raises `InputError` for bad settings."""
    photos, held_out, defects = (tuple(str(path.absolute()) for path in slot)
                                 for slot in (options.photos, options.held_out, options.defects))
    given = Order(photos, held_out, defects, options.preset, tuple(options.settings),
                  options.weights and str(options.weights.absolute()), options.device)
    given.config  # noqa: B018  raises now rather than after queueing
    return given


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                        dest="settings", help="override settings of the preset, e.g. steps=1000 seed=1")


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="the backbone's pre-trained weights, or a folder with them")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 …; default: a GPU if there is one")


def add_criterion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--criterion", metavar="NAME", help="α, β and thresholds saved under this name")
    parser.add_argument("--alpha", type=float, help="quantile level mapped to 0 (default: the model's)")
    parser.add_argument("--beta", type=float, help="quantile level mapped to 0.1 (default: the model's)")


def add_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", action="store_true",
                        help="log scores beside the model, so that the app shows them under Days")


def judging(detector: Ulsad, options: argparse.Namespace) -> tuple[Ulsad, Criterion]:
    """The criterion from the options of `add_criterion`, and the detector without the areas that it ignores.

    Raises `InputError`, see `line.judge.chosen`.
    """
    criterion = chosen(detector, options.criterion, options.alpha, options.beta)
    return (detector.ignoring(unpacked(criterion.ignored)) if criterion.ignored else detector), criterion


def tell(text: str, file: TextIO | None = None) -> None:
    """Print a line, to stderr unless a file is given, if anybody is left to read it: a closed pipe must not
    end what is at work."""
    with suppress(OSError, ValueError):
        print(text, file=file or sys.stderr, flush=True)


def natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("write a whole number, 0 or more")
    return int(text)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("write a whole number, 1 or more")
    return int(text)


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("write a number greater than 0")
    return number


def words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)
