"""Write a model as ONNX and for torch.export, to run it without this program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ulsad.commands.options import add_criterion
from ulsad.line.judge import Judge

EXAMPLE = "part.safetensors --to part"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser.add_argument("--format", nargs="+", choices=("onnx", "torch"), default=["onnx", "torch"],
                        help="which files to write (both)")
    add_criterion(parser)
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="the backbone's pre-trained weights, or a folder with them")


def run(options: argparse.Namespace) -> None:
    from ulsad.line.export import export  # after the options, as torch.export takes seconds to load

    judge = Judge.load(options.model, options.criterion, alpha=options.alpha, beta=options.beta,
                       weights=options.weights, device="cpu")
    exported = export(judge, options.to, options.model.stem, list(dict.fromkeys(options.format)),
                      lambda step: print(f"{step} …", file=sys.stderr))
    for item in exported:
        size, most = item.file.stat().st_size / 1e6, max(item.differences.values())
        print(f"{item.file}: {size:.1f} MB, differs from our maps by at most {most:.0e}")
    print(f"{options.to / 'README.md'} explains input, output and thresholds; run_exported.py is an example.")
