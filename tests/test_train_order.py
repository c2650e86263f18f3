"""What Train says of photos in its slots, without a browser."""

from __future__ import annotations

import gradio as gr

from ulsad.images import find_images
from ulsad.ui import incoming
from ulsad.ui.train_order import SETTINGS, check, check_again, cost


def test_slots_that_were_filled_meanwhile_are_checked_again(good_photos, tmp_path):
    photos = [str(photo) for photo in find_images(good_photos)]
    both = (photos, None, photos[:1], "", "", "")
    looked, key, found, *_ = list(check(tmp_path, None, "", photos, None, None, "", "", ""))[-1]
    assert "good parts" in found and "known defects" not in found
    looked, newer, found, *_ = list(check_again(tmp_path, None, looked, key, *both))[-1]
    assert "among the known defects" in found and newer == ""  # there is nothing to train on
    assert not list((tmp_path / incoming.FOLDER).iterdir())
    assert list(check_again(tmp_path, None, looked, newer, *both)) == [(gr.skip(),) * 6]


def test_the_cost_is_told_or_why_there_is_none(good_photos, tmp_path):
    slots = ([str(photo) for photo in find_images(good_photos)], None, None, "", "", "")
    key = list(check(tmp_path, None, "", *slots))[-1][1]

    def last(key: str, **values: str) -> str:
        return list(cost(key, "quick", *(values.get(name, "") for name in SETTINGS), None))[-1]

    assert "about 60 s" in last(key, minutes="1") and "of memory" in last(key, minutes="1")
    assert "image_size must be a multiple of 32" in last(key, image_size="300")
    assert last("nothing here") == ""
    incoming.forget(key)
