"""Whitening and expected distances against loops and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ulsad.method import residuals

N, C, H, W = 6, 5, 7, 8


@pytest.fixture
def errors() -> torch.Tensor:
    """Residuals with correlated channels of very different size."""
    generator = torch.Generator().manual_seed(2)
    mix = torch.randn(C, C, generator=generator) * torch.tensor([3.0, 1, 1, 0.3, 0.1])
    return torch.einsum("dc,nchw->ndhw", mix, torch.randn(N, C, H, W, generator=generator))


def test_whitened_distance_is_the_mahalanobis_distance_with_shrunk_covariance(errors):
    matrix = residuals.whitening(errors)
    patches = errors.double().permute(0, 2, 3, 1).reshape(-1, C).numpy()
    covariance = sum(np.outer(r, r) for r in patches) / len(patches)
    shrunk = covariance + 0.1 * np.trace(covariance) / C * np.eye(C)
    result = residuals.whitened_distance(errors, matrix).flatten().numpy()
    expected = [r @ np.linalg.solve(shrunk, r) / C for r in patches]
    np.testing.assert_allclose(result, expected, rtol=1e-4)


def test_an_error_where_good_parts_never_err_weighs_more(errors):
    matrix = residuals.whitening(errors)
    patches = errors.permute(1, 0, 2, 3).flatten(1)
    _, directions = torch.linalg.eigh(patches @ patches.T)
    rare, usual = (residuals.whitened_distance(directions[:, i].reshape(1, C, 1, 1), matrix).item()
                   for i in (0, -1))
    assert rare > 5 * usual


def predictors(features, photo, y, x):
    """1, ‖u‖²/c and ‖u − mean of the 5 × 5 around it‖²/c, inside the grid."""
    u = features[photo, :, y, x]
    around = features[photo, :, max(y - 2, 0): y + 3, max(x - 2, 0): x + 3].reshape(C, -1).mean(axis=1)
    return np.array([1.0, (u ** 2).mean(), ((u - around) ** 2).mean()])


@pytest.mark.parametrize("whole_photo", [False, True])
def test_relative_distances_are_multiples_of_what_the_features_let_expect(whole_photo):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(2, C, H, W, generator=generator)
    distances = torch.rand(2, H, W, generator=generator)
    result = distances / residuals.expected(features, torch.tensor([0.5, 0.2, 0.9]), whole_photo)
    for photo, y, x in [(0, 0, 0), (1, 3, 4), (0, H - 1, W - 1), (1, 0, 5)]:
        numbers = features.double().numpy()
        places = [(i, j) for i in range(H) for j in range(W)] if whole_photo else [(y, x)]
        expected = np.mean([predictors(numbers, photo, *place) @ [0.5, 0.2, 0.9] for place in places])
        assert float(result[photo, y, x]) == pytest.approx(float(distances[photo, y, x]) / expected, rel=1e-5)


def test_a_map_with_the_place_of_one_and_the_peak_of_another():
    generator = torch.Generator().manual_seed(5)
    place, verdict = torch.rand(2, 3, H, W, generator=generator)
    result = residuals.with_peaks(place, verdict)
    for mine, own, other in zip(result, place, verdict, strict=True):
        assert float(mine.max()) == pytest.approx(float(other.max()))
        np.testing.assert_allclose(mine / own, float(other.max() / own.max()), rtol=1e-5)
    assert torch.isfinite(residuals.with_peaks(0 * place, verdict)).all()


@pytest.mark.parametrize("planted", [(0.4, 0.3, 1.2), (0.7, 0.0, 0.0), (0.0, 0.5, 0.0)])
def test_the_fit_finds_the_planted_coefficients_and_leaves_out_what_is_no_use(planted):
    generator = torch.Generator().manual_seed(4)
    size = torch.rand(20, 1, 16, 16, generator=generator) * 3
    features = size * torch.randn(20, C, 16, 16, generator=generator)
    numbers = features.double().numpy()
    expected = np.array([[[predictors(numbers, i, y, x) @ planted for x in range(16)] for y in range(16)]
                         for i in range(20)])
    noise = torch.rand(20, 16, 16, generator=generator).numpy() * 0.5 + 0.75
    found = residuals.expected_coefficients(torch.from_numpy(expected * noise), features, False)
    np.testing.assert_allclose(found, planted, atol=0.06)
    assert (found >= 0).all()


def test_features_and_errors_that_never_change_give_finite_numbers():
    nothing = torch.zeros(2, C, H, W)
    matrix = residuals.whitening(nothing)
    distances = residuals.whitened_distance(nothing, matrix)
    coefficients = residuals.expected_coefficients(distances, nothing, False)
    assert torch.isfinite((distances + 1) / residuals.expected(nothing, coefficients, False)).all()
    flat_only = torch.tensor([0.0, 0.0, 1.0])  # only detail is expected to err, and there is none
    assert torch.isfinite((distances + 1) / residuals.expected(nothing + 2, flat_only, True)).all()
