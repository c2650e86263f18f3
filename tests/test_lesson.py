"""Each number and picture of a lesson is the method's own, and follows from the paper's equations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import BRIEF, DEMO_MODEL, DEMO_PHOTOS, TINY

from ulsad import Ulsad
from ulsad.attention.lesson import ERASED, SCRATCHED, Colours, Lesson, parting, spoiled, teach
from ulsad.detector import rendering
from ulsad.errors import InputError
from ulsad.method.equations import resample
from ulsad.photos.images import read_image, to_square
from ulsad.ui import library
from ulsad.ui.learn import views
from ulsad.ui.learn.steps import steps
from ulsad.ui.learn.tab import Listed, _taken
from ulsad.ui.learn.taught import ALONE, BESIDE_ERASED, BESIDE_SCRATCHED, Taught
from ulsad.ui.learn.views import LessonView

WASHER = (0.43, 0.39)  # one of the three in the good tray
PATCHES = [(0, 0), (12, 13), (31, 4)]


@pytest.fixture(scope="module")
def demo() -> Ulsad:
    return Ulsad.load(DEMO_MODEL)


@pytest.fixture(scope="module")
def good(demo) -> Lesson:
    return teach(demo, read_image(DEMO_PHOTOS[0]))


@pytest.fixture(scope="module")
def erased(demo) -> Lesson:
    return teach(demo, spoiled(read_image(DEMO_PHOTOS[0]), ERASED, WASHER))


@pytest.fixture(params=["good", "erased"])
def lesson(request) -> Lesson:
    return request.getfixturevalue(request.param)


def view_of(models_dir: Path, photo: int, beside: str, model: str = library.DEMO, **how) -> LessonView:
    path = DEMO_PHOTOS[photo]
    return LessonView(Taught(model, str(path), path.name, beside, WASHER, **how), models_dir)


def vector(features: torch.Tensor, row: int, column: int) -> np.ndarray:
    return features[:, row, column].numpy().astype(np.float64)


def distances(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Eq. 2 as printed."""
    value = sum((x - y) ** 2 for x, y in zip(a, b)) / len(a)
    length = np.sqrt(sum(x * x for x in a)) * np.sqrt(sum(y * y for y in b))
    return value, 1 - sum(x * y for x, y in zip(a, b)) / length


def softmax_over_keys(keys: np.ndarray, query: np.ndarray) -> np.ndarray:
    """A column of W in Eq. 3, or of Ŵ in Eq. 4: keys (c*, p), query (c*,) → (p,)."""
    products = keys.T @ query / np.sqrt(len(query))
    exponentials = np.exp(products - products.max())
    return exponentials / exponentials.sum()


def test_features_are_those_of_the_detector(demo, lesson):
    features, outputs = demo.branches.forward(torch.from_numpy(lesson.square).permute(2, 0, 1))
    torch.testing.assert_close(lesson.features, features[0], atol=1e-6, rtol=1e-6)
    for mine, own in zip(lesson.outputs, outputs, strict=True):
        torch.testing.assert_close(mine, own, atol=1e-6, rtol=1e-6)
    assert sum(map(len, lesson.layers)) == len(lesson.raw)
    torch.testing.assert_close(torch.cat(lesson.layers), lesson.raw, atol=0, rtol=0)
    for row, column in PATCHES:
        by_hand = (vector(lesson.raw, row, column) - lesson.mean) / lesson.std
        np.testing.assert_allclose(vector(lesson.features, row, column), by_hand, atol=2e-6)


def test_both_branches_at_a_patch(lesson):
    outputs, config = lesson.outputs, lesson.config
    for row, column in PATCHES:
        for compared, first, second, weight, equation in (
                (lesson.local_at(row, column), lesson.features, outputs.reconstruction[0], config.lambda_l,
                 lesson.local[0]),
                (lesson.global_at(row, column), outputs.global_features[0], outputs.second[0],
                 config.lambda_g, lesson.global_[0])):
            value, direction = distances(vector(first, row, column), vector(second, row, column))
            assert compared.value == pytest.approx(value, abs=1e-9)
            assert compared.direction == pytest.approx(direction, abs=1e-9)
            assert compared.total == pytest.approx(value + weight * direction, abs=1e-9)
            assert equation.distances[row, column] == pytest.approx(compared.total, rel=1e-6)  # Eq. 7, 8
            assert not equation.is_beyond
            cosine = np.cos(np.radians(compared.angle)) * np.prod(compared.lengths)
            assert cosine == pytest.approx(vector(first, row, column) @ vector(second, row, column), abs=1e-6)


def test_attention_and_cross_attention(lesson):
    keys = lesson.features.flatten(1).numpy().astype(np.float64)
    for row, column in PATCHES:
        own = softmax_over_keys(keys, vector(lesson.features, row, column))
        cross = softmax_over_keys(keys, vector(lesson.outputs.global_features[0], row, column))
        np.testing.assert_allclose(lesson.attention_at(row, column).ravel(), own, atol=1e-6)
        np.testing.assert_allclose(lesson.cross_attention_at(row, column).ravel(), cross, atol=1e-6)
        np.testing.assert_allclose(vector(lesson.teacher, row, column), keys @ own, atol=1e-6)
        np.testing.assert_allclose(vector(lesson.cross, row, column), keys @ cross, atol=1e-6)
        value, direction = distances(keys @ cross, keys @ own)
        error = value + lesson.config.lambda_g * direction
        assert lesson.attention_error[row, column] == pytest.approx(error, rel=1e-6)


def test_maps_in_use_are_those_of_the_detector(demo, lesson):
    square = torch.from_numpy(lesson.square).permute(2, 0, 1)
    own = demo.predict(lesson.square)
    local, whole = demo.branches.analyse(square[None]).distances[0]
    for stage, expected in ((lesson.local[-1], local), (lesson.global_[-1], whole)):
        assert stage.name == "used"
        np.testing.assert_allclose(stage.distances, expected, atol=1e-6, rtol=1e-6)
    raw_local = resample(local, demo.branches.resampling)
    np.testing.assert_allclose(lesson.prediction.raw_local, raw_local, rtol=1e-6)
    assert lesson.maps.score == pytest.approx(own.score, abs=1e-6)
    assert [stage.name for stage in lesson.local] == ["equation", "whitened", "relative", "bank", "used"]
    relative, bank, used = (stage.distances for stage in lesson.local[2:])
    np.testing.assert_allclose(used, (relative + bank) / 2, rtol=1e-5)


def test_whitened_stage_by_hand(demo, lesson):
    matrix = demo.branches.members[0].whitening.numpy().astype(np.float64)
    for row, column in PATCHES:
        error = vector(lesson.outputs.reconstruction[0] - lesson.features, row, column)
        assert lesson.local[1].distances[row, column] == pytest.approx(
            np.mean((matrix @ error) ** 2), rel=1e-5)


def test_quantiles_and_verdict_by_hand(demo, lesson):
    config, maps = lesson.config, lesson.maps
    held_out = resample(demo.held_out, demo.branches.resampling)
    normalised = []
    for branch, transform, raw, shown in (
            (0, lesson.normalisation.local, lesson.prediction.raw_local, maps.local),
            (1, lesson.normalisation.global_, lesson.prediction.raw_global, maps.global_)):
        low, high = np.quantile(held_out[:, branch], [config.alpha, config.beta])
        assert [transform.q_alpha, transform.q_beta] == pytest.approx([low, high], rel=1e-3)
        by_hand = 0.1 * (raw - transform.q_alpha) / (transform.q_beta - transform.q_alpha)
        np.testing.assert_allclose(shown, by_hand, atol=1e-6)
        normalised.append(by_hand)
    combined = normalised[0] + config.global_weight * np.maximum(normalised[1], 0)  # the demo's combination
    np.testing.assert_allclose(maps.combined, combined, atol=1e-5)
    assert maps.score == pytest.approx(combined.max(), abs=1e-5)
    fail = combined.max() > lesson.criterion.fail
    assert fail == (lesson.verdict == "fail")


def test_what_the_global_branch_expects(demo, lesson):
    index = lesson.prediction.reference
    source = to_square(demo.references.photo(index), 256)
    patches, _ = demo.branches.forward(source)
    assert lesson.expected.photo == demo.references.names[index]
    for row, column in PATCHES:
        apart = np.linalg.norm(patches[0].flatten(1).numpy().T
                               - vector(lesson.outputs.global_features[0], row, column), axis=1)
        chosen = int(lesson.expected.nearest[row, column])
        assert apart[chosen] == pytest.approx(apart.min(), rel=1e-5)
        at, of = divmod(chosen, 32)
        np.testing.assert_array_equal(
            lesson.expected.picture[8 * row:8 * row + 8, 8 * column:8 * column + 8],
            source[:, 8 * at:8 * at + 8, 8 * of:8 * of + 8].permute(1, 2, 0))


def test_colours_are_principal_components(good):
    colours = Colours.of(good.features)
    points = good.features.double().flatten(1)
    variances = torch.linalg.eigvalsh(torch.cov(points, correction=0)).flip(0)[:3]
    along = colours.axes @ (points - points.mean(dim=1, keepdim=True))
    torch.testing.assert_close(along.square().mean(dim=1), variances)
    assert colours(good.features).shape == (32, 32, 3)


def test_a_scratch_parts_at_the_local_map_and_a_missing_part_at_the_global(demo, good, erased):
    scratched = teach(demo, spoiled(read_image(DEMO_PHOTOS[0]), SCRATCHED, WASHER))
    assert (good.verdict, scratched.verdict, erased.verdict) == ("pass", "fail", "fail")
    local, whole = parting(good, scratched)
    assert local > whole
    local, whole = parting(good, erased)
    assert whole > 2 * local
    highest = [lesson.prediction.distances[0].max() for lesson in (erased, good)]
    assert local == pytest.approx(highest[0] / highest[1], rel=1e-5)


@pytest.mark.parametrize("place", [(0, 0), (1, 1), (0.5, 0.5), (0, 1)])
@pytest.mark.parametrize("size", [(640, 480), (60, 400)])
def test_a_copy_can_be_spoiled_anywhere(size, place):
    photo = read_image(DEMO_PHOTOS[0]).resize(size)
    for kind in (SCRATCHED, ERASED):
        copy = spoiled(photo, kind, place)
        assert copy.size == size and np.any(np.asarray(copy) != np.asarray(photo))


def test_nothing_can_be_erased_from_a_tiny_photo():
    photo = read_image(DEMO_PHOTOS[0]).resize((400, 6))
    assert spoiled(photo, SCRATCHED, WASHER).size == photo.size
    with pytest.raises(InputError, match="too small to erase a part"):
        spoiled(photo, ERASED, WASHER)


def test_the_browser_gets_these_numbers_and_pictures(good, erased, tmp_path):
    view = view_of(tmp_path, 0, BESIDE_ERASED)
    text = view.whole(12, 13)
    assert len(text) < 1.5e6
    value = json.loads(text)
    assert len(value["steps"]) == 9 and len(value["sides"]) == 2
    for side, lesson in zip(value["sides"], (good, erased), strict=True):
        assert side["pictures"]["square"]["src"] == views.viewer.data_url(
            views.Image.fromarray(lesson.square))
        assert side["pictures"]["combined"]["src"] == views.viewer.data_url(
            rendering.heat(lesson.maps.combined))
    for side, lesson in zip(value["patch"]["sides"], (good, erased), strict=True):
        np.testing.assert_allclose(side["charts"]["standardised"]["bars"], vector(lesson.features, 12, 13),
                                   atol=1e-4)
        assert side["charts"]["vectors local"]["angle"] == lesson.local_at(12, 13).angle
    local = dict((label, values) for label, values in value["patch"]["numbers"][3])
    assert local["l<sub>v</sub>"] == [f"{lesson.local_at(12, 13).value:.4f}" for lesson in (good, erased)]
    assert "They part most at step 8" in value["parting"]
    assert value["patch"]["numbers"][8][-1] == ["verdict", ["<b>PASS</b>", "<b>FAIL</b>"]]
    swapped = view_of(tmp_path, 3, BESIDE_SCRATCHED)
    said = json.loads(swapped.whole(12, 13))["parting"]
    assert "does not pass (fail)" in said and "They hardly part" in said
    assert json.loads(view.patch(99, -5))["patch"]["at"] == [31, 0]
    named = {name for step in value["steps"] for name in step["pictures"]}
    there = set(value["sides"][0]["pictures"]) | set(value["patch"]["sides"][0]["pictures"])
    assert named == there


def test_a_model_without_global_branch(local_detector):
    lesson = teach(local_detector, read_image(DEMO_PHOTOS[0]))
    assert lesson.cross is None and lesson.expected is None and lesson.global_ == ()
    assert lesson.global_at(3, 4) is None and lesson.cross_attention_at(3, 4) is None
    assert parting(lesson, lesson) == (1, None)
    assert lesson.maps.global_ is None


def test_it_is_told_without_global_branch(local_detector, tmp_path):
    local_detector.save(tmp_path / "local.safetensors")
    view = view_of(tmp_path, 0, BESIDE_ERASED, "local.safetensors")
    value = json.loads(view.whole(12, 13))
    pictures = set(value["sides"][0]["pictures"]) | set(value["patch"]["sides"][0]["pictures"])
    shown = [bool(set(step["pictures"]) & pictures) for step in value["steps"]]
    assert shown == [True] * 6 + [False] * 2 + [True]
    assert "no global branch" in value["steps"][8]["beyond"][0]["text"] and "step 8" not in value["parting"]


def test_the_papers_own_maps_need_no_further_stage(good_photos):
    paper = replace(BRIEF, local_metric="plain", relative_maps=False, nearest_patches=0, combination="mean",
                    global_weight=1, local_global_loss=False)
    lesson = teach(Ulsad.fit(good_photos, paper), read_image(DEMO_PHOTOS[0]))
    for stages, distances in zip((lesson.local, lesson.global_), lesson.prediction.distances, strict=True):
        assert [stage.name for stage in stages] == ["equation"]
        np.testing.assert_allclose(stages[0].distances, distances, rtol=1e-5, atol=1e-6)
    assert not any(step["beyond"] for step in steps(paper, 1) if step["title"] != "Global branch φ")
    whole = lesson.global_at(3, 4)
    np.testing.assert_array_equal(whole.second, vector(lesson.features, 3, 4))  # no Ũ″ without L_lg


def test_each_pair_of_networks_takes_part(good_photos):
    """Cross-fitted: the maps in use are means, and a photo is judged by the networks that don't know it."""
    crossed = Ulsad.fit(good_photos, replace(TINY, steps=3, autoencoder_width=8, folds=3))
    lesson = teach(crossed, read_image(DEMO_PHOTOS[0]))
    assert lesson.members == 3
    np.testing.assert_allclose(lesson.local[-1].distances, lesson.prediction.distances[0], rtol=1e-5)
    assert "mean of 3 pairs" in json.dumps(steps(lesson.config, lesson.members))
    known = sorted(good_photos.iterdir())[0]
    lesson = teach(crossed, read_image(known))
    assert lesson.members == 1
    np.testing.assert_allclose(lesson.local[-1].distances, lesson.prediction.distances[0], rtol=1e-5)
    np.testing.assert_allclose(lesson.global_[-1].distances, lesson.prediction.distances[1], rtol=1e-5)


def test_it_is_said_that_areas_are_ignored_only_at_the_verdict(demo, tmp_path):
    left = np.zeros((256, 256), bool)
    left[:, :100] = True
    demo.ignoring(left).save(tmp_path / "ignoring.safetensors")
    for model, is_said in (("ignoring.safetensors", True), (library.DEMO, False)):
        about = json.loads(view_of(tmp_path, 0, ALONE, model).whole(0, 0))["about"]
        assert ("ignores areas" in about) == is_said


def test_a_patch_chosen_under_a_finer_grid_stays_within(tmp_path):
    photo = DEMO_PHOTOS[0]
    state = Listed(((str(photo), photo.name),), place=(50, 3), is_opened=True)
    file = json.loads(_taken(tmp_path, (0, "self", "png", 5), library.DEMO, photo.name, ALONE, state))["file"]
    assert file.endswith("step 6 self.png")
    assert json.loads(view_of(tmp_path, 0, ALONE).whole(50, 3))["patch"]["at"] == [31, 3]


def test_alone(tmp_path):
    view = view_of(tmp_path, 1, ALONE)
    value = json.loads(view.whole(12, 13))
    assert len(value["sides"]) == 1 and value["parting"] == ""
