"""python -m ulsad train | check | predict | attention | evaluate | ablate | compare | demo | bench."""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from ulsad.attention import figure as attention_figure
from ulsad.attention.attention import patch_features, standardised
from ulsad.attention.concepts import GROUPS, concepts
from ulsad.compute import distributed
from ulsad.compute.memory import keep_freed
from ulsad.demo.dataset import write_demo, write_sample
from ulsad.detector import model_file, rendering, spreadsheet
from ulsad.detector.batch import Batch, Table, said_of_strange
from ulsad.detector.criterion import Criterion, unpacked
from ulsad.detector.detector import Ulsad
from ulsad.detector.prediction import Prediction
from ulsad.detector.preparation import choose_device
from ulsad.errors import InputError
from ulsad.evaluation import commands as experiments
from ulsad.method.backbones import BACKBONES, load_backbone
from ulsad.method.config import PRESETS, Config
from ulsad.photos.archives import gather_photos
from ulsad.photos.images import Skipped, read_image
from ulsad.photos.intake import GOOD_PARTS, HELD_OUT
from ulsad.runs import photo_check
from ulsad.runs.estimate import estimate
from ulsad.runs.process import Order, Stopped, train_in_directory, train_to_file


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    keep_freed()
    try:
        options.command(options)
    except (InputError, OSError) as error:  # what a disk refuses is the user's to mend
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Stopped, KeyboardInterrupt):
        print("stopped; what was finished before is kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ulsad", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="learn what good parts look like")
    _with_photos(train)
    train.add_argument("--out", type=Path, help="the model file to write")
    train.add_argument("--run-dir", type=Path, help="a directory for progress, checkpoint and model")
    train.add_argument("--resume", action="store_true", help="go on with a stopped or killed --run-dir")
    train.add_argument("--queue", action="store_true",
                       help="wait until runs beside --run-dir that were started earlier have ended")
    _with_machine_options(train)
    train.set_defaults(command=train_command)

    check = commands.add_parser("check", help="are these photos fit to train on, and what would it take?")
    _with_photos(check)
    _with_machine_options(check)
    check.set_defaults(command=check_command)

    predict = commands.add_parser("predict", help="score photos and draw their anomaly maps")
    predict.add_argument("model", type=Path)
    predict.add_argument("photos", type=Path, help="a folder, a zip, or one photo")
    predict.add_argument("--out", type=Path, required=True, help="folder for scores.csv and the maps")
    predict.add_argument("--raw", action="store_true",
                         help="also write the raw local and global maps at photo size, as .npz")
    predict.add_argument("--criterion", metavar="NAME", help="α, β and thresholds saved under this name")
    predict.add_argument("--alpha", type=float, help="quantile level mapped to 0 (default: the model's)")
    predict.add_argument("--beta", type=float, help="quantile level mapped to 0.1 (default: the model's)")
    _with_machine_options(predict)
    predict.set_defaults(command=predict_command)

    attention = commands.add_parser("attention", help="what a pre-trained network attends to: Figure 5")
    attention.add_argument("photo", type=Path)
    attention.add_argument("--out", type=Path, required=True, help="the figure, as .pdf, .png or .svg")
    attention.add_argument("--concepts", type=_natural, default=4, metavar="N", help="maps, 1 to 12 (4)")
    attention.add_argument("--captions", nargs="+", default=[], metavar="TEXT", help="below the maps")
    attention.add_argument("--temperature", type=_positive, metavar="T",
                           help="as a multiple of √c*, 1 is the paper's; otherwise each concept has its own")
    attention.add_argument("--backbone", choices=BACKBONES, default=Config().backbone)
    attention.add_argument("--layers", nargs=2, metavar="LAYER", help="j and j+1")
    _with_machine_options(attention)
    attention.set_defaults(command=attention_command)

    experiments.add_evaluate(_with_machine_options(commands.add_parser(
        "evaluate", help="how good is it? metrics on a labelled data set")))
    experiments.add_ablate(_with_machine_options(commands.add_parser(
        "ablate", help="the paper's ablations on a data set")))
    experiments.add_compare(_with_machine_options(commands.add_parser(
        "compare", help="other methods on the same photos")))

    demo = commands.add_parser("demo", help="draw a synthetic part tray to try everything on")
    demo.add_argument("folder", type=Path)
    demo.add_argument("--seed", type=_natural, default=0)
    demo.add_argument("--train", type=_natural, default=60, metavar="N", help="good photos to train on (60)")
    demo.add_argument("--sample", action="store_true",
                      help="only eight photos to look at, as JPEG: one good, and one of each defect")
    demo.set_defaults(command=demo_command)

    bench = commands.add_parser("bench", help="how fast is this machine, beside the procedure done plainly?")
    bench.add_argument("part", nargs="?", choices=("throughput", "scaling", "latency"),
                       help="training and scoring beside the plain procedure; what both take with more "
                            "photos or pixels; what one waits for in the app; default: all")
    bench.add_argument("--batch", type=_natural, default=500, metavar="N", help="photos open at once (500)")
    bench.add_argument("--rounds", type=_natural, default=40, metavar="N",
                       help="how often what takes a moment is timed (40)")
    bench.set_defaults(command=bench_command)
    return parser


def _with_photos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="*", type=Path,
                        help="good parts: a folder, a zip, or photos; or a whole data set")
    parser.add_argument("--held-out", nargs="+", type=Path, metavar="PHOTOS", default=[],
                        help="good parts for calibration only; otherwise a share of the photos is kept back")
    parser.add_argument("--defects", nargs="+", type=Path, metavar="PHOTOS", default=[],
                        help="known defects, to test the model with when it is done, and for nothing else")
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                        dest="settings", help="change settings of the preset, e.g. steps=1000 seed=1")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("write a whole number, 0 or more")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("write a number greater than 0")
    return number


def _with_machine_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="the backbone's pre-trained weights, or a folder that holds them")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 …; default: a GPU where there is one")
    return parser


def train_command(options: argparse.Namespace) -> None:
    """Train from the command line, or as the child process behind a run directory."""
    if options.resume:
        if not options.run_dir or options.photos:
            raise InputError("--resume goes on with the run in --run-dir DIR as begun: no photos.")
        train_in_directory(options.run_dir, None, options.queue)
        return
    order = _order(options)
    if options.out:
        model_file.require_writable(options.out)
    if options.run_dir:
        train_in_directory(options.run_dir, order, options.queue, options.out)
    elif options.out:
        train_to_file(order, options.out)
    else:
        raise InputError("Say where the model goes: --out FILE, or --run-dir DIR.")


def _order(options: argparse.Namespace) -> Order:
    order = Order(*(tuple(str(path.absolute()) for path in slot)
                    for slot in (options.photos, options.held_out, options.defects)),
                  options.preset, tuple(options.settings),
                  options.weights and str(options.weights.absolute()), options.device)
    order.config  # noqa: B018  complains now rather than when it is its turn
    return order


def check_command(options: argparse.Namespace) -> None:
    """Print what is in the slots, what is wrong with it, and what a training would take."""
    order = _order(options)
    with tempfile.TemporaryDirectory() as scratch:
        intake = order.intake(Path(scratch))
        result = photo_check.check(intake.slots, order.config.white_level)
    for slot in result.slots:
        print(f"{slot.name}: {slot.readable} photos")
    for problem in result.problems():
        print(f"  {problem}")
    if result.refused:
        raise InputError("So there is nothing to train on yet.")
    print(estimate(order.config, result.usable(GOOD_PARTS), result.usable(HELD_OUT),
                   result.seconds_per_photo, options.weights, options.device))


def predict_command(options: argparse.Namespace) -> None:
    """Write scores.csv, a picture of the maps per photo, and skipped.csv where a photo was unreadable.

    Processes that torchrun started share the photos; the first one puts their tables together.
    """
    with distributed.group():
        detector = Ulsad.load(options.model, options.weights, options.device or distributed.local_device())
        criterion = _criterion(detector, options)
        if criterion.ignored:
            detector = detector.ignoring(unpacked(criterion.ignored))
        if options.photos.is_dir() and options.out.resolve().is_relative_to(options.photos.resolve()):
            raise InputError(f"--out {options.out} lies in the folder of photos, so its maps would be scored "
                             "as photos the next time. Choose a folder outside.")
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            names = _named_photos(options.photos, Path(scratch))
            mine = dict(list(names.items())[distributed.rank()::distributed.size()])
            table = options.out / ("scores.csv" if distributed.size() == 1 else f".scores-{os.getpid()}.csv")
            skipped, strange, noted = map(distributed.gathered, _write_predictions(
                detector, mine, table, options.out / "maps", criterion, options.raw))
        if distributed.size() > 1:
            _merge(table, options.out / "scores.csv", list(names.values()))
        if distributed.rank() == 0:
            scored = len(names) - len(skipped)
            if strange:
                print(said_of_strange(len(strange), scored), file=sys.stderr)
            if noted:
                print(f"Photos with notes: {len(noted)}, {noted[0]} for one; see the last column.",
                      file=sys.stderr)
            print(f"{scored} photos scored, {options.out / 'scores.csv'}")
            _write_skipped(options.out / "skipped.csv", skipped)


def _named_photos(source: Path, scratch: Path) -> dict[Path, str]:
    """Photos of a folder, a zip or one file, with their names relative to it."""
    paths = gather_photos([source], scratch)
    root = source if source.is_dir() else paths[0].parent
    if source.suffix.lower() == ".zip":
        root = scratch / "zip0"
    return {path: path.relative_to(root).as_posix() for path in paths}


def _merge(part: Path, table: Path, names: list[str]) -> None:
    """Every process's rows in the order of all photos."""
    head, *rows = spreadsheet.read(part)
    part.unlink()
    rows = distributed.gathered(rows)
    if distributed.rank() == 0:
        order = {name: i for i, name in enumerate(names)}
        with spreadsheet.Writer(table) as merged:
            merged.rows([head, *sorted(rows, key=lambda row: order[row[0]])])


def _criterion(detector: Ulsad, options: argparse.Namespace) -> Criterion:
    """The one saved under a name, or the one that held-out photos suggest, at the given α and β."""
    if options.criterion is not None:
        if options.criterion not in detector.criteria:
            known = ", ".join(detector.criteria) or "none"
            raise InputError(f"The model has no criterion '{options.criterion}'. Saved with it: {known}.")
        return detector.criteria[options.criterion]
    alpha = detector.config.alpha if options.alpha is None else options.alpha
    beta = detector.config.beta if options.beta is None else options.beta
    if not 0 <= alpha < beta <= 1:
        raise InputError(f"--alpha must be below --beta, both from 0 to 1, not {alpha} and {beta}.")
    return Criterion.suggested(detector.calibration, alpha, beta)


def _write_predictions(
    detector: Ulsad, names: dict[Path, str], table_file: Path, maps: Path, criterion: Criterion, raw: bool
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """The table and the maps; return names and reasons of photos that could not be read, and the names of
    those that look like nothing the model was trained on, and of all that there are notes on."""
    skipped, strange, noted = [], [], []
    with Table(table_file) as table:
        for result in detector.predict_many(names):
            name = names[result.path]
            if isinstance(result, Skipped):
                skipped.append((name, result.reason))
                continue
            table.add(name, Batch((name,), (result,)).judged(criterion)[0], detector.seen_in(result),
                      result.notes)
            _write_maps(detector, result, maps / name, criterion, raw)
            if result.is_strange:
                strange.append(name)
            if result.notes:
                noted.append(name)
    return skipped, strange, noted


def _write_maps(
    detector: Ulsad, prediction: Prediction, place: Path, criterion: Criterion, raw: bool
) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    photo = rendering.fit_within(detector.reading(prediction.path).image, 512)
    maps = prediction.maps(criterion.alpha, criterion.beta, criterion.combine)
    rendering.sheet(rendering.views(photo, maps)).save(f"{place}.png")
    if raw:
        maps = {"local": prediction.local_map, "global": prediction.global_map}
        np.savez(f"{place}.npz", **{name: map_ for name, map_ in maps.items() if map_ is not None})


def _write_skipped(file: Path, skipped: list[tuple[str, str]]) -> None:
    if not skipped:
        file.unlink(missing_ok=True)
        return
    with spreadsheet.Writer(file) as table:
        table.rows([["path", "reason"], *skipped])
    print(f"{len(skipped)} could not be read, see {file}", file=sys.stderr)


def attention_command(options: argparse.Namespace) -> None:
    """Write Figure 5 of one photo; needs no trained model."""
    if not 1 <= options.concepts <= GROUPS:
        raise InputError(f"--concepts goes from 1 to {GROUPS}.")
    config = Config(backbone=options.backbone, layers=options.layers and tuple(options.layers))
    extractor = load_backbone(config, options.weights).to(choose_device(options.device))
    photo = read_image(options.photo)
    features = patch_features(extractor, photo, config.image_size)
    found = concepts(standardised(features), options.concepts, options.temperature)
    attention_figure.write(options.out, attention_figure.draw(photo, found, options.captions))
    print(f"{options.out}: the {len(found)} most distinct concepts of {options.photo.name}")


def demo_command(options: argparse.Namespace) -> None:
    """Render the synthetic part tray in MVTec LOCO's layout."""
    folder = options.folder
    if options.sample:
        write_sample(folder, options.seed)
        return
    write_demo(folder, options.seed, train=options.train)
    print(f"{folder} is ready. Now try\n"
          f"  python -m ulsad train {folder}/train/good --out tray.safetensors\n"
          f"  python -m ulsad predict tray.safetensors {folder}/test --out out")


def bench_command(options: argparse.Namespace) -> None:
    """Time training, inference, and what people wait for in the app."""
    from ulsad.speed.latency import bench

    for table in bench(options.batch, options.part, max(1, options.rounds)):
        print(table.markdown(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
