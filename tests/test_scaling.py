"""The benchmark of whole trainings: real ones, told by the events of their run directories."""

from __future__ import annotations

import time

import pytest
from conftest import DEMO_PHOTOS

from ulsad.photos.images import digest, find_images, read_squares
from ulsad.speed import scaling


def test_pictures_are_varied_so_that_none_is_left_out_as_a_copy(tmp_path):
    photos = find_images(scaling.vary(DEMO_PHOTOS[:2], 20, tmp_path / "photos"))
    assert len({digest(square) for square in read_squares(photos, 256)[1]}) == len(photos) == 20


@pytest.mark.slow
def test_phases_of_a_training_add_up_to_its_time(tmp_path):
    photos = scaling.vary(DEMO_PHOTOS[:2], 12, tmp_path / "photos")
    started = time.time()
    events = scaling.trained(photos, tmp_path / "run", "steps=40", "frn_width=32", "autoencoder_width=16",
                            "augmented_photos=0")
    taken = time.time() - started
    seconds = scaling.phases(started, events)
    assert min(seconds.values()) >= 0
    assert taken - 3 < sum(seconds.values()) <= taken + 0.02  # what is left is the end of the process
    assert 0 < scaling.step(events) < seconds["steps"]
    assert 300 < events[-1]["memory_mb"] < 4000


def test_phases_and_steps_of_given_times():
    times = [("machine", 103, 0), ("reading", 104, 0), ("reading", 105, 0), ("features", 107, 0),
             ("training", 108, 1), ("training", 110, 4), ("training", 112, 5), ("training", 118, 8),
             ("training", 119, 9), ("calibrating", 120, 0), ("finished", 123, 0)]
    events = [{"event": event, "time": float(moment), "step": step} for event, moment, step in times]
    assert scaling.phases(100.0, events) == pytest.approx({
        "start, imports": 3, "reading": 2, "features": 2, "targets, first step": 1, "steps": 11,
        "calibration, saving": 4})
    assert scaling.step(events) == 2
