"""What Train says of photos in its slots, without a browser."""

from __future__ import annotations

import gradio as gr
import pytest

from ulsad import InputError
from ulsad.photos.images import find_images
from ulsad.ui import places
from ulsad.ui.slot import Slot
from ulsad.ui.train import incoming
from ulsad.ui.train.order import SETTINGS, check, check_changed, cost, start


def test_slots_that_were_filled_meanwhile_are_checked_again(good_photos, tmp_path):
    photos = Slot().add((photo, photo.name) for photo in find_images(good_photos))
    one = Slot().add([(find_images(good_photos)[0], "0.png")])
    both = (photos, Slot(), one, "", "", "", "")
    looked, key, found, *_ = list(check(tmp_path, None, "", photos, Slot(), Slot(), "", "", "", ""))[-1]
    assert "good parts" in found and "known defects" not in found
    looked, newer, found, *_ = list(check_changed(tmp_path, None, looked, key, *both))[-1]
    assert "the same picture in good parts and in known defects" in found
    waiting = tmp_path / incoming.FOLDER / places.process()
    assert [folder.name for folder in waiting.iterdir()] == [newer] != [key]
    with pytest.raises(InputError, match="Remove the copies"):
        start(tmp_path, newer, "never", "quick", *[""] * len(SETTINGS), None)
    assert list(check_changed(tmp_path, None, looked, newer, *both)) == [(gr.skip(),) * 6]


@pytest.mark.slow
def test_the_cost_is_told_or_why_there_is_none(good_photos, tmp_path):
    photos = Slot().add((photo, photo.name) for photo in find_images(good_photos))
    slots = (photos, Slot(), Slot(), "", "", "", "")
    key = list(check(tmp_path, None, "", *slots))[-1][1]

    def last(key: str, **values: str) -> str:
        return list(cost(key, "quick", *(values.get(name, "") for name in SETTINGS), None))[-1]

    assert "about 60 s" in last(key, minutes="1") and "of memory" in last(key, minutes="1")
    assert "image_size must be a multiple of 32" in last(key, image_size="300")
    assert last("nothing here") == ""
    incoming.forget(key)
