"""Train a model from the command line, or as the process of a run directory."""

from __future__ import annotations

import argparse
from pathlib import Path

from ulsad.commands.options import add_machine, add_photos, order
from ulsad.detector import model_file
from ulsad.errors import InputError
from ulsad.runs.process import train_in_directory, train_to_file

EXAMPLE = "photos/good --out part.safetensors"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_photos(parser)
    parser.add_argument("--out", type=Path, help="the model file to write")
    parser.add_argument("--run-dir", type=Path, help="a directory for progress, checkpoint and model")
    parser.add_argument("--resume", action="store_true", help="resume the stopped or killed run in --run-dir")
    parser.add_argument("--queue", action="store_true",
                        help="wait until earlier runs in the same models directory have ended")
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Raises `InputError` for bad options, settings or photos."""
    if options.resume:
        if not options.run_dir or options.photos:
            raise InputError("--resume needs --run-dir DIR and no photos: the run continues with its own.")
        train_in_directory(options.run_dir, None, options.queue)
        return
    given = order(options)
    if options.out:
        model_file.require_writable(options.out)
    if options.run_dir:
        train_in_directory(options.run_dir, given, options.queue, options.out)
    elif options.out:
        train_to_file(given, options.out)
    else:
        raise InputError("Choose where to write the model: --out FILE or --run-dir DIR.")
