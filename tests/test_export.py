"""Exported models compute what the detector computes, in programs that know nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import BRIEF, DEMO_MODEL, DEMO_PHOTOS
from PIL import Image

from ulsad.__main__ import main
from ulsad.detector.criterion import Criterion, packed
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.line import export as exporting
from ulsad.line.inference import VERDICTS, Inference
from ulsad.line.judge import Judge
from ulsad.line.run_exported import square
from ulsad.photos.images import to_square
from ulsad.speed import engines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    assert main(["export", str(DEMO_MODEL), "--to", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(DEMO_MODEL)


def squares(photos=DEMO_PHOTOS) -> np.ndarray:
    return np.stack([to_square(Image.open(photo).convert("RGB"), 256).permute(1, 2, 0).numpy()
                     for photo in photos])


def predicted(judge: Judge, photos) -> dict[str, np.ndarray]:
    """By name, what the detector and its criterion say of photos that the model was not trained on."""
    criterion, predictions = judge.criterion, [judge.detector.predict(photo) for photo in photos]
    maps = [p.maps(criterion.alpha, criterion.beta, criterion.combine) for p in predictions]
    named = {"local": [m.local for m in maps], "combined": [m.combined for m in maps]}
    if maps[0].global_ is not None:
        named["global"] = [m.global_ for m in maps]
    scores = [[m.score, m.local_score, m.global_score][: 1 + len(named) - 1] for m in maps]
    verdicts = [judge.of_prediction(p, "").verdict for p in predictions]
    return {name: np.array(values) for name, values in named.items()} | {
        "scores": np.array(scores), "verdict": np.array([VERDICTS.index(verdict) for verdict in verdicts]),
        "strangeness": np.array([p.strangeness for p in predictions])}


def assert_close(found, wanted) -> None:
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


def run_onnx(file: Path, photos: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"squares": photos}), strict=True))


@pytest.mark.parametrize("some", (slice(0, 1), slice(None)), ids=("one photo", "eight photos"))
def test_onnx_gives_the_detectors_maps(folder, judge, some):
    found = run_onnx(folder / "demo.onnx", squares()[some])
    assert_close(found, predicted(judge, DEMO_PHOTOS[some]))
    assert found["combined"].dtype == np.float32 and found["verdict"].dtype == np.int64


def test_torch_gives_them_without_this_package(folder, judge, tmp_path):
    """In a process that can't find it."""
    np.save(tmp_path / "squares.npy", squares())
    code = ("import sys, numpy, torch\n"
            "module = torch.export.load(sys.argv[1]).module()\n"
            "found = module(torch.from_numpy(numpy.load('squares.npy')))\n"
            "numpy.savez('found.npz', **{name: value.numpy() for name, value in found.items()})\n"
            "assert 'ulsad' not in sys.modules")
    subprocess.run([sys.executable, "-I", "-c", code, folder / "demo.pt2"], cwd=tmp_path, check=True)
    assert_close(dict(np.load(tmp_path / "found.npz")), predicted(judge, DEMO_PHOTOS))


def test_the_example_needs_neither_torch_nor_this_package(folder, judge):
    code = ("import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
            "assert not {'torch', 'ulsad'} & set(sys.modules)")
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, folder / "run_exported.py", folder / "demo.onnx", *DEMO_PHOTOS],
        text=True, capture_output=True, check=True)
    for line, photo in zip(done.stdout.splitlines(), DEMO_PHOTOS, strict=True):
        wanted = judge.verdict(photo)
        verdict, *scores = line.removeprefix(str(photo)).split()
        assert verdict == wanted.verdict
        np.testing.assert_allclose([float(score) for score in scores], wanted[1:4], rtol=0.01)


@pytest.mark.parametrize("size", ((640, 480), (300, 200), (1600, 1200), (100, 700), (256, 256)))
def test_the_example_resizes_as_pillow_does(size):
    photo = Image.open(DEMO_PHOTOS[1]).convert("RGB").resize(size)
    wanted = np.asarray(photo.resize((256, 256), Image.Resampling.BILINEAR)).astype(int)
    difference = abs(square(np.asarray(photo), 256) - wanted)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.002


def test_other_programs_can_be_checked(folder):
    check = dict(np.load(folder / "check.npz"))
    given = check.pop("squares")
    assert len(given) == 4
    assert_close(run_onnx(folder / "demo.onnx", given), check)


def test_all_engines_agree(folder, judge):
    """OpenVINO too, where it is installed."""
    photos = squares()
    found = {name: run(photos) for name, run in engines.installed(judge, folder / "demo.onnx")}
    assert {"torch", "onnxruntime"} <= set(found)
    for outputs in found.values():
        np.testing.assert_allclose(np.asarray(outputs["combined"]), found["torch"]["combined"], atol=1e-4)


def test_a_file_says_what_it_is(folder, judge):
    session = onnxruntime.InferenceSession(folder / "demo.onnx")
    facts = json.loads(session.get_modelmeta().custom_metadata_map["ulsad"])
    assert facts["basis"] == judge.basis.to_dict()
    assert (facts["review"], facts["fail"]) == (judge.criterion.review, judge.criterion.fail)
    extra = {"ulsad.json": ""}
    torch.export.load(folder / "demo.pt2", extra_files=extra)
    assert json.loads(extra["ulsad.json"]) == facts
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert f"up to {facts['review']:.6g}, fails above\n{facts['fail']:.6g}" in page
    assert "demo.onnx photo.jpg" in page and 'load("demo.pt2")' in page


VARIANTS = {
    "plain": replace(BRIEF, local_metric="plain", relative_maps=False, nearest_patches=0, blur_sigma=4,
                     combination="mean", global_weight=1.0),
    "maximum, cross-fitted": replace(BRIEF, folds=3, steps=6, combination="maximum"),
    "features": replace(BRIEF, local_global_loss=False, global_target="features", feature_dim=100),
    "local alone": replace(BRIEF, global_target="none"),
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_every_kind_of_model(config, good_photos, demo_set):
    """With a criterion of its own that leaves out a corner, where a defect counts as nothing."""
    ignored = np.zeros((256, 256), bool)
    ignored[:100, :120] = True
    detector = Ulsad.fit(good_photos, config)
    photos = sorted((demo_set / "test").rglob("*.png"))
    criterion = replace(Criterion.suggested(detector.calibration, 0.5, 0.99), ignored=packed(ignored))
    scores = [Judge.of(detector, criterion, "", "").verdict(photo).score for photo in photos]
    review, fail = np.quantile(scores, [0.35, 0.65])
    criterion = replace(criterion, review=review, fail=fail)
    judge = Judge.of(detector, criterion, "part.safetensors", "0" * 64, "lax")
    with torch.no_grad():
        found = Inference(judge)(torch.from_numpy(squares(photos)))
    wanted = predicted(judge, photos)
    assert_close({name: value.numpy() for name, value in found.items()}, wanted)
    assert set(wanted["verdict"].tolist()) == {0, 1, 2}
    assert_close(exporting.our_outputs(judge, squares(photos)), wanted)


def test_what_differs_is_not_kept(local_detector, tmp_path, monkeypatch):
    (tmp_path / "part.pt2").write_text("an earlier export")
    criterion = Criterion.suggested(local_detector.calibration, 0.9, 0.995)
    judge = Judge.of(local_detector, criterion, "part.safetensors", "0" * 64)
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"part.pt2 was not kept: its local differs by"):
        exporting.export(judge, tmp_path, "part", ("torch",))
    assert [path.name for path in tmp_path.iterdir()] == ["part.pt2"]
    assert (tmp_path / "part.pt2").read_text() == "an earlier export"
    monkeypatch.undo()
    exporting.export(judge, tmp_path, "part", ("torch",))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md", "check.npz", "part.pt2", "run_exported.py"]
    assert "`local`, `combined`" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_missing_packages_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    assert main(["export", str(DEMO_MODEL), "--to", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert "python -m pip install onnxscript'" in error and "--format torch" in error
    assert not (tmp_path / "new").exists()


def test_a_place_that_can_not_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["export", str(DEMO_MODEL), "--to", str(tmp_path / "file"), "--format", "torch"]) == 2
    assert "can't be made" in capsys.readouterr().err
