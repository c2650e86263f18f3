"""The small models of Learn that ship: what they differ in, what they find, and one while it learns."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from conftest import DEMO_MODEL, DEMO_PHOTOS, TINY
from PIL import Image

from ulsad import Ulsad
from ulsad.attention import stages
from ulsad.attention.lesson import teach
from ulsad.attention.variants import SMALL, VARIANTS, WHOLE, found_in
from ulsad.detector import rendering
from ulsad.errors import InputError
from ulsad.photos.images import read_image
from ulsad.ui import library
from ulsad.ui.learn import download
from ulsad.ui.learn.maps import level_at
from ulsad.ui.learn.tab import Listed, _levelled
from ulsad.ui.learn.taught import ALONE, BESIDE_ERASED, FOLDER, Taught, Way, learning, lessons
from ulsad.ui.learn.views import LessonView

MB = 1_000_000
LAST = len(stages.STEPS) - 1


def taught(**how) -> Taught:
    path = DEMO_PHOTOS[1]
    return Taught(library.DEMO, str(path), path.name, how.pop("beside", ALONE), (0.43, 0.39), **how)


@pytest.fixture(scope="module")
def whole() -> Ulsad:
    return Ulsad.load(WHOLE.file(FOLDER))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_is_small_and_differs_in_its_own_setting_alone(variant):
    file = variant.file(FOLDER)
    assert file.stat().st_size <= 2 * MB
    config = Ulsad.load(file).config
    different = {name for name, value in vars(config).items() if value != getattr(SMALL, name)}
    assert different == set(variant.changes)


def test_what_they_found_is_what_they_find():
    """Recorded on 100 trays; here on the seven defective demo photos against the good one."""
    for variant in VARIANTS:
        found = found_in(FOLDER)[variant.name]
        assert set(found) == {"logical", "structural"}
        assert all(len(values) == 3 and 0 <= min(values) <= max(values) <= 100 for values in found.values())
        detector = Ulsad.load(variant.file(FOLDER))
        scores = [detector.predict(photo).score for photo in DEMO_PHOTOS]
        share = np.mean([score > scores[0] for score in scores[1:5]])  # photos 1 to 4 are logical
        assert share >= 0.75 or found["logical"][0] < 90
    assert found_in(FOLDER)["whole"]["logical"][2] > found_in(FOLDER)["unlinked"]["logical"][2] + 10


def test_stages_of_a_training_are_as_small_and_as_many_as_promised():
    of = learning()
    assert of.file.stat().st_size <= 4 * MB
    assert of.steps == stages.STEPS and of.losses.shape == (3, stages.STEPS[-1])
    late, early = of.losses[:, -100:].mean(axis=1), of.losses[:, :20].mean(axis=1)
    assert np.all(late < early)


def test_the_last_stage_is_the_finished_model(whole):
    last = learning().detector(LAST, whole)
    for photo in DEMO_PHOTOS[:3]:
        mine, finished = last.predict(photo), whole.predict(photo)
        np.testing.assert_allclose(mine.distances, finished.distances, rtol=0.05, atol=0.01)  # float16
    assert whole.record["steps"] == stages.STEPS[-1]


def test_it_gets_better_while_it_learns(whole):
    photo = read_image(DEMO_PHOTOS[0])
    errors = [float(teach(learning().detector(i, whole), photo).local[0].distances.mean())
              for i in (0, 4, LAST)]
    assert errors[0] > 1.2 * errors[1] > 1.2 * errors[2]


def test_stages_survive_a_file(good_photos, tmp_path):
    config = replace(TINY, steps=2, autoencoder_width=8)
    first = Ulsad.fit(good_photos, config)
    stages.write(tmp_path / "stages.safetensors", [first], np.arange(6).reshape(3, 2))
    again = stages.Stages.read(tmp_path / "stages.safetensors")
    assert again.steps == (2,)
    np.testing.assert_array_equal(again.losses, np.arange(6).reshape(3, 2))
    back = again.detector(0, first)
    for name, value in back.branches.members[0].networks.state_dict().items():
        own = first.branches.members[0].networks.state_dict()[name]
        torch.testing.assert_close(value, own.half().to(own.dtype) if own.is_floating_point() else own)


def test_a_way_is_looked_up():
    assert Way.chosen(library.DEMO, "whole", 3, []) == Way("whole", 3)
    assert Way.chosen(library.DEMO, "whole", LAST, []) == Way("whole")  # the finished model itself
    assert Way.chosen(library.DEMO, "values", 3, []) == Way("values")
    assert Way.chosen(library.DEMO, "whole", "../3", ["bank"]) == Way("whole")
    assert Way.chosen("mine", "whole", 3, ["bank"]) == Way(left_out=frozenset({"bank"}))
    for variant, left_out in (("../whole", []), ("stages", []), ("", ["../bank"]), ("", [[]]),
                              (None, [])):
        with pytest.raises(InputError, match="no such choice"):
            Way.chosen(library.DEMO, variant, None, left_out)


def test_the_lesson_is_of_the_chosen_networks(tmp_path, whole):
    photo = read_image(DEMO_PHOTOS[1])
    for way, detector in ((Way("whole"), whole), (Way("whole", 3), learning().detector(3, whole)),
                          (Way(), Ulsad.load(DEMO_MODEL))):
        lesson, = lessons(taught(way=way), tmp_path)
        np.testing.assert_allclose(lesson.maps.combined, detector.predict(photo).maps().combined, atol=1e-6)


def test_the_browser_gets_variants_for_the_demo_alone(tmp_path, detector):
    value = json.loads(LessonView(taught(way=Way("whole", 3)), tmp_path).whole(12, 13))
    assert [each["name"] for each in value["variants"]] == [variant.name for variant in VARIANTS]
    assert value["way"] == {"variant": "whole", "stage": 3, "left_out": []}
    of = learning()
    for row, points in zip(of.losses, value["learning"]["losses"].values(), strict=True):
        np.testing.assert_allclose(np.mean(points), row.mean(), rtol=0.01)
    assert not any(step["beyond"] for step in value["steps"] if step["title"] != "Global branch φ")
    detector.save(tmp_path / "own.safetensors")
    own = taught()._replace(model="own.safetensors")
    value = json.loads(LessonView(own, tmp_path).whole(12, 13))
    assert value["variants"] == [] and value["learning"] is None


def test_left_out_additions_stay_listed(tmp_path):
    way = Way(left_out=frozenset({"bank", "combination"}))
    value = json.loads(LessonView(taught(way=way), tmp_path).whole(12, 13))
    beyond = {each["addition"]: each["is_left_out"] for step in value["steps"] for each in step["beyond"]}
    assert {name: beyond[name] for name in ("whitened", "relative", "bank", "combination")} == {
        "whitened": False, "relative": False, "bank": True, "combination": True}
    assert "/ 2" in value["steps"][8]["equation"] and "local bank" not in value["sides"][0]["pictures"]
    assert "measured again" in value["about"]


@pytest.mark.parametrize("branch", ["local", "global"])
def test_a_quantile_is_moved_to_a_raw_value(tmp_path, branch):
    path = DEMO_PHOTOS[1]
    state = Listed(((str(path), "1 missing"),), is_opened=True)
    looking = (library.DEMO, "1 missing", ALONE)
    lesson, = lessons(taught(), tmp_path)
    quantiles = lesson.calibration.local if branch == "local" else lesson.calibration.global_
    raw = quantiles(0.6)
    state, text = _levelled(tmp_path, (branch, "alpha", raw), *looking, state)
    assert state.levels == pytest.approx((0.6, 0.995), abs=1e-6)
    held, = [each for each in json.loads(text)["held_out"] if each["branch"] == branch]
    assert held["q_alpha"] == pytest.approx(raw, rel=1e-6)
    moved = lessons(taught(levels=state.levels), tmp_path)[0]
    np.testing.assert_allclose(moved.maps.combined, lesson.prediction.maps(*state.levels).combined, atol=1e-6)
    state, _ = _levelled(tmp_path, (branch, "beta", quantiles(0.3)), *looking, state)
    assert state.levels[0] < state.levels[1]  # it can't pass the other one
    assert level_at(lesson, branch, -1e9) == 0 and level_at(lesson, branch, 1e9) == 1
    for raw in (float("nan"), float("inf"), 10 ** 400, "1"):
        assert _levelled(tmp_path, (branch, "alpha", raw), *looking, state)[0] == state
    state, _ = _levelled(tmp_path, (branch, "alpha", None), *looking, state)
    assert state.levels is None


def test_a_downloaded_picture_is_the_drawn_one(tmp_path):
    view = LessonView(taught(), tmp_path)
    photo = read_image(DEMO_PHOTOS[1])
    name, content = download.taken(view, 0, "combined", (12, 13), "png", 0)
    assert name == "1 missing step 1 combined.png"
    picture = Image.open(BytesIO(content))
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1) and max(picture.size) == 1050
    below = np.asarray(photo.resize(picture.size, Image.Resampling.LANCZOS), float)
    heat = rendering.heat(view.first.maps.combined).convert("RGBA").resize(
        picture.size, Image.Resampling.BILINEAR)
    colour, share = np.asarray(heat, float)[..., :3], 0.75 * np.asarray(heat, float)[..., 3:] / 255
    np.testing.assert_allclose(np.asarray(picture, float), share * colour + (1 - share) * below, atol=2)
    framed = Image.open(BytesIO(download.taken(view, 0, "combined", (12, 13), "png", 8)[1]))
    differs = np.argwhere(np.any(np.asarray(framed) != np.asarray(picture), axis=2))
    height, width = picture.height / 32, picture.width / 32
    assert np.all(abs(differs.mean(axis=0) - [12.5 * height, 13.5 * width]) < 3)


def test_a_downloaded_page_has_the_size_of_its_picture(tmp_path):
    view = LessonView(taught(beside=BESIDE_ERASED), tmp_path)
    name, content = download.taken(view, 1, "fine", (12, 13), "pdf", 1)
    assert name.endswith(".pdf") and "part erased" in name and content.startswith(b"%PDF")
    assert b"/MediaBox [ 0 0 252.0 189." in content  # 3.5 inches long, in points


@pytest.mark.parametrize("asked", [(0, "../x", "png"), (2, "combined", "png"), (0, "combined", "exe"),
                                   (-1, "combined", "png")])
def test_other_pictures_are_refused(tmp_path, asked):
    side, name, form = asked
    with pytest.raises(InputError, match="no such picture"):
        download.taken(LessonView(taught(), tmp_path), side, name, (12, 13), form, 0)


def test_a_sent_picture_is_the_layer(tmp_path):
    view = LessonView(taught(), tmp_path)
    sent = json.loads(view.whole(12, 13))["sides"][0]["pictures"]
    for name in ("fine", "expected", "local used", "combined"):
        _, layer = view.layer(0, name, 12, 13)
        data = b64decode(sent[name]["src"].partition(",")[2])
        np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(data)).convert("RGBA")),
                                      np.asarray(layer.image.convert("RGBA")))
