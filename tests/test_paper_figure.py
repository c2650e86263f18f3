"""The figure that Inspect makes of the open photos."""

from __future__ import annotations

import io
import json
import re
import shutil
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DEMO_MODEL, DEMO_PHOTOS
from PIL import Image

from ulsad import InputError
from ulsad.detector import rendering
from ulsad.photos.images import find_images
from ulsad.ui import batches, library, places
from ulsad.ui.batches import Request
from ulsad.ui.inspect import figure, marking, scoring
from ulsad.ui.inspect.views import ALL, Controls, criterion
from ulsad.ui.slot import Slot

COLUMNS = ["photo", "mask", "local", "global", "combined"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(DEMO_MODEL, folder / "tray.safetensors")
    return folder


@pytest.fixture
def opened(models):
    """Opens photos and gives the key of their batch and the settings."""
    keys = []

    def opens(photos) -> tuple[str, tuple]:
        keys.append(batches.begun("tray.safetensors", models, Request(tuple(photos))))
        list(batches.score(keys[-1]))
        return keys[-1], scoring._suggested_settings(batches.recalled(keys[-1]).detector, 0.05)

    yield opens
    for key in keys:
        batches.forget(key)


def named(photos) -> list[tuple[Path, str]]:
    return [(path, path.name) for path in photos]


def drawn(key: str, names: list[str], settings: tuple, captions: str = "", columns=tuple(COLUMNS), extras=(),
          formats=("SVG",), roots=()) -> list[Path]:
    return [Path(file) for file in figure._drawn(list(roots), key, names, captions, list(columns),
                                                 list(extras), list(formats), *settings)]


def pictures(file: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(b64decode(data))).convert("RGB"))
            for data in re.findall(r'base64,([^"]+)"', file.read_text(encoding="utf-8"))]


def sent(dropdown) -> dict:
    """What the browser is told of it."""
    return dropdown.constructor_args


def test_the_photo_shown_and_the_strangest_are_offered_until_others_are_chosen(opened):
    key, settings = opened(named(DEMO_PHOTOS))
    batch = batches.recalled(key).batch
    scores = {name: score for name, (score, *_) in zip(batch.names, batch.scores(criterion(*settings)))}
    strangest = sorted(scores, key=lambda name: -scores[name])
    weakest = batch.names.index(strangest[-1])
    offered, first = figure.offered(key, weakest, [], None, *settings)
    assert first == sent(offered)["value"] == [strangest[-1], *strangest[:3]]
    assert sent(offered)["choices"] == [strangest[-1], *strangest[:-1]]
    again, first = figure.offered(key, batch.names.index(strangest[0]), first, first, *settings)
    assert first == sent(again)["value"] == strangest[:4]
    mine = [strangest[5], strangest[2]]
    kept, before = figure.offered(key, weakest, mine, first, *settings)
    assert "value" not in sent(kept) and before == first and set(scores) == set(sent(kept)["choices"])
    other, settings = opened(named(DEMO_PHOTOS[:2]))  # in place of them
    offered, first = figure.offered(other, 0, mine, first, *settings)
    assert sorted(first) == sorted(photo.name for photo in DEMO_PHOTOS[:2])


def test_the_figure_shows_the_maps_under_the_present_settings(opened):
    key, (_, _, weight, kind, lines) = opened(named(DEMO_PHOTOS))
    settings = 0.8, 0.97, weight, kind, lines | {"review": 0.4, "fail": 0.5}
    names = [DEMO_PHOTOS[i].name for i in (5, 3)]
    file, = drawn(key, names, settings, "(a) scratch; (b) swapped", extras=[figure.OUTLINE, figure.BAR])
    assert file.is_relative_to(places.shown())
    found, opened_batch = pictures(file), batches.recalled(key)
    for i, name in enumerate(names):
        index = opened_batch.batch.names.index(name)
        maps = opened_batch.batch.predictions[index].maps(0.8, 0.97, criterion(*settings).combine)
        photo = opened_batch.photo(index).resize(found[0].shape[1::-1], Image.Resampling.BICUBIC)
        wanted = [photo, *(rendering.overlay(photo, square, 0.6)
                           for square in (maps.local, maps.global_, maps.combined))]
        for picture, want in zip(found[4 * i:], wanted):
            np.testing.assert_array_equal(picture, np.asarray(want))
    text = file.read_text(encoding="utf-8").replace("\xa0", " ")
    assert "(a) scratch" in text and "α = 0.8 and β = 0.97" in text and "combined 0.40" in text
    files = drawn(key, names, settings, extras=[figure.NAMES], formats=["PDF", "PNG", "SVG"])
    assert [path.suffix for path in files] == [".pdf", ".png", ".svg"]
    assert all(name in files[2].read_text(encoding="utf-8") for name in names)


def test_photos_of_another_visitor_are_not_drawn(opened):
    mine, settings = opened(named(DEMO_PHOTOS[:4]))
    opened(named(DEMO_PHOTOS[4:]))
    for name in (DEMO_PHOTOS[5].name, str(DEMO_PHOTOS[5]), "../5 scratch.jpg"):
        with pytest.raises(InputError, match="no photo '"):
            drawn(mine, [name], settings)
    with pytest.raises(InputError, match="no longer in memory"):
        drawn("made up", [DEMO_PHOTOS[0].name], settings)


def test_masks_come_from_the_data_set_in_the_slot_and_from_marks(opened, demo_set, models):
    slot = Slot().add((path, path.relative_to(demo_set).as_posix())
                      for path in find_images(demo_set) if "train" not in path.parts)
    defect, = find_images(demo_set / "test/logical_anomalies")[:1]
    chosen = f"test/logical_anomalies/{defect.name}"
    key, settings = opened(slot.photos())
    drawing, = drawn(key, [chosen], settings, columns=["mask"])
    truth, = (np.asarray(Image.open(file)) for file in
              (demo_set / "ground_truth/logical_anomalies" / defect.stem).iterdir())
    assert (pictures(drawing)[0] > 127).mean() == pytest.approx((truth > 0).mean(), abs=2e-3)
    outside, settings = opened([(demo_set / chosen, "defect.png")])
    with pytest.raises(InputError, match="nothing to draw"):  # no root of the app's holds this data set
        drawn(outside, ["defect.png"], settings, columns=["mask"])
    assert len(pictures(drawn(outside, ["defect.png"], settings, roots=[demo_set])[0])) == 5
    controls = Controls(outside, 0, *settings, False, ALL, ALL)
    stroke = {"points": [[0, 0.5], [1, 0.5]], "width": 0.2}
    painted = json.dumps({"photo": places.address(batches.recalled(outside).picture(0)), "strokes": [stroke]})
    marking.marked_defect(SimpleNamespace(username=None), painted, "", *controls)
    drawing, = drawn(outside, ["defect.png"], settings, columns=["mask"])
    mask = np.asarray(Image.open(library.marks_of("tray.safetensors", models).mask(
        batches.recalled(outside).marked[batches.recalled(outside).batch.predictions[0].digest])))
    assert (pictures(drawing)[0] > 127).mean() == pytest.approx((mask > 0).mean(), abs=2e-3)
    slot.discard()


def test_what_can_not_be_drawn_is_said(opened, tmp_path):
    photo = Path(shutil.copy(DEMO_PHOTOS[0], tmp_path / "a.jpg"))
    key, settings = opened([(photo, "a.jpg")])
    for changes, message in (
            ({"names": []}, "at least one photo"), ({"formats": ()}, "at least one format"),
            ({"columns": ()}, "at least one column"), ({"columns": ["mask"]}, "nothing to draw"),
            ({"captions": "a; b"}, "2 captions for 1 photos"), ({"captions": "日"}, "has no '日'"),
            ({"captions": "a", "extras": [figure.NAMES]}, "uncheck"),
            ({"names": ["a.jpg"] * 61}, "up to 60")):
        with pytest.raises(InputError, match=message):
            drawn(**{"key": key, "names": ["a.jpg"], "settings": settings} | changes)
    library._photos.clear()
    photo.unlink()
    with pytest.raises(InputError, match=r"a\.jpg can't be read any more"):
        drawn(key, ["a.jpg"], settings)
