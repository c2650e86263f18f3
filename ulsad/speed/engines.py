"""Speed on the line: an exported model in other engines beside torch, and the time to a first verdict."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ulsad.evaluation.tables import Table
from ulsad.line.export import FORMATS, RUNNER, export, reference_squares
from ulsad.line.inference import Inference
from ulsad.line.judge import Judge

TOGETHER = 8  # photos
COLUMNS = ("engine", "1 photo at a time", f"{TOGETHER} photos at a time", "compared with torch")

FIRST_VERDICT = """import sys
from ulsad.line import Judge
Judge.load(sys.argv[1]).verdict(sys.argv[2])"""

Engine = Callable[[np.ndarray], object]  # takes squares, see `Inference`


def table(model: Path, rounds: int, folder: Path, machine: str) -> Table:
    """Median milliseconds a photo in each engine that is installed, timed in turns.

    `folder` is for the exported files. Raises `InputError`, see `export`.
    """
    judge = Judge.load(model, device="cpu")
    export(judge, folder, "model", ("onnx",) if find_spec("onnxruntime") else ("torch",))
    engines = dict(installed(judge, folder / "model.onnx"))
    squares = reference_squares(judge)[:TOGETHER]
    one, many = _alternately(engines, squares[:1], rounds), _alternately(engines, squares, rounds)
    rows = tuple((name, f"{one[name]:.1f}", f"{many[name] / len(squares):.1f}",
                  f"{many[name] / many['torch']:.2f}") for name in engines)
    missing = [name for name in ("onnxruntime", "openvino") if find_spec(name) is None]
    return Table("Exported", COLUMNS, rows, f"Milliseconds a photo, without reading it. {machine}"
                 + "".join(f" {name} is not installed." for name in missing))


def starts(model: Path, photo: Path, rounds: int, folder: Path, machine: str) -> Table:
    """Seconds from the start of Python to the first verdict, in `folder` with the files of `table`."""
    commands: dict[str, list[str | Path]] = {"ulsad.line": ["-c", FIRST_VERDICT, model, photo]}
    if (folder / "model.onnx").is_file():
        commands[RUNNER.name] = [RUNNER, folder / "model.onnx", photo]
    rows = []
    for what, arguments in commands.items():
        seconds = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began)
        rows.append((what, f"{statistics.median(seconds[1:]):.1f}"))
    return Table("From start to first verdict", ("what", "s"), tuple(rows), machine)


def installed(judge: Judge, onnx: Path) -> Iterator[tuple[str, Engine]]:
    """Every engine that is installed, by name, torch first. The others need the file."""
    inference = Inference(judge)

    @torch.inference_mode()
    def in_torch(squares: np.ndarray) -> object:
        return inference(torch.from_numpy(squares))

    yield "torch", in_torch
    if not onnx.is_file():
        return
    yield "onnxruntime", FORMATS["onnx"].open(onnx)
    if find_spec("openvino"):
        import openvino

        compiled = openvino.Core().compile_model(onnx, "CPU")
        yield "OpenVINO", lambda squares: compiled({"squares": squares})


def _alternately(engines: dict[str, Engine], squares: np.ndarray, rounds: int) -> dict[str, float]:
    """Median milliseconds of one call, after one that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds + 1):
        for name, run in engines.items():
            began = time.perf_counter()
            run(squares)
            found[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(times[1:]) for name, times in found.items()}
