"""Write a model and a criterion as files that other programs run, each checked against our own maps."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ulsad.detector.calibrating import raw_maps
from ulsad.errors import InputError
from ulsad.line import export_page
from ulsad.line.inference import VERDICTS, Inference
from ulsad.line.judge import Judge
from ulsad.photos.files import write_text
from ulsad.photos.images import to_square

TOLERANCE = 1e-4  # largest difference allowed, absolute, and relative to values above 1
CHECKED = 4  # photos in the file with which others can check their own program
RUNNER = Path(__file__).with_name("run_exported.py")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Outputs = dict[str, np.ndarray]  # of `Inference`, by name


class Format(NamedTuple):
    """A kind of file: how to write it, and how to run it."""

    suffix: str
    write: Callable[[ExportedProgram, dict[str, Any], list[str], Path], None]  # program, facts, outputs, file
    open: Callable[[Path], Callable[[np.ndarray], Outputs]]


class Exported(NamedTuple):
    """One file, and by how much its outputs differ from ours at most: by name, over all references."""

    file: Path
    differences: dict[str, float]


def export(
    judge: Judge, folder: Path, name: str, formats: Sequence[str] = ("onnx", "torch"),
    on_step: Callable[[str], None] = lambda step: None,
) -> list[Exported]:
    """Write NAME.onnx and NAME.pt2, a page about them, an example, and photos to check other programs with.

    `on_step` is told what is being done. Raises `InputError` if a package is missing, nothing can be written,
    or a file's outputs differ from ours by more than `TOLERANCE` on the model's reference photos; nothing is
    left then.
    """
    _require_packages(formats)
    _make(folder)
    squares = reference_squares(judge)
    facts = facts_of(judge)
    on_step("computing the maps of the reference photos")
    wanted = our_outputs(judge, squares)
    on_step("recording the computation")
    program = _recorded(Inference(judge), squares)
    found = []
    try:
        with TemporaryDirectory(prefix=".export-", dir=folder) as scratch:
            for kind in formats:
                file = Path(scratch) / f"{name}{FORMATS[kind].suffix}"
                on_step(f"writing and checking {file.name}")
                FORMATS[kind].write(program, facts, list(wanted), file)
                differences = _differences(FORMATS[kind].open(file), squares, wanted)
                _require_agreement(file, differences, wanted)
                found.append(Exported(folder / file.name, differences))
            _write_companions(Path(scratch), facts, squares, wanted, found)
            for file in Path(scratch).iterdir():
                os.replace(file, folder / file.name)
    except OSError as error:
        raise InputError(f"{folder} could not be written ({error}). Is the disk full?") from error
    return found


def facts_of(judge: Judge) -> dict[str, Any]:
    """What a program must know besides the computation: plain JSON values."""
    criterion, config = judge.criterion, judge.detector.config
    has_global = judge.detector.calibration.global_ is not None
    return {
        "side": config.image_size, "white_level": config.white_level, "verdicts": list(VERDICTS),
        "scores": ["combined", "local", "global"][: 3 if has_global else 2],
        "review": criterion.review, "fail": criterion.fail, "local": criterion.local,
        "global": criterion.global_ if has_global else None, "basis": judge.basis.to_dict()}


def reference_squares(judge: Judge) -> np.ndarray:
    """The good photos in the model as squares, uint8 (k, s, s, 3)."""
    references, side = judge.detector.references, judge.detector.config.image_size
    return np.stack([to_square(references.photo(i), side).permute(1, 2, 0).numpy()
                     for i in range(len(references.names))])


def our_outputs(judge: Judge, squares: np.ndarray) -> Outputs:
    """What `Inference` is to compute, from the detector's own functions."""
    detector, criterion = judge.detector, judge.criterion
    analysis = detector.branches.analyse(torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous())
    local, global_ = raw_maps(detector.branches, analysis.distances)
    if detector.calibration.ignored is not None:
        for raw in (local, global_):
            if raw is not None:
                raw[:, detector.calibration.ignored] = 0
    normalisation = detector.calibration.normalisation(criterion.alpha, criterion.beta, criterion.combine)
    maps = normalisation(local, global_)
    by_name = {"local": maps.local, "global": maps.global_, "combined": maps.combined}
    named = {name: values for name, values in by_name.items() if values is not None}
    order = [name for name in ("combined", "local", "global") if name in named]
    scores = np.stack([named[name].max(axis=(1, 2)) for name in order], axis=1)
    verdicts = [VERDICTS.index(verdict) for verdict in criterion.verdicts(scores)]
    return named | {"scores": scores, "verdict": np.array(verdicts),
                    "strangeness": detector.references.strangeness(analysis.descriptors)}


def _recorded(inference: Inference, squares: np.ndarray) -> ExportedProgram:
    """For any number of photos; two are enough to record it."""
    example = torch.from_numpy(np.repeat(squares[:1], 2, axis=0))
    with torch.no_grad():
        return torch.export.export(inference, (example,), dynamic_shapes={"squares": {0: Dim("n", min=1)}})


def _write_onnx(program: ExportedProgram, facts: dict[str, Any], outputs: list[str], file: Path) -> None:
    written = torch.onnx.export(program, input_names=["squares"], output_names=outputs, dynamo=True,
                                verbose=False)
    assert written is not None  # with `dynamo`
    written.model.metadata_props["ulsad"] = json.dumps(facts)
    written.save(file, external_data=False)


def _open_onnx(file: Path) -> Callable[[np.ndarray], Outputs]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda squares: dict(zip(names, session.run(None, {"squares": squares}), strict=True))


def _write_torch(program: ExportedProgram, facts: dict[str, Any], outputs: list[str], file: Path) -> None:
    with warnings.catch_warnings():  # on weights that are not contiguous, which it writes correctly
        warnings.filterwarnings("ignore", message="No complete tensor")
        torch.export.save(program, file, extra_files={"ulsad.json": json.dumps(facts)})


def _open_torch(file: Path) -> Callable[[np.ndarray], Outputs]:
    module = torch.export.load(file).module()

    def run(squares: np.ndarray) -> Outputs:
        outputs: dict[str, Tensor] = module(torch.from_numpy(squares))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


FORMATS = {"onnx": Format(".onnx", _write_onnx, _open_onnx),
           "torch": Format(".pt2", _write_torch, _open_torch)}


def _require_packages(formats: Sequence[str]) -> None:
    missing = [name for name in PACKAGES if find_spec(name) is None] if "onnx" in formats else []
    if missing:
        raise InputError(f"ONNX files need packages that are not installed. Run 'python -m pip install "
                         f"{' '.join(missing)}', or write the other file alone: --format torch")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} can't be made ({error}). Choose another folder.") from error


def _differences(
    run: Callable[[np.ndarray], Outputs], squares: np.ndarray, wanted: Outputs
) -> dict[str, float]:
    """The largest difference of each output, over batches of one and of several photos."""
    found = [run(batch) for batch in _batches(squares)]
    return {name: float(np.abs(np.concatenate([outputs[name] for outputs in found]) - values).max())
            for name, values in wanted.items()}


def _batches(squares: np.ndarray) -> Iterator[np.ndarray]:
    yield squares[:1]
    for start in range(1, len(squares), CHECKED):
        yield squares[start:start + CHECKED]


def _require_agreement(file: Path, differences: dict[str, float], wanted: Outputs) -> None:
    for name, difference in differences.items():
        allowed = TOLERANCE * max(1.0, float(np.abs(wanted[name]).max()))
        if not difference <= allowed:
            raise InputError(f"{file.name} was not kept: its {name} differs by {difference:.1e} from ours on "
                             f"the model's good photos, more than {allowed:.0e}. Other versions of torch or "
                             "onnxruntime may work; see requirements.txt for those that were tested.")


def _write_companions(
    folder: Path, facts: dict[str, Any], squares: np.ndarray, wanted: Outputs, exported: list[Exported]
) -> None:
    shutil.copyfile(RUNNER, folder / RUNNER.name)
    some: dict[str, Any] = {name: values[:CHECKED] for name, values in wanted.items()}
    np.savez_compressed(folder / "check.npz", squares=squares[:CHECKED], **some)
    write_text(folder / "README.md", export_page.page(
        facts, [(item.file.name, item.differences) for item in exported], len(squares)))
