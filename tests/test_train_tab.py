"""What Train says of photos in its slots, without a browser."""

from __future__ import annotations

import gradio as gr

from ulsad.images import find_images
from ulsad.ui import incoming
from ulsad.ui.train_tab import _check, _check_again


def test_slots_that_were_filled_meanwhile_are_checked_again(good_photos, tmp_path):
    photos = [str(photo) for photo in find_images(good_photos)]
    both = (photos, None, photos[:1], "", "", "")
    looked, key, found, *_ = list(_check(tmp_path, None, "", photos, None, None, "", "", ""))[-1]
    assert "good parts" in found and "known defects" not in found
    looked, newer, found, *_ = list(_check_again(tmp_path, None, looked, key, *both))[-1]
    assert "among the known defects" in found and newer == ""  # there is nothing to train on
    assert not list((tmp_path / incoming.FOLDER).iterdir())
    assert list(_check_again(tmp_path, None, looked, newer, *both)) == [(gr.skip(),) * 6]
