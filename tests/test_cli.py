"""The command line as a user runs it, on real files."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ulsad import Config, Ulsad
from ulsad.__main__ import _parser, main
from ulsad.commands import COMMANDS
from ulsad.detector import model_file, spreadsheet
from ulsad.detector.criterion import Criterion
from ulsad.line.verdict import COLUMNS
from ulsad.method.calibration import Combination
from ulsad.photos.images import find_images

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--set", "frn_width=32", "autoencoder_width=16", "augmented_photos=0", "precision=float32"]


def ulsad(*arguments) -> subprocess.CompletedProcess:
    """`python -m ulsad ARGUMENTS`, but in this process, which has loaded everything already."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as ended:  # argparse
            code = ended.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def model(detector, tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "m.safetensors"
    detector.save(file)
    return file


def test_help_lists_every_command_and_loads_nothing_heavy():
    code = ("import sys; from ulsad.__main__ import main\ntry: main(sys.argv[1:])\n"
            "finally: print({'torch', 'gradio', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules))")
    for arguments in ([], ["--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, text=True,
                              capture_output=True)
        assert done.stdout.endswith("set()\n"), done.stderr
        assert all(f"    {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_gives_an_example_that_it_understands(command):
    done = ulsad(command, "--help")
    example = done.stdout.rsplit(f"example: python -m ulsad {command} ", 1)[1].split()
    assert _parser([command]).parse_args([command, *example]).run
    assert done.returncode == 0 and len(example) > 0


def test_train_then_predict_a_zip(good_photos, demo_set, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "good"), "zip", good_photos)
    done = ulsad("train", archive, "--out", tmp_path / "m.safetensors", *TINY, "steps=3")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 steps" in done.stdout
    assert Ulsad.load(tmp_path / "m.safetensors").config.steps == 3
    assert not list(tmp_path.glob("*checkpoint*"))
    others = shutil.make_archive(str(tmp_path / "others"), "zip", demo_set / "test/good")
    done = ulsad("predict", tmp_path / "m.safetensors", others, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out/maps").glob("*.png"))) == len(find_images(demo_set / "test/good"))


def test_predict_writes_scores_relative_to_the_folder_and_maps(model, detector, demo_set, tmp_path):
    test = shutil.copytree(demo_set / "test", tmp_path / "test")
    (test / "good" / "broken.png").write_text("no")
    done = ulsad("predict", model, test, "--out", tmp_path / "out", "--raw")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out/scores.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and {row["seen_in"] for row in rows} == {""}
    assert {row["path"] for row in rows} == {
        path.relative_to(test).as_posix() for path in find_images(test) if path.name != "broken.png"}
    for row in rows:
        maps = detector.predict(test / row["path"]).maps()
        expected = (maps.score, maps.local_score, maps.global_score)
        got = [float(row[name]) for name in ("score", "local_score", "global_score")]
        np.testing.assert_allclose(got, expected, atol=1e-5)  # batches round differently from one photo
        with np.load(tmp_path / f"out/maps/{row['path']}.npz") as raw:
            assert raw["local"].shape == raw["global"].shape == (480, 640)
        assert Image.open(tmp_path / f"out/maps/{row['path']}.png").width > 4 * 400
    assert "broken.png" in (tmp_path / "out/skipped.csv").read_text()


@pytest.mark.slow
def test_predict_judges_by_a_saved_criterion(model, demo_set, tmp_path):
    strict = Criterion(0.8, 0.9, Combination("mean", 1), review=-1, fail=1e9, local=1e9, global_=1e9)
    Ulsad.load(model).with_criterion("strict", strict).save(tmp_path / "m.safetensors")
    done = ulsad("predict", tmp_path / "m.safetensors", demo_set / "test", "--out", tmp_path / "out",
                 "--criterion", "strict")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "out/scores.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {(row["verdict"], row["fired"]) for row in rows} == {("review", "neither")}
    prediction = Ulsad.load(model).predict(demo_set / "test" / rows[0]["path"])
    maps = prediction.maps(0.8, 0.9, Combination("mean", 1))
    assert float(rows[0]["score"]) == pytest.approx(maps.score, abs=1e-5)
    unknown = ulsad("predict", model, demo_set / "test", "--out", tmp_path / "out", "--criterion", "lax")
    assert unknown.returncode == 2 and "no criterion 'lax'" in unknown.stderr


def test_demo_writes_a_sample_once(tmp_path):
    assert ulsad("demo", tmp_path / "tray", "--sample").returncode == 0
    assert len(find_images(tmp_path / "tray")) == 8
    again = ulsad("demo", tmp_path / "tray")
    assert again.returncode == 2 and "not an empty folder" in again.stderr


@pytest.mark.parametrize("arguments", [
    ["train", "nowhere", "--out", "m.safetensors"], ["train", "tests", "--out", "m.safetensors"],
    ["train", "assets"], ["predict", "README.md", "assets", "--out", "/tmp/unused"],
    ["evaluate", "nowhere"], ["evaluate", "tests", "--out", "/tmp/unused"],
    ["compare", "tests", "--with", "patchwork"], ["ablate", "local", "tests", "--false-reject", "2"],
    ["train", "assets", "--out", "assets"], ["train", "assets", "--out", "."],
    ["train", "assets", "--out", "assets", "--run-dir", "/tmp/unused"],
    ["train", "assets", "--out", "README.md/m.safetensors"],
    ["train", "assets", "--out", "m", "--set", "held_out=0.99"],
    ["train", "assets", "--out", "m", "--set", "frn_kernel=-1"],
    ["train", "assets", "--out", "m", "--set", "seed=99999999999999999999"],
    ["train", "assets", "--out", "m", "--set", "steps=-1"], ["demo", "/tmp/unused", "--seed", "-1"],
    ["predict", "assets/demo.safetensors", "assets", "--out", "assets/out"],
    ["demo", "README.md/tray", "--sample"],
    ["train", "assets", "--out", "m", "--set", "backbone=resnet50", "--weights", "README.md"]])
def test_errors_are_one_line_and_no_traceback(arguments):
    done = ulsad(*arguments)
    assert done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr


QUICK = [*TINY, "steps=2"]


@pytest.mark.slow
def test_evaluate_trains_tests_and_writes_the_tables(demo_set, tmp_path):
    done = ulsad("evaluate", demo_set, "--out", tmp_path, "--seeds", "2", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "| tray | combined |" in done.stdout and "±" in done.stdout
    for name in ("table", "kinds"):
        assert all((tmp_path / f"{name}{suffix}").stat().st_size for suffix in (".md", ".csv", ".tex"))
    assert len(list(tmp_path.glob("trials/tray/*/model.safetensors"))) == 2
    again = ulsad("evaluate", demo_set, "--out", tmp_path, "--seeds", "2", *QUICK)
    assert again.stdout == done.stdout and "training" not in again.stderr


def test_evaluate_one_model(model, demo_set, tmp_path):
    done = ulsad("evaluate", demo_set, "--model", model, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[" in (tmp_path / "table.md").read_text() and "training" not in done.stderr
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8-sig") as file:
        kinds = [row["kind"] for row in csv.DictReader(file)]
    assert sorted(set(kinds)) == ["good", "logical_anomalies", "structural_anomalies"]
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("curves", "kinds"))


@pytest.mark.slow
def test_ablations_write_tables_and_figures(demo_set, tmp_path):
    done = ulsad("ablate", "components", demo_set, "--out", tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    head, *rows = spreadsheet.read(tmp_path / "components.csv")
    assert head[:6] == ["λ_l", "λ_g", "L_lg", "L_pg^d", "L_pg", "image AUROC"]
    assert len(rows) == 10 and rows[0][:5] == [0.0, "–", "–", "–", "–"]
    assert rows[-1][:5] == [0.5, "0.50", "✓", "–", "✓"]
    models = [model_file.read_header(file) for file in tmp_path.glob("trials/tray/*/model.safetensors")]
    used = [Config.from_json(header["config"]) for header in models]
    assert len({(one.lambda_l, one.lambda_g, one.global_target, one.local_global_loss) for one in used}) == 10
    # Table 22 has eight of these ten, and Figure 7 the last; nothing is trained again for them.
    for study, columns in (("global", 1 + 8 * 3), ("alpha-beta", None)):
        done = ulsad("ablate", study, demo_set, "--out", tmp_path, *QUICK)
        assert done.returncode == 0 and "training" not in done.stderr, done.stderr
        assert columns is None or len(spreadsheet.read(tmp_path / f"{study}.csv")[0]) == columns
    assert "β=0.995" in done.stdout
    for name in ("components", "global", "alpha-beta-tray"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


@pytest.mark.slow
def test_compare_writes_a_table(demo_set, tmp_path):
    done = ulsad("compare", demo_set, "--with", "dfr", "--out", tmp_path, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "| dfr | efficientnet_lite0 |" in (tmp_path / "comparison-tray.md").read_text()


def test_a_name_that_is_not_utf_8_is_scored_all_the_same(model, good_photos, tmp_path):
    (tmp_path / "photos").mkdir()
    name = os.fsdecode(b"part\xff.png")
    shutil.copy(find_images(good_photos)[0], tmp_path / "photos" / name)
    shutil.copy(find_images(good_photos)[1], tmp_path / "photos" / "z.png")
    done = ulsad("predict", model, tmp_path / "photos", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "out/scores.csv").read_bytes().splitlines()
    assert len(rows) == 3 and rows[1].startswith(b'"part\xff.png",')


def test_diverging_command_names_the_kept_checkpoint(good_photos, tmp_path):
    done = ulsad("train", good_photos, "--out", tmp_path / "m.safetensors", *TINY, "steps=60",
                 "learning_rate=1e30", "schedule=constant")
    assert done.returncode == 2 and "no longer finite" in done.stderr
    assert not (tmp_path / "m.safetensors").exists()


def started(*options: object) -> subprocess.CompletedProcess:
    """The app, with options that it can't start with."""
    return subprocess.run([sys.executable, ROOT / "app.py", *map(str, options)], cwd="/", text=True,
                          capture_output=True, timeout=120)


def test_app_says_what_keeps_it_from_starting(tmp_path):
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = started("--port", port, "--models-dir", tmp_path)
    assert done.returncode == 2 and f"choose another --port, such as {port + 1}" in done.stderr
    for option, said in (("--models-dir", "file"), ("--data-root", "no folder")):
        done = started(option, tmp_path / "file/x")
        assert done.returncode == 2 and said in done.stderr
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_app_warns_beyond_loopback_without_a_password():
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "app.py", "--host", "0.0.0.0", "--port", "1"], cwd=ROOT,
                               stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert "WARNING" in process.stderr.readline()
    finally:
        process.kill()
        process.wait()
