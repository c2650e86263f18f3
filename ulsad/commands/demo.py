"""Draw the synthetic part tray in MVTec LOCO's layout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ulsad.commands.options import natural
from ulsad.demo.dataset import write_demo, write_sample

EXAMPLE = "tray"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument("--train", type=natural, default=60, metavar="N", help="good photos to train on (60)")
    parser.add_argument("--sample", action="store_true",
                        help="only eight sample photos as JPEG: a good one, and one of each defect")


def run(options: argparse.Namespace) -> None:
    folder = options.folder
    if options.sample:
        write_sample(folder, options.seed)
        return
    print("Drawing trays …", file=sys.stderr)
    write_demo(folder, options.seed, train=options.train)
    print(f"{folder} is ready. Now try\n"
          f"  python -m ulsad train {folder} --out tray.safetensors\n"
          f"  python -m ulsad predict tray.safetensors {folder}/test --out out")
