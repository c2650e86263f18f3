"""The plain way to the maps of a photo, which the benchmark times, leads to the same maps."""

from __future__ import annotations

import numpy as np

from ulsad.detector.detector import Ulsad
from ulsad.photos.images import find_images
from ulsad.speed import plain, throughput


def same_maps(detector: Ulsad, photo) -> None:
    backbone = plain.PublishedBackbone.pretrained(detector.config)
    networks = [plain.plain_networks(member.networks).eval() for member in detector.branches.members]
    prediction = next(detector.predict_many([photo]))
    quick = prediction.local_map, prediction.global_map, prediction.combined_map
    plainly = throughput.plain_maps(detector, backbone, networks, photo)
    for image, expected in zip(plainly, quick, strict=True):
        np.testing.assert_allclose(np.asarray(image), expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_plain_maps_are_those_of_predict(detector, good_photos):
    same_maps(detector, find_images(good_photos)[0])


def test_plain_maps_are_those_of_predict_where_they_are_blurred(detector, good_photos, demo_set):
    held_out = find_images(demo_set / "validation")
    same_maps(detector.recalibrated(held_out, blur_sigma=4.0), find_images(good_photos)[0])


def test_a_row_says_how_many_times_as_fast():
    row = throughput.Row("scoring", "photos/s", plainly=2.0, here=0.5, count=16)
    assert row.cells() == ("scoring", "8.00", "32.00", "photos/s", "4.0")
    assert throughput.Row("one", "ms", 0.2, 0.1).cells() == ("one", "200.0", "100.0", "ms", "2.0")
