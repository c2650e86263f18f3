"""The short way to convolve gives what the long one gives, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ulsad.compute import fast_convolution
from ulsad.compute.fast_convolution import bilinear, convolved


@pytest.mark.parametrize(("shape", "kernel"), [
    ((2, 3, 16, 16), 5), ((1, 2, 8, 24), 5), ((2, 3, 20, 12), 5), ((1, 3, 12, 4), 3), ((2, 2, 9, 17), 7)])
@pytest.mark.parametrize("at_once", [64, 3])
def test_values_and_gradients_are_those_of_torchs_convolution(shape, kernel, at_once, monkeypatch):
    monkeypatch.setattr(fast_convolution, "AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(kernel)
    values = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape[1], 4, kernel, kernel, generator=generator, dtype=torch.float64,
                         requires_grad=True)
    expected = F.conv_transpose2d(values, weight, padding=kernel // 2)
    ahead = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    found = convolved(values, weight)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    for gradient, other in zip(torch.autograd.grad(found, (values, weight), ahead),
                               torch.autograd.grad(expected, (values, weight), ahead), strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-11, atol=1e-11)


def test_float32_is_no_less_exact_than_the_long_way():
    torch.manual_seed(0)
    values, weight = torch.randn(2, 96, 32, 32), torch.randn(96, 64, 5, 5)
    exact = F.conv_transpose2d(values.double(), weight.double(), padding=2)
    error = (convolved(values, weight) - exact).abs().max()
    assert error < 2 * (F.conv_transpose2d(values, weight, padding=2) - exact).abs().max()


def test_as_few_products_as_claimed():
    """t² real numbers of a tile: 4 frequencies that stand alone, 3 products for each pair of the others."""
    assert len(bilinear(8, 5).kernel) == 4 + 3 * (144 - 4) // 2 == 214
    assert len(bilinear(4, 2).kernel) == 1 + 3 * (25 - 1) // 2  # an odd tile: only frequency 0 is alone
