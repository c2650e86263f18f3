"""One fixed colour scale: what is not strange leaves the photo alone, equal scores have equal colours."""

from __future__ import annotations

import matplotlib
import numpy as np
from PIL import Image

from ulsad.detector.rendering import colours, overlay

GREY = Image.new("RGB", (8, 8), (100, 110, 120))


def test_scores_up_to_zero_leave_the_photo_alone_at_any_opacity():
    for opacity in (0.0, 0.6, 1.0):
        np.testing.assert_array_equal(overlay(GREY, np.full((8, 8), -0.3), opacity), GREY)


def test_from_a_tenth_of_the_scale_on_full_opacity_shows_the_palette_itself():
    for score in (0.1, 0.5, 1.0, 7.0):
        expected = np.multiply(matplotlib.colormaps["plasma"](min(score, 1.0))[:3], 255)
        result = np.asarray(overlay(GREY, np.full((8, 8), score), 1.0), float)
        np.testing.assert_allclose(result[4, 4], expected, atol=3)


def test_opacity_mixes_the_colours_with_the_photo():
    mixed = np.asarray(overlay(GREY, np.full((8, 8), 0.5), 0.6), float)[4, 4]
    expected = 0.4 * np.array([100, 110, 120]) + 0.6 * colours(np.array(0.5))
    np.testing.assert_allclose(mixed, expected, atol=2)


def test_the_brightest_pixel_of_a_photo_does_not_change_the_others():
    calm, alarming = np.full((8, 8), 0.2), np.full((8, 8), 0.2)
    alarming[0, 0] = 9.0
    np.testing.assert_array_equal(colours(calm)[4:], colours(alarming)[4:])
