"""Every equation against a literal transcription: loops over float64 numbers, nothing shared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ulsad.method import equations as maps

C, H, W = 5, 3, 4
P = H * W


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return tuple(torch.randn(2, C, H, W, generator=generator, dtype=torch.float64) for _ in range(2))


def vector(features, photo, k):
    """z_ik with k = row · w + column."""
    return [float(features[photo, c, k // W, k % W]) for c in range(C)]


def l_v(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b)) / len(a)


def l_d(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return 1 - dot / (math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)))


def mean_distance(a, b, weight):
    per_photo = [sum(l_v(vector(a, i, k), vector(b, i, k)) + weight * l_d(vector(a, i, k), vector(b, i, k))
                     for k in range(P)) / P for i in range(len(a))]
    return sum(per_photo) / len(per_photo)


def w_entry(keys, queries, photo, p, q):
    """Eq. 3 with queries = keys, Eq. 4 otherwise."""
    def product(r):
        return math.exp(sum(x * y for x, y in zip(vector(keys, photo, r), vector(queries, photo, q)))
                        / math.sqrt(C))
    return product(p) / sum(product(r) for r in range(P))


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("loss", [maps.local_loss, maps.attention_loss, maps.local_global_loss])
def test_losses_of_eq_1_5_and_6(pair, weight, loss):
    assert float(loss(*pair, weight)) == pytest.approx(mean_distance(*pair, weight), rel=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_maps_of_eq_7_and_8(pair, weight):
    expected = [[l_v(vector(pair[0], i, k), vector(pair[1], i, k))
                 + weight * l_d(vector(pair[0], i, k), vector(pair[1], i, k)) for k in range(P)]
                for i in range(2)]
    result = maps.distance(*pair, weight).reshape(2, P).numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def literal_distance(a: torch.Tensor, b: torch.Tensor, weight: float) -> torch.Tensor:
    return ((a - b) ** 2).mean(dim=1) + weight * (
        1 - (a * b).sum(dim=1) / ((a ** 2).sum(dim=1) * (b ** 2).sum(dim=1)).sqrt())


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("fixed", [None, 0, 1])
def test_the_gradient_of_the_distance_is_that_of_the_equation(pair, weight, fixed):
    """As autograd finds it from the equation; one of the two may be fixed, as targets are."""
    found, expected = (tuple(x.clone().requires_grad_(i != fixed) for i, x in enumerate(pair))
                       for _ in range(2))
    towards = torch.randn(2, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (maps.distance(*found, weight) * towards).sum().backward()
    (literal_distance(*expected, weight) * towards).sum().backward()
    for one, other in zip(found, expected, strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-14)


def test_vectors_without_length_have_a_distance_and_a_gradient(pair):
    a, b = (x.clone() for x in pair)
    a[0, :, 0, 0] = a[1, :, 1, 1] = b[1, :, 1, 1] = 0
    a.requires_grad_(), b.requires_grad_()
    distance = maps.distance(a, b, 0.5)
    assert distance[0, 0, 0].item() == pytest.approx(b[0, :, 0, 0].square().mean().item() + 0.5)
    assert distance[1, 1, 1].item() == 0.5
    distance.sum().backward()
    assert a.grad.isfinite().all() and b.grad.isfinite().all()
    assert torch.equal(a.grad[1, :, 1, 1], torch.zeros(C, dtype=torch.float64))


@pytest.mark.parametrize("cross", [False, True])
def test_attention_weights_of_eq_3_and_4(pair, cross):
    keys, queries = pair[0], pair[1] if cross else pair[0]
    weights = maps.attention_weights(keys.flatten(2), queries.flatten(2))
    expected = [[[w_entry(keys, queries, i, p, q) for q in range(P)] for p in range(P)] for i in range(2)]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(dim=1).numpy(), np.ones((2, P)), rtol=1e-12)


@pytest.mark.parametrize("cross", [False, True])
def test_attention_maps_a_equals_z_w(pair, cross):
    keys, queries = pair[0], pair[1] if cross else pair[0]
    result = maps.attention(keys.flatten(2), queries.flatten(2))
    for photo in range(2):
        for q in range(P):
            column = [w_entry(keys, queries, photo, p, q) for p in range(P)]
            for c in range(C):
                expected = sum(vector(keys, photo, p)[c] * column[p] for p in range(P))
                assert float(result[photo, c, q]) == pytest.approx(expected, rel=1e-11, abs=1e-13)


def test_attention_is_torch_scaled_dot_product_attention(pair):
    keys, queries = (features.flatten(2) for features in pair)
    rows = torch.nn.functional.scaled_dot_product_attention(queries.mT, keys.mT, keys.mT)
    torch.testing.assert_close(maps.attention(keys, queries), rows.mT)


def bilinear(values, size, position):
    """align_corners=False: output pixel centres on the input's axis, clamped at the borders."""
    x = min(max((position + 0.5) * len(values) / size - 0.5, 0), len(values) - 1)
    low = min(int(x), len(values) - 2)
    return values[low] * (1 - (x - low)) + values[low + 1] * (x - low)


def blurred(values, sigma):
    radius = math.ceil(4 * sigma)
    kernel = [math.exp(-o * o / (2 * sigma * sigma)) for o in range(-radius, radius + 1)]
    last = len(values) - 1
    mirror = lambda i: -i if i < 0 else 2 * last - i if i > last else i  # noqa: E731
    return [sum(k * values[mirror(i + o)] for k, o in zip(kernel, range(-radius, radius + 1))) / sum(kernel)
            for i in range(len(values))]


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_resampling_upsamples_then_blurs_both_axes(sigma):
    grid, size = 4, 16
    square = torch.rand(grid, grid, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = [[bilinear(row.tolist(), size, x) for x in range(size)] for row in square]
    full = [[bilinear([rows[r][x] for r in range(grid)], size, y) for x in range(size)] for y in range(size)]
    if sigma:
        full = [blurred(row, sigma) for row in full]
        full = np.array([blurred(list(column), sigma) for column in np.array(full).T]).T
    matrix = maps.resampling_matrix(grid, size, sigma).double()
    np.testing.assert_allclose(maps.resample(square[None], matrix)[0].numpy(), full, rtol=1e-5)


def test_reference_blur_is_the_33_px_kernel():
    from torchvision.transforms.v2.functional import gaussian_blur

    square = torch.rand(1, 32, 32)
    upsampled = torch.nn.functional.interpolate(square[None], size=256, mode="bilinear")
    expected = gaussian_blur(upsampled, [33, 33], [4.0, 4.0])[0]
    torch.testing.assert_close(maps.resample(square, maps.resampling_matrix(32, 256, 4.0)), expected,
                               rtol=1e-4, atol=1e-5)
