"""Time training, inference, and waiting times in the app."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from ulsad.commands.options import count, natural
from ulsad.evaluation.tables import Table
from ulsad.speed import engines, large, latency, scaling, service, throughput
from ulsad.ui import library

EXAMPLE = "throughput"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("part", nargs="?",
                        choices=("throughput", "scaling", "latency", "engines", "service", "large"),
                        help="throughput: training and scoring, compared with a plain implementation of the "
                             "paper; scaling: time and memory with more photos or pixels; latency: waiting "
                             "times in the app; engines: an exported model in onnxruntime and "
                             "OpenVINO, if they are installed; service: 'serve' with several clients; large: "
                             "photos of 12 and 80 megapixels; default: all of them")
    parser.add_argument("--batch", type=natural, default=500, metavar="N",
                        help="photos open in the app (500)")
    parser.add_argument("--rounds", type=count, default=40, metavar="N",
                        help="repetitions of short measurements (40)")


def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for table in _tables(options, Path(scratch)):
            print(table.markdown(), flush=True)


def _tables(options: argparse.Namespace, folder: Path) -> Iterator[Table]:
    machine = (f"{_processor()}, {os.cpu_count()} CPUs, torch {torch.__version__} with "
               f"{torch.get_num_threads()} threads, Python {platform.python_version()}.")
    files = latency.demo_jpegs(folder / "photos", max(options.batch, 16))
    if options.part in (None, "throughput"):
        yield throughput.beside_plain(library.DEMO_MODEL, files, folder, machine)
    if options.part in (None, "scaling"):
        yield from scaling.tables(library.demo_photos(), files[:16], folder, machine)
    if options.part in (None, "latency"):
        yield latency.of_app(files, options.batch, options.rounds, folder, machine)
    if options.part in (None, "large"):
        yield large.table(library.DEMO_MODEL, library.demo_photos(), folder / "large", machine)
    if options.part in (None, "service"):
        yield service.under_load(library.DEMO_MODEL, files[:16], 8 * options.rounds, machine)
    if options.part in (None, "engines"):
        yield engines.table(library.DEMO_MODEL, options.rounds, folder / "exported", machine)
        yield engines.starts(library.DEMO_MODEL, files[0], 5, folder / "exported", machine)


def _processor() -> str:
    """The processor's name; the full one on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
