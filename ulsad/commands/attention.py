"""Figure 5 of the paper for one photo; needs no trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from ulsad.attention import figure
from ulsad.attention.attention import patch_features, standardised
from ulsad.attention.concepts import GROUPS, concepts
from ulsad.commands.options import add_machine, natural, positive
from ulsad.compute.device import choose_device
from ulsad.detector import printing
from ulsad.errors import InputError
from ulsad.method.backbones import BACKBONES, load_backbone
from ulsad.method.config import Config
from ulsad.photos.images import read_image

EXAMPLE = "photos/good/000.png --out figure5.pdf"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the figure, as .pdf, .png or .svg")
    parser.add_argument("--concepts", type=natural, default=4, metavar="N", help="maps, 1 to 12 (4)")
    parser.add_argument("--captions", nargs="+", default=[], metavar="TEXT", help="below the maps")
    parser.add_argument("--temperature", type=positive, metavar="T",
                        help="a multiple of √c*, 1 as in the paper; default: a separate one for each concept")
    parser.add_argument("--backbone", choices=BACKBONES, default=Config().backbone)
    parser.add_argument("--layers", nargs=2, metavar="LAYER", help="j and j+1")
    add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Raises `InputError` for an unreadable photo or missing weights."""
    if not 1 <= options.concepts <= GROUPS:
        raise InputError(f"--concepts must be from 1 to {GROUPS}.")
    printing.require_writable(options.out)
    config = Config(backbone=options.backbone, layers=options.layers and tuple(options.layers))
    extractor = load_backbone(config, options.weights).to(choose_device(options.device))
    photo = read_image(options.photo)
    features = patch_features(extractor, photo, config.image_size)
    found = concepts(standardised(features), options.concepts, options.temperature)
    printing.write(options.out, figure.draw(photo, found, options.captions))
    print(f"{options.out}: the {len(found)} most distinct concepts of {options.photo.name}")
