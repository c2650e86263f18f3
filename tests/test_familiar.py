"""Photos that look like nothing the model was trained on: they are told, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS, shared
from PIL import Image, ImageDraw
from safetensors.numpy import load_file

from ulsad import Ulsad
from ulsad.demo.dataset import DEFECTS, render
from ulsad.detector.references import LEAST, SPREADS, References
from ulsad.photos.images import find_images, read_image, to_square


@pytest.fixture(scope="module")
def demo_model() -> Ulsad:
    return Ulsad.load(DEMO_MODEL)


def bottle() -> Image.Image:
    """A brown bottle before a light wall."""
    photo = Image.new("RGB", (480, 640), (214, 210, 200))
    draw = ImageDraw.Draw(photo)
    draw.rounded_rectangle((150, 240, 330, 610), 40, fill=(96, 52, 20))
    draw.rectangle((212, 60, 268, 260), fill=(96, 52, 20))
    draw.rectangle((150, 360, 330, 500), fill=(240, 236, 220))
    draw.text((190, 420), "APPLE JUICE", fill=(150, 30, 30))
    return photo


def stripes() -> Image.Image:
    return Image.fromarray(np.uint8(np.indices((480, 640)).sum(axis=0) // 20 % 2 * 255))


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))


def references(means: list[list[float]]) -> References:
    """With these channel means, (n, c*), the same in every part of a photo."""
    descriptors = np.repeat(np.array(means, np.float16), 16, axis=1)
    return References(("",) * len(means), descriptors, (b"",) * len(means))


def descriptor(*means: float) -> np.ndarray:
    """(1, c* · 16): the parts of the photo differ, their means are these."""
    fields = np.linspace(-1, 1, 16)
    return (np.array(means)[:, None] + fields).reshape(1, -1).astype(np.float32)


def literal_strangeness(model: Ulsad, photo) -> float:
    """From the model file and the features of one photo, number by number."""
    stored = load_file(DEMO_MODEL)["references.descriptors"].astype(np.float64)
    good = [row.reshape(-1, 16).mean(axis=1) for row in stored]
    square = to_square(read_image(photo), model.config.image_size)
    mean = model.branches.forward(square)[0][0].double().numpy().mean(axis=(1, 2))

    def nearest(one, others):
        return min(np.sqrt(np.mean((one - other) ** 2)) for other in others)

    usual = np.mean([nearest(one, good[:i] + good[i + 1:]) for i, one in enumerate(good)])
    return nearest(mean, good) / max(SPREADS * usual, LEAST)


def test_strangeness_is_the_distance_to_the_nearest_reference_in_limits():
    good = references([[0, 0], [2, 0], [6, 0]])  # √2 times as far apart as root mean squares say
    assert good.limit == pytest.approx(SPREADS * np.mean([2, 2, 4]) / np.sqrt(2))
    assert good.strangeness(descriptor(6, 3)) == pytest.approx([3 / np.sqrt(2) / good.limit], rel=1e-5)
    assert good.strangeness(descriptor(2, 0)) == pytest.approx([0], abs=1e-5)


@pytest.mark.parametrize("means", [[[1, 1]], [[1, 1], [1, 1.01], [1.01, 1]]])
def test_good_photos_that_are_alike_leave_room_for_defects(means):
    assert references(means).limit == LEAST


@pytest.mark.parametrize("photo", [DEMO_PHOTOS[0], DEMO_PHOTOS[-1]], ids=lambda photo: photo.stem)
def test_strangeness_from_the_model_file_alone(demo_model, photo):
    expected = literal_strangeness(demo_model, photo)
    assert demo_model.predict(photo).strangeness == pytest.approx(expected, rel=1e-3)


def test_demo_photos_are_familiar(demo_model):
    for prediction in demo_model.predict_many(DEMO_PHOTOS):
        assert prediction.strangeness < 0.5 and not prediction.is_strange and not prediction.notes


@pytest.mark.parametrize("defect", [None, *DEFECTS])
def test_good_and_defective_trays_are_familiar(demo_model, defect):
    rng = np.random.default_rng(77)
    for _ in range(2):
        prediction = demo_model.predict(render(rng, defect).image)
        assert prediction.strangeness < 0.5 and not prediction.notes


@pytest.mark.parametrize("draw", [bottle, stripes, noise, lambda: Image.new("RGB", (640, 480)),
                                  lambda: Image.new("RGB", (640, 480), "white")],
                         ids=["bottle", "stripes", "noise", "black", "white"])
def test_other_things_are_strange(demo_model, draw):
    prediction = demo_model.predict(draw())
    assert prediction.is_strange and prediction.strangeness > 1.2
    assert len(prediction.notes) == 1
    assert f"none of the good photos that the model was trained on ({prediction.strangeness:.1f} times" \
        in prediction.notes[0]


@pytest.mark.parametrize("folder", ["fourscrews", "aliens", "magnetic_tile", "pcb"])
def test_photos_of_other_parts_are_strange(demo_model, folder):
    photos = find_images(shared(f"data/{folder}/test/good"))[:4]
    assert all(prediction.is_strange for prediction in demo_model.predict_many(photos))


def test_a_strange_photo_among_others_is_told_from_them(demo_model, tmp_path):
    bottle().save(tmp_path / "bottle.png")
    predictions = demo_model.predict_many([DEMO_PHOTOS[0], tmp_path / "bottle.png", DEMO_PHOTOS[1]])
    assert [prediction.is_strange for prediction in predictions] == [False, True, False]


def test_a_model_of_ten_photos_knows_its_kind(detector, demo_set):
    trays = [photo for part in ("train", "validation", "test") for photo in find_images(demo_set / part)]
    assert not any(prediction.is_strange for prediction in detector.predict_many(trays))
    masks = find_images(demo_set / "ground_truth")
    assert all(prediction.is_strange for prediction in detector.predict_many(masks))


def test_a_reloaded_model_says_the_same(detector, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    again = Ulsad.load(tmp_path / "m.safetensors")
    assert again.predict(bottle()).strangeness == detector.predict(bottle()).strangeness
