"""`ulsad.line`: verdicts without the app, and what they are based on."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from PIL import Image

import ulsad
from ulsad.detector.batch import Batch
from ulsad.detector.criterion import Criterion, packed
from ulsad.detector.detector import Ulsad
from ulsad.errors import InputError
from ulsad.line import Basis, Judge, Verdict
from ulsad.line.verdict import COLUMNS
from ulsad.photos.images import Skipped


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(DEMO_MODEL)


def test_a_rig_loads_neither_the_app_nor_training_nor_plots():
    code = ("import sys; from ulsad.line import Judge; Judge.load(sys.argv[1]).verdict(sys.argv[2]);"
            "unwanted = {'gradio', 'matplotlib', 'sklearn', 'torchvision', 'timm', 'torch._dynamo',"
            "'ulsad.method.training', 'ulsad.detector.fitting', 'ulsad.detector.preparation', 'ulsad.ui'};"
            "print(sorted(unwanted & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code, DEMO_MODEL, DEMO_PHOTOS[0]], text=True,
                          capture_output=True, check=True)
    assert done.stdout == "[]\n"


def test_a_verdict_is_the_detectors_under_the_suggested_criterion(judge):
    detector = Ulsad.load(DEMO_MODEL)
    criterion = Criterion.suggested(detector.calibration, detector.config.alpha, detector.config.beta)
    for photo in DEMO_PHOTOS:
        verdict, maps = judge.verdict(photo), detector.predict(photo).maps()
        np.testing.assert_allclose(verdict[1:4], [maps.score, maps.local_score, maps.global_score], rtol=1e-5)
        assert verdict.verdict == ("fail" if maps.score > criterion.fail else
                                   "review" if maps.score > criterion.review else "pass")
        assert verdict.path == photo.name
        assert verdict.sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()
        assert verdict.basis == judge.basis.id


def test_a_frame_of_a_camera_is_judged_like_its_file(judge):
    """OpenCV gives blue first: the reversed view has negative strides."""
    frame = np.asarray(Image.open(DEMO_PHOTOS[1]).convert("RGB"))[:, :, ::-1].copy()
    found, wanted = judge.verdict(frame[:, :, ::-1], "frame 7"), judge.verdict(DEMO_PHOTOS[1])
    assert found.path == "frame 7" and found[1:7] == wanted[1:7]
    assert found.sha256 == hashlib.sha256(frame[:, :, ::-1].tobytes()).hexdigest()


def test_several_photos_come_in_order_and_broken_ones_with_a_reason(judge, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(DEMO_PHOTOS[0].read_bytes()[:2000])
    photos = {DEMO_PHOTOS[0]: "a", tmp_path / "broken.jpg": "b", DEMO_PHOTOS[5]: "line 2/c"}
    first, skipped, last = judge.verdicts(photos)
    assert isinstance(skipped, Skipped) and "broken.jpg" in skipped.reason
    assert (first[0].path, last[0].path) == ("a", "line 2/c")
    alone = judge.verdict(DEMO_PHOTOS[5])
    np.testing.assert_allclose(last[0][1:4], alone[1:4], rtol=1e-5)
    assert last[0][4:7] == alone[4:7]
    assert last[1].digest == judge.detector.predict(DEMO_PHOTOS[5]).digest


def test_photos_that_were_scored_together_get_the_same_verdicts(judge, tmp_path):
    shutil.copy(DEMO_PHOTOS[1], tmp_path / "gone.jpg")
    photos = [DEMO_PHOTOS[5], tmp_path / "gone.jpg"]
    batch = Batch(("a", "b"), tuple(map(judge.detector.predict, photos)))
    (tmp_path / "gone.jpg").unlink()
    first, second = judge.of_batch(batch)
    alone, other = judge.verdict(DEMO_PHOTOS[5], "a"), judge.verdict(DEMO_PHOTOS[1], "b")
    assert first._replace(time="") == alone._replace(time="")
    assert second._replace(time="") == other._replace(time="", sha256="")


def test_a_saved_criterion_judges_and_ignores_its_areas(tmp_path):
    detector = Ulsad.load(DEMO_MODEL)
    everywhere = np.zeros((256, 256), bool)
    everywhere[10:] = True
    lax = replace(Criterion.suggested(detector.calibration, 0.5, 0.99), ignored=packed(everywhere))
    detector.with_criterion("lax", lax).save(tmp_path / "part.safetensors")
    judge = Judge.load(tmp_path / "part.safetensors", "lax")
    assert judge.basis.criterion == "lax" and judge.basis.values == lax
    assert judge.verdict(DEMO_PHOTOS[1]).score < Judge.load(tmp_path / "part.safetensors").verdict(
        DEMO_PHOTOS[1]).score
    with pytest.raises(InputError, match=r"no criterion 'strict'. Saved criteria: lax"):
        Judge.load(tmp_path / "part.safetensors", "strict")
    with pytest.raises(InputError, match="has its own α and β"):
        Judge.load(tmp_path / "part.safetensors", "lax", alpha=0.5)


def test_the_basis_changes_with_all_that_decides(judge, tmp_path):
    assert judge.basis.model_sha256 == hashlib.sha256(DEMO_MODEL.read_bytes()).hexdigest()
    assert judge.basis.ulsad == ulsad.__version__
    other = Judge.load(DEMO_MODEL, alpha=0.8)
    assert other.basis.id != judge.basis.id == Judge.load(DEMO_MODEL).basis.id
    for name in asdict(judge.basis):
        assert replace(judge.basis, **{name: "another"}).id != judge.basis.id
    assert Basis.from_dict(judge.basis.to_dict()) == judge.basis


@pytest.mark.parametrize("changes", ({}, {"global_score": float("nan")}, {"notes": ("Look at it.",)}))
def test_a_verdict_survives_a_table_and_json(judge, changes):
    verdict = judge.verdict(DEMO_PHOTOS[2])._replace(**changes)
    row = verdict.row()
    assert len(row) == len(COLUMNS) and row[COLUMNS.index("sha256")] == verdict.sha256
    back = Verdict.from_row(row)
    assert back.row() == row
    np.testing.assert_allclose(back[1:4], verdict[1:4], atol=1e-6)
    assert repr(Verdict.from_dict(verdict.to_dict())) == repr(verdict)
    with pytest.raises(ValueError, match="11 cells"):
        Verdict.from_row(row[:-1])
