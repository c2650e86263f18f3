"""The app's own API: other programs call `models` and `score`."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from ulsad.detector.criterion import Criterion
from ulsad.detector.detector import Ulsad
from ulsad.line import Judge
from ulsad.runs import directory, events, parts

pytestmark = pytest.mark.slow

PART = "bracket.safetensors"


@pytest.fixture(scope="module")
def model(models_dir) -> Path:
    """One with a criterion of its own."""
    detector = Ulsad.load(DEMO_MODEL)
    suggested = Criterion.suggested(detector.calibration, 0.9, 0.995)
    detector.with_criterion("lax", replace(suggested, review=100.0, fail=200.0)).save(models_dir / PART)
    return models_dir / PART


@pytest.fixture(scope="module")
def client(model, address) -> Client:
    return Client(address, verbose=False)


def test_nothing_but_these_two_is_offered(client):
    offered = client.view_api(return_format="dict")["named_endpoints"]
    assert set(offered) == {"/models", "/score"}


def test_the_models_are_listed(client):
    assert client.predict(api_name="/models") == [
        {"model": PART, "label": "bracket", "part": PART, "in_use": True},
        {"model": ":demo", "label": "demo tray", "part": ":demo", "in_use": True}]


@pytest.mark.parametrize("photo", DEMO_PHOTOS[::3], ids=lambda photo: photo.stem)
def test_a_photo_gets_the_verdict_of_the_model(client, model, photo):
    found = client.predict(photo=handle_file(str(photo)), model=PART, api_name="/score")
    judge = Judge.load(model)
    wanted = judge.verdict(photo).to_dict()
    assert found.pop("judged_by") == judge.basis.to_dict()
    assert found.pop("name") == wanted.pop("path")
    assert [found.pop(of) for of in ("score", "local_score", "global_score")] == pytest.approx(
        [wanted.pop(of) for of in ("score", "local_score", "global_score")], rel=1e-5)
    assert found | {"time": ""} == wanted | {"time": ""}


def test_a_label_or_a_part_will_do(client, models_dir):
    photo = handle_file(str(DEMO_PHOTOS[1]))
    for model, name in (("bracket", PART), ("demo tray", DEMO_MODEL.name)):
        found = client.predict(photo=photo, model=model, api_name="/score")
        assert found["judged_by"]["model"] == name
    for file in (DEMO_MODEL, models_dir / PART):
        version = parts.new_version(models_dir, "nut", "")
        shutil.copy(file, version / directory.MODEL)
        events.append(version, "finished")
        parts.use(version)
    listed = {one["model"]: one["in_use"] for one in client.predict(api_name="/models")
              if one["part"] == "nut"}
    assert listed == {"nut/version 1": False, "nut/version 2": True}
    first, second, used = (
        client.predict(photo=photo, model=model, api_name="/score")["judged_by"]["model_sha256"]
        for model in ("nut, version 1", "nut/version 2", "nut"))
    assert first != second == used
    shutil.rmtree(models_dir / "nut")


def test_a_saved_criterion_judges(client):
    photo = handle_file(str(DEMO_PHOTOS[1]))
    assert client.predict(photo=photo, model=PART, api_name="/score")["verdict"] == "fail"
    assert client.predict(photo=photo, model=PART, criterion="lax", api_name="/score")["verdict"] == "pass"


def test_a_model_that_is_replaced_judges_from_then_on(client, models_dir):
    shutil.copy(DEMO_MODEL, models_dir / "other.safetensors")
    photo = handle_file(str(DEMO_PHOTOS[1]))
    before = client.predict(photo=photo, model="other.safetensors", api_name="/score")["judged_by"]
    Ulsad.load(models_dir / PART).save(models_dir / "other.safetensors")
    after = client.predict(photo=photo, model="other.safetensors", api_name="/score")["judged_by"]
    assert before["model_sha256"] != after["model_sha256"]
    (models_dir / "other.safetensors").unlink()


def test_maps_come_along(client):
    found = client.predict(photo=handle_file(str(DEMO_PHOTOS[1])), model=":demo", maps="picture",
                           api_name="/score")
    assert Image.open(io.BytesIO(base64.b64decode(found["maps"]))).width > 1000


def test_a_file_that_is_no_photo_is_told_so(client, tmp_path):
    (tmp_path / "x.jpg").write_text("no photo")
    found = client.predict(photo=handle_file(str(tmp_path / "x.jpg")), model=":demo", api_name="/score")
    assert found["verdict"] == "unreadable" and "not a PNG, JPEG" in found["error"]


@pytest.mark.parametrize(("options", "says"), [
    ({"model": "<b>other</b>"}, "no model or part '<b>other</b>'. Choose from bracket, demo tray, bracket.s"),
    ({"model": "../models/bracket.safetensors"}, "There is no model"),
    ({"model": PART, "criterion": "strict"}, "Saved criteria: lax"),
    ({"model": PART, "maps": "beautiful"}, "'picture', 'values' or empty"),
])
def test_wrong_names_are_told(client, options, says):
    with pytest.raises(AppError) as error:
        client.predict(photo=handle_file(str(DEMO_PHOTOS[0])), api_name="/score", **options)
    assert says in str(error.value)


def curl(address: str, *options: str) -> str:
    done = subprocess.run(["curl", "-s", *options, f"{address}"], capture_output=True, text=True, check=True)
    return done.stdout


def scored(address: str, *data: object) -> str:
    """What the API answers to these values, as curl gets it."""
    event = json.loads(curl(f"{address}/gradio_api/call/score", "-H", "Content-Type: application/json",
                            "-d", json.dumps({"data": data})))["event_id"]
    return curl(f"{address}/gradio_api/call/score/{event}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_is_enough(model, address):
    place, = json.loads(curl(f"{address}/gradio_api/upload", "-F", f"files=@{DEMO_PHOTOS[1]}"))
    answer = scored(address, {"path": place}, PART, "", "")
    said, data = answer.strip().splitlines()
    assert said == "event: complete"
    found, = json.loads(data.removeprefix("data: "))
    assert (found["name"], found["verdict"]) == (DEMO_PHOTOS[1].name, "fail")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("photo", [{"path": str(DEMO_PHOTOS[0])}, {"path": "/etc/hostname"}, {}])
def test_only_what_was_uploaded_is_judged(model, address, photo):
    """And a path alone is told how a file is given."""
    assert "handle_file" in scored(address, photo.get("path"), PART, "", "")
    answer = scored(address, photo, PART, "", "")
    assert "event: error" in answer and "Refused" in answer
