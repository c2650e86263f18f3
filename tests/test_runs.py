"""Trainings as processes of their own, seen through their run directories: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TINY

from ulsad import InputError, Ulsad, Watch
from ulsad.__main__ import main
from ulsad.detector.fitting import Progress
from ulsad.runs import directory, events

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ["--set", "frn_width=32", "autoencoder_width=16", "augmented_photos=0", "batch_size=8",
            "precision=float32", "folds=1"]


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def log(folder: Path) -> str:
    return (folder / directory.LOG).read_text()


def steps_done(folder: Path) -> int:
    steps = directory.read(folder).steps
    return steps[-1]["step"] if steps else 0


@pytest.mark.slow
def test_stopped_resumed_killed_and_resumed_again_a_run_ends_as_if_nothing_had_been(
        good_photos, tmp_path, monkeypatch, capsys):
    folder, steps = tmp_path / "run", 20
    process = directory.start(folder, [str(good_photos), *SETTINGS, f"steps={steps}"])
    assert (directory.read(folder).status, directory.read(folder).model) == ("running", None)
    wait_for(lambda: steps_done(folder))
    directory.stop(folder)
    assert directory.read(folder).stopping
    assert process.wait(60) == 0, log(folder)
    state = directory.read(folder)
    stopped_at = Ulsad.load(state.model).record["steps"]
    assert (state.status, state.steps[-1]["step"]) == ("stopped", stopped_at) and stopped_at < steps

    (folder / "features-lost").mkdir()
    process = directory.resume(folder)
    with pytest.raises(InputError, match="can't be resumed"):
        directory.resume(folder)
    wait_for(lambda: steps_done(folder) > stopped_at)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with monkeypatch.context() as patched:
        patched.setattr(directory, "_SILENCE", 1.0)
        wait_for(lambda: directory.read(folder).status == "interrupted", seconds=10)
        process = directory.resume(folder)
    assert process.wait(120) == 0, log(folder)

    state, losses = directory.read(folder), []
    assert (state.status, state.can_resume, state.stopping) == ("finished", False, False)
    numbers = [step["step"] for step in state.steps]
    assert numbers == sorted(set(numbers)) and numbers[-1] == steps
    whole = Ulsad.fit(good_photos, replace(TINY, steps=steps),
                      watch=Watch(lambda progress: progress.step and losses.append(progress.step)))
    for step in state.steps:
        for name in ("local", "attention", "local_global", "learning_rate"):
            assert step[name] == pytest.approx(getattr(losses[step["step"] - 1], name), abs=1e-6)
    resumed = Ulsad.load(state.model).branches.members[0].networks.state_dict()
    for name, values in whole.branches.members[0].networks.state_dict().items():
        assert torch.equal(values, resumed[name]), name
    assert json.loads((folder / directory.CONFIG).read_text())["frn_width"] == 32
    assert {file.name for file in folder.iterdir()} == {
        directory.CARD, directory.CONFIG, events.EVENTS, directory.HEARTBEAT, directory.LOG,
        directory.MODEL, directory.ORDER, directory.OUTCOME, directory.PREVIEW, directory.STRANGEST}

    assert main(["train", str(good_photos), *SETTINGS, "--run-dir", str(folder)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    with pytest.raises(InputError, match="can't be resumed"):
        directory.resume(folder)
    assert directory.read(folder).status == "finished"


@pytest.mark.slow
def test_runs_wait_for_those_before_them_in_their_models_directory(good_photos, tmp_path):
    (tmp_path / "nothing").mkdir()
    folders = [tmp_path / "models" / name for name in ("first", "second", "third", "without photos")]
    first, second, third, without_photos = folders
    processes = [directory.start(folder, [str(photos), *SETTINGS, length]) for folder, photos, length in zip(
        folders, [good_photos, good_photos, good_photos, tmp_path / "nothing"],
        ["minutes=5", "steps=1", "steps=1", "steps=1"], strict=True)]
    wait_for(lambda: [directory.read(folder).ahead for folder in folders] == [0, 1, 2, 3])
    assert [directory.read(folder).status for folder in folders[1:]] == ["queued"] * 3
    for folder in (first, second):
        with pytest.raises(InputError, match="still training"):
            directory.rename(folder, "other")
        with pytest.raises(InputError, match="still training"):
            directory.delete(folder)

    directory.stop(third)
    assert processes[2].wait(10) == 130, log(third)
    state = directory.read(third)
    assert (state.status, state.model, state.can_resume) == ("stopped", None, True)
    assert "before training began" in state.message
    wait_for(lambda: directory.read(without_photos).ahead == 2)

    wait_for((first / directory.CHECKPOINT).exists)
    assert directory.read(first).model is None and Ulsad.load(first / directory.CHECKPOINT).optimiser
    assert directory.read(second).status == "queued"
    directory.stop(first)
    assert [processes[i].wait(60) for i in (0, 1, 3)] == [0, 0, 2], log(second)
    statuses = [directory.read(folder).status for folder in folders]
    assert statuses == ["stopped", "finished", "stopped", "failed"]
    assert Ulsad.load(directory.read(first).model).record["steps"] >= 1
    assert directory.read(second).steps[0]["time"] > directory.read(first).steps[-1]["time"]
    failed = directory.read(without_photos)
    assert "holds no photos" in failed.message and failed.model is None and not failed.can_resume
    assert directory.all_runs(tmp_path / "models") == [without_photos, second, first, third]


@pytest.mark.slow
def test_a_training_whose_folder_was_taken_away_ends_and_leaves_nothing(good_photos, tmp_path):
    folder = tmp_path / "run"
    process = directory.start(folder, [str(good_photos), *SETTINGS, "steps=100000"])
    wait_for(lambda: steps_done(folder))
    folder.rename(tmp_path / "elsewhere")
    assert process.wait(60) == 2
    assert "no longer exists" in log(tmp_path / "elsewhere")
    assert not (folder / directory.MODEL).exists() and not (folder / events.EVENTS).exists()


@pytest.mark.slow
def test_interrupting_the_command_keeps_a_model(good_photos, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ulsad", "train", good_photos, "--out", tmp_path / "m.safetensors", *SETTINGS,
         "steps=100000"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while "features 10/10" not in (line := process.stderr.readline()):
        assert process.poll() is None and "training" not in line
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "stopping and saving the model" in errors
    assert 1 <= Ulsad.load(tmp_path / "m.safetensors").record["steps"] < 100
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def write_events(folder: Path, *written: dict | str) -> Path:
    folder.mkdir(parents=True)
    lines = [event if isinstance(event, str) else json.dumps(event) for event in written]
    (folder / events.EVENTS).write_text("".join(line + "\n" for line in lines))
    return folder


def training(*steps: int) -> list[dict]:
    return [{"event": "training", "step": step, "done": step, "total": 9} for step in steps]


def test_a_line_cut_short_does_not_hide_a_run(tmp_path):
    folder = write_events(tmp_path / "run", '{"event": "reading", "done": 1, "total"', *training(4))
    with open(folder / events.EVENTS, "a") as file:
        file.write('{"event": "training", "step"')  # being written at this moment, or all there was room for
    state = directory.read(folder)
    assert (state.phase, state.done, len(state.steps)) == ("training", 4, 1)
    events.end(folder, "failed", message="The disk is full.")
    assert (directory.read(folder).status, directory.read(folder).message) == ("failed", "The disk is full.")


def test_what_a_resumed_run_did_once_more_counts_once(tmp_path):
    folder = write_events(
        tmp_path / "run", *training(2, 4, 6), {"event": "starting", "ticket": 1.0},
        {"event": "machine", "name": "CPU"}, {"event": "reading", "done": 4, "total": 4}, *training(5, 7),
        {"event": "stopped"}, *training(6, 9))
    state = directory.read(folder)
    assert [step["step"] for step in state.steps] == [2, 4, 5, 6, 9]
    assert (state.phase, state.done, state.machine) == ("training", 9, "CPU")


def test_a_silent_run_is_interrupted_and_opens_with_its_checkpoint(tmp_path):
    folder = write_events(tmp_path / "run", *training(4))
    (folder / directory.CHECKPOINT).touch()
    assert directory.read(folder).status == "interrupted" and not directory.read(folder).can_resume
    (folder / directory.ORDER).touch()
    assert directory.read(folder).can_resume and directory.read(folder).model == folder / directory.CHECKPOINT
    (folder / directory.HEARTBEAT).touch()
    assert (directory.read(folder).status, directory.read(folder).model) == ("running", None)
    long_ago = time.time() - 60
    os.utime(folder / directory.HEARTBEAT, (long_ago, long_ago))
    assert directory.read(folder).status == "interrupted"
    (folder / directory.MODEL).touch()
    assert directory.read(folder).model == folder / directory.MODEL


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_ends_no_training_and_the_end_is_reported(tmp_path):
    folder, file = tmp_path / "run", tmp_path / "run" / events.EVENTS
    folder.mkdir()
    report = events.Reporter(folder)
    with directory.alive(folder):
        file.symlink_to("/dev/full")
        report(Progress("reading", 4, 4))
        with pytest.raises(OSError, match="No space left"):
            events.end(folder, "failed", message="full")
        assert {there.name for there in folder.iterdir()} == {events.EVENTS, directory.HEARTBEAT}
        file.unlink()
        report(Progress("features", 4, 4))
        events.end(folder, "failed", message="full")
    assert (directory.read(folder).status, directory.read(folder).phase) == ("failed", "features")
    file.unlink()
    file.mkdir()
    report(Progress("training", 4, 4))
    assert directory.read(folder).steps == []


def test_names_of_runs(tmp_path):
    folder = write_events(tmp_path / "tray", {"event": "finished"})
    (tmp_path / "lone.safetensors").touch()
    for name in ("a/b", "..", ".hidden", "a\\b", "a:b", "a\nb", "ä" * 51):
        with pytest.raises(InputError, match="can't be a name"):
            directory.rename(folder, name)
    for name in ("tray", " tray ", "lone"):
        with pytest.raises(InputError, match="Choose another name"):
            directory.rename(folder, name)
    assert directory.free_name("", tmp_path).startswith("part 20")
    renamed = directory.rename(folder, " Gehäuse 🔩 v1.2 ")
    assert renamed == tmp_path / "Gehäuse 🔩 v1.2" and directory.read(renamed).status == "finished"
    assert directory.rename(tmp_path / "lone.safetensors", "tray") == tmp_path / "tray.safetensors"
    for place in (renamed, tmp_path / "tray.safetensors"):
        directory.delete(place)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"There is no 'Gehäuse 🔩 v1\.2' any more"):
        directory.delete(renamed)
