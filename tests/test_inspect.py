"""What the server sends to the browser for Inspect."""

import json
import os
import shutil
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ulsad import InputError, Ulsad
from ulsad.detector import rendering
from ulsad.detector.batch import Batch
from ulsad.detector.criterion import Criterion
from ulsad.photos.images import find_images
from ulsad.ui import batches
from ulsad.ui.batches import Request
from ulsad.ui.inspect.scoring import Latest, own_settings, score
from ulsad.ui.inspect.views import ALL, Controls, suggested_lines


def strict(text: str):
    def refuse(constant: str):
        raise AssertionError(f"{constant} is not JSON")
    return json.loads(text, parse_constant=refuse)


def opened(detector: Ulsad, folder, paths) -> str:
    detector.save(folder / "m.safetensors")
    request = Request(tuple((path, path.name) for path in paths))
    key = batches.begun("m.safetensors", folder, request)
    assert list(batches.score(key)) == list(range(1, len(paths) + 1))
    return key


def controls(key: str, index: int = 0, **others) -> Controls:
    lines = suggested_lines(batches.recalled(key).detector, 0.9, 0.995, 0.25, "sum", 0.05)
    return Controls(key, index, 0.9, 0.995, 0.25, "sum", lines, False, ALL, ALL)._replace(**others)


@pytest.fixture(scope="module")
def key(detector, demo_set, tmp_path_factory) -> str:
    return opened(detector, tmp_path_factory.mktemp("models"), find_images(demo_set / "test"))


def picture(data: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(b64decode(data.split(",")[1]))).convert("RGBA"))


def test_settings_are_given_once_and_never_put_back(detector, demo_set, tmp_path):
    """The answer for an older batch may come last."""
    key = opened(detector, tmp_path, find_images(demo_set / "test"))
    batch = batches.recalled(key)
    index, *given = own_settings(tmp_path, key, 0.05, 0.5, 0.6, 0.1, "mean", {})
    assert index == batch.strangest(Criterion.suggested(detector.calibration, *given[:2]))
    assert given[:4] == [0.9, 0.995, 0.25, "sum"]
    again = own_settings(tmp_path, key, 0.05, 0.5, 0.6, 0.1, "mean", {})
    assert again == (gr.skip(),) * len(again)


def test_the_views_are_the_maps(key):
    one = controls(key, 2)
    value = strict(one.draw()[0])
    prediction = batches.recalled(key).batch.predictions[2]
    maps = prediction.maps(0.9, 0.995)
    assert value["views"][0]["heat"] == "" and value["size"] == 256
    for view, square in zip(value["views"][1:], (maps.local, maps.global_, maps.combined), strict=True):
        heat = picture(view["heat"])
        shown = heat[..., 3] == 255
        assert shown.sum() == pytest.approx((square >= 0.1).sum(), abs=0.01 * 256**2)
        difference = heat[..., :3].astype(int) - rendering.colours(square)
        assert np.abs(difference[shown]).max() <= 4  # 255 colours of 256
        assert (heat[..., 3][square <= 0] == 0).all()
    grid = np.array(value["hover"]["combined"]).reshape(32, 32)
    np.testing.assert_allclose(grid, maps.combined[4::8, 4::8], atol=6e-4)


def test_own_contrast_reaches_from_the_least_to_the_most(key):
    heat = picture(strict(controls(key, contrast=True).draw()[0])["views"][3]["heat"])
    assert (heat[..., :3] == rendering.colours(np.array(1.0))).all(axis=2).any()


def test_the_contour_runs_where_the_threshold_is_crossed():
    ramp = np.tile(np.linspace(0, 1, 11), (5, 1))
    assert rendering.contour(ramp, 0.25) in ("M3.0,0.5L3.0,1.5L3.0,2.5L3.0,3.5L3.0,4.5",
                                             "M3.0,4.5L3.0,3.5L3.0,2.5L3.0,1.5L3.0,0.5")
    assert rendering.contour(ramp, 2.0) == ""


def test_ignored_pixels_are_grey():
    ignored = np.eye(8, dtype=bool)
    heat = np.asarray(rendering.heat(np.ones((8, 8), np.float32), ignored=ignored).convert("RGBA"))
    assert (heat[ignored] == (128, 128, 128, 200)).all() and (heat[~ignored][:, 3] == 255).all()


def test_the_table_is_sorted_filtered_and_says_what_was_seen(key):
    rows = strict(controls(key).draw()[4])["rows"]
    scores = [float(row["score"]) for row in rows]
    assert len(rows) == len(batches.recalled(key).batch) and scores == sorted(scores, reverse=True)
    for verdict in {row["verdict"] for row in rows}:
        kept = strict(controls(key, of_verdict=verdict).draw()[4])
        assert kept["total"] == sum(row["verdict"] == verdict for row in rows)
    assert strict(controls(key, of_verdict="pass", of_branch="both").draw()[4])["total"] == 0


def test_histograms_of_held_out_pixels_are_numpys(key, detector):
    branch = strict(controls(key).draw()[3])[1]
    raw = np.einsum("sg,ngh,th->nst", *(detector.branches.resampling, detector.held_out[:, 1],
                                        detector.branches.resampling))
    counts, _ = np.histogram(raw, 70, (branch["low"], branch["high"]))
    expected = 1 + np.log10(np.clip(counts / raw.size, 1e-6, 1)) / 6
    assert (branch["low"], branch["high"]) == pytest.approx((raw.min(), raw.max()), rel=1e-5)
    often = counts > 200
    off = np.abs(np.array(branch["heights"]) - expected)[often]
    assert off[1:].max() <= 0.03
    assert off[0] <= 0.04  # the lowest values lie between two stored levels of the quantile function
    assert branch["q_alpha"] == pytest.approx(np.quantile(raw, 0.9), rel=1e-3)


def test_a_model_without_a_global_branch_is_shown_too(local_detector, demo_set, tmp_path):
    key = opened(local_detector, tmp_path, find_images(demo_set / "test")[:2])
    viewer, scores, scatter, pixels, table, *_ = controls(key).draw()
    assert strict(viewer)["views"][2]["note"] == "this model has no global branch"
    assert len(strict(pixels)) == 1 and strict(table)["rows"][0]["global"] == "–"
    assert strict(scatter)["global"] is None and strict(scatter)["points"][0][2] is None
    assert len(strict(scores)["held_out"]) == 2


def test_stopping_keeps_what_is_scored(detector, demo_set, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    photos = tuple((path, path.name) for path in find_images(demo_set / "test"))
    key = batches.begun("m.safetensors", tmp_path, Request(photos))
    for done in batches.score(key):
        batches.recalled(key).stopping = done == 3
    assert batches.recalled(key).batch.names == tuple(name for _, name in photos[:3])


def test_names_that_occur_twice_or_are_no_text_are_told_apart(detector, demo_set, tmp_path):
    detector.save(tmp_path / "m.safetensors")
    path = find_images(demo_set / "test")[0]
    names = ["a.png", "a.png (2)", "a.png", "a.png", os.fsdecode(b"b\xff.png")]
    key = batches.begun("m.safetensors", tmp_path, Request(tuple((path, n) for n in names)))
    list(batches.score(key))
    assert batches.recalled(key).batch.names == ("a.png", "a.png (2)", "a.png (3)", "a.png (4)", "b?.png")
    assert [batches.bare(name) for name in ("x/part 1.5 mm.jpg", "part 1.5 mm · scratch", "a.png (2)")] == [
        "part 1.5 mm", "part 1.5 mm · scratch", "a.png (2)"]


def test_probes_come_along_to_another_model(key, detector, tmp_path):
    before = batches.recalled(key)
    photo = before.photo(0)
    added = before.add("spoiled", photo)
    assert (before.batch.names[added], before.add("spoiled", photo)) == ("spoiled", added + 1)
    detector.save(tmp_path / "other.safetensors")
    other = batches.begun("other.safetensors", tmp_path, before.request, key)
    list(batches.score(other))
    assert batches.recalled(other).batch.names == before.batch.names
    assert batches.recalled(key)  # what was open before may still be drawn
    last = batches.begun("other.safetensors", tmp_path, Request(before.request.photos[:1]), other)
    list(batches.score(last))
    with pytest.raises(InputError, match="no longer in memory"):
        batches.recalled(key)


def test_a_forgotten_batch_says_so_and_leaves_no_files(detector, demo_set, tmp_path):
    key = opened(detector, tmp_path, find_images(demo_set / "test")[:1])
    folder = batches.recalled(key).folder
    controls(key).draw()
    assert len(list(folder.iterdir())) == 3  # the photo, its thumbnail, the good photo it resembles
    batches.forget(key)
    assert not folder.exists()
    with pytest.raises(InputError, match="no longer in memory"):
        batches.recalled(key)


def test_an_empty_batch_has_no_scores(detector):
    assert Batch((), ()).judged(Criterion.suggested(detector.calibration, 0.9, 0.995)) == []


def test_of_two_requests_at_once_the_later_one_is_shown(detector, demo_set, tmp_path):
    """Whichever ends last: a photo may be taken out while those before are being scored."""
    detector.save(tmp_path / "m.safetensors")
    photos = tuple((path, path.name) for path in find_images(demo_set / "test"))
    latest, first, second = Latest(), Request(photos), Request(photos[:2])
    earlier = score(tmp_path, "m.safetensors", first, None, latest)
    assert next(earlier)[0] in batches._open
    *_, shown = score(tmp_path, "m.safetensors", second, None, latest)
    assert batches.recalled(shown[1]).batch.names == tuple(name for _, name in photos[:2])
    assert shown[-1] == gr.skip()  # the request itself would take the place of one that has come since
    open_now = set(batches._open)
    assert list(earlier)[-1] == (gr.skip(),) * 7
    assert len(open_now - set(batches._open)) == 1 and shown[1] in batches._open


def test_what_is_being_scored_is_not_scored_again(detector, demo_set, tmp_path):
    """As when a page loads, whose header asks for the same: the answer would choose the strangest again."""
    detector.save(tmp_path / "m.safetensors")
    photos = tuple((path, path.name) for path in find_images(demo_set / "test")[:3])
    latest, wanted = Latest(), Request(photos)
    first = score(tmp_path, "m.safetensors", wanted, None, latest)
    next(first)
    assert list(score(tmp_path, "m.safetensors", wanted, None, latest)) == [(gr.skip(),) * 7]
    *_, shown = first
    assert len(batches.recalled(shown[1]).batch) == 3
    *_, again = score(tmp_path, "m.safetensors", wanted, None, latest)  # it is not open there: another page
    assert len(batches.recalled(again[1]).batch) == 3 and again[1] != shown[1]


def test_maps_are_shown_when_their_photo_is_gone(detector, demo_set, tmp_path):
    photos = [shutil.copy(path, tmp_path) for path in find_images(demo_set / "test")[:2]]
    key = opened(detector, tmp_path, list(map(Path, photos)))
    for photo in photos:
        os.remove(photo)
    value = strict(controls(key).draw()[0])
    assert value["views"][3]["heat"]
    assert Image.open(batches.recalled(key).picture(0)).getpixel((5, 5)) == (128, 128, 128)
    last = strict(controls(key, index=99).draw()[0])  # of a longer batch before
    assert last["name"] == value["name"]


def test_thumbnails_are_made_while_photos_are_scored(detector, demo_set, tmp_path):
    photos = [shutil.copy(path, tmp_path / path.name) for path in find_images(demo_set / "test/good")[:2]]
    Image.new("RGB", (40, 20), "red").save(tmp_path / "tiny.png")
    Image.new("RGB", (3000, 600), "blue").save(tmp_path / "wide.png")
    paths = [*map(Path, photos), tmp_path / "tiny.png", tmp_path / "wide.png"]
    own = [Image.open(path).convert("RGB") for path in paths]
    key = opened(detector, tmp_path, paths)
    for path in paths:
        path.unlink()  # nothing is read again
    found = [Image.open(batches.recalled(key).thumbnail(i)) for i in range(4)]
    assert [picture.size for picture in found] == [(96, 72), (96, 72), (40, 20), (96, 19)]
    for picture, photo in zip(found, own, strict=True):
        wanted = np.asarray(photo.resize(picture.size, Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(np.asarray(picture) - wanted).mean() < 6  # as JPEG
    batches.forget(key)


def test_a_lost_thumbnail_is_made_again(detector, demo_set, tmp_path):
    photo = find_images(demo_set / "test/good")[0]
    key = opened(detector, tmp_path, [photo])
    batches.recalled(key).thumbnail(0).unlink()
    assert Image.open(batches.recalled(key).thumbnail(0)).size == (96, 72)
    batches.forget(key)
