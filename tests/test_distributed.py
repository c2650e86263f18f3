"""Two processes, as torchrun starts them, do what one does.

Run as a script, this file is one of them: it checks what they share, then does what `python -m ulsad` would.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL, TINY
from PIL import Image
from torch import nn

from ulsad import InputError, Ulsad, Watch
from ulsad.__main__ import main
from ulsad.compute import distributed
from ulsad.compute.rows import MappedRows
from ulsad.detector import spreadsheet
from ulsad.runs import directory, events

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
# How sums are rounded is amplified by Adam's first steps at a high rate, and by BatchNorm over photos that
# are nearly the same; one process on two threads instead of one differs just as much then.
SETTINGS = {"frn_width": 32, "autoencoder_width": 16, "augmented_photos": 30, "precision": "float32",
            "folds": 3, "batch_size": 8, "steps": 6, "schedule": "constant", "learning_rate": 1e-4}


def torchrun(*command: object, seconds: float = 180) -> subprocess.CompletedProcess:
    """Two processes on this machine; none is left when they take too long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         *map(str, command)], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        process.terminate()  # it ends its two processes, which are in sessions of their own
        process.wait(60)
    return subprocess.CompletedProcess(command, process.returncode, output)


def test_two_processes_train_and_score_as_one(good_photos, demo_set, tmp_path):
    """The second process alone sees that a photo has more than 10 bits, and that another can't be read."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, path in enumerate(sorted(good_photos.iterdir())):
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 4
        values[0, 0] = 4000 if i == 6 else 1000  # the eighth, with the broken one
        Image.fromarray(values).save(photos / path.name, compress_level=1)
    (photos / "tray_004 broken.png").write_text("no")
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    folder, tested = tmp_path / "run", demo_set / "test/logical_anomalies"
    done = torchrun(__file__, good_photos, tested, tmp_path, "train", archive, "--run-dir", folder, "--set",
                    *(f"{name}={value}" for name, value in SETTINGS.items()))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("12 photos have more than 8 bits: white is 4095 (12 bits)") == 1
    steps = []
    reference = Ulsad.fit(photos, dataclasses.replace(TINY, **SETTINGS),
                          watch=Watch(lambda progress: progress.step and steps.append(progress.step)))
    state = directory.read(folder)
    assert (state.status, state.steps[-1]["step"]) == ("finished", 6) and len(state.steps) > 2
    for step in state.steps:
        tolerance = 2e-5 if step["step"] == 1 else 1e-3
        for name in ("local", "attention", "local_global"):
            alone = getattr(steps[step["step"] - 1], name)
            assert step[name] == pytest.approx(alone, abs=tolerance), (name, step)
    model = Ulsad.load(state.model)
    assert model.config.white_level == 4095
    assert model.record["notes"][0].startswith("12 photos have more than 8 bits: white is 4095 (12 bits)")
    for name in ("train", "held_out", "digests", "steps", "notes"):
        assert model.record[name] == reference.record[name]
    assert len(model.record["skipped"]) == 1 and "tray_004 broken.png" in state.message
    assert done.stdout.count(f"{state.model}: ") == 1 and "2 processes" in state.machine
    assert {file.name for file in folder.iterdir()} == {
        directory.CARD, directory.CONFIG, events.EVENTS, directory.HEARTBEAT, directory.MODEL,
        directory.ORDER, directory.OUTCOME, directory.PREVIEW, directory.STRANGEST}

    assert main(["predict", str(DEMO_MODEL), str(tested), "--out", str(tmp_path / "alone")]) == 0
    shared, alone = (spreadsheet.read(tmp_path / place / "scores.csv") for place in ("scores", "alone"))
    assert [row[0] for row in shared] == [row[0] for row in alone]
    for row, other in zip(shared[1:], alone[1:], strict=True):
        assert row[1:4] == pytest.approx(other[1:4], rel=1e-6, abs=1e-6)
    assert len(list((tmp_path / "scores/maps").iterdir())) == len(alone) - 1 == 4
    assert {file.name for file in (tmp_path / "scores").iterdir()} == {
        "maps", "scores.csv", "job.json", "judged-by.jsonl"}


def check_batchnorm() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, whole = distributed.BatchNorm2d(5, eps=1e-4), nn.BatchNorm2d(5, eps=1e-4)
    with torch.no_grad():
        for layer in (ours, whole):
            layer.weight.copy_(torch.linspace(0.5, 2, 5))
            layer.bias.copy_(torch.linspace(-1, 1, 5))
    for _ in range(3):
        values, towards = torch.randn(2, 6, 5, 4, 3, generator=generator) * 3 + 1
        expected_input = values.clone().requires_grad_()
        own_input = distributed.share_of(values).requires_grad_()
        expected, own = whole(expected_input), ours(own_input)
        (expected * towards).sum().backward()
        (own * distributed.share_of(towards)).sum().backward()
        torch.testing.assert_close(own, distributed.share_of(expected), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(own_input.grad, distributed.share_of(expected_input.grad),
                                   rtol=1e-5, atol=1e-5)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(ours, name), getattr(whole, name), rtol=1e-5, atol=1e-5)
    for name in ("weight", "bias"):
        gradient = distributed.mean(getattr(ours, name).grad) * 2
        torch.testing.assert_close(gradient, getattr(whole, name).grad, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours.eval()(values), whole.eval()(values), rtol=1e-5, atol=1e-5)
    half = ours.train()(distributed.share_of(values).bfloat16())
    assert half.dtype == torch.bfloat16


def check_shares(folder: Path) -> None:
    me = distributed.rank()
    assert distributed.gathered(["a", "b"][:me + 1]) == ["a", "a", "b"]
    assert distributed.anyone(me == 1) and not distributed.anyone(False)
    assert distributed.from_first(5.5 + me) == 5.5
    assert distributed.mean(torch.tensor([me, 4.0])).tolist() == [0.5, 4.0]
    assert distributed.share_of(torch.arange(6)).tolist() == [me, 2 + me, 4 + me]
    expected = torch.arange(14).view(7, 2)
    for rows in (torch.empty(7, 2, dtype=torch.int64),
                 MappedRows.allocated(folder / f"rows-{me}", (7, 2), torch.int64)):
        mine, done = [], []

        def compute(start: int, end: int, mine=mine) -> torch.Tensor:
            mine.append(start)
            return expected[start:end]

        distributed.fill(rows, 3, compute, done.append)
        assert torch.equal(rows[:], expected) and done == [6, 7]
        assert mine == ([0, 6], [3])[me]


def check_uneven_batches(photos: Path) -> None:
    with pytest.raises(InputError, match="2 processes can't share batches of 7 photos evenly"):
        Ulsad.fit(photos, dataclasses.replace(TINY, batch_size=7))


if __name__ == "__main__":
    photos, tested, scratch, *rest = sys.argv[1:]
    with distributed.group():
        assert distributed.size() == 2
        check_batchnorm()
        check_shares(Path(scratch))
        check_uneven_batches(Path(photos))
        assert main(rest) == 0
        assert main(["predict", str(DEMO_MODEL), tested, "--out", str(Path(scratch, "scores"))]) == 0
