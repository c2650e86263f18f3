"""The layers are torch's layers, to the last gradient; quicker ways are taken in training on a CPU alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ulsad.compute import convolutions
from ulsad.compute.convolutions import Conv2d, ConvTranspose2d, patches

TWINS = {Conv2d: nn.Conv2d, ConvTranspose2d: nn.ConvTranspose2d}


def with_twin(kind: type[nn.Module], *arguments, **options) -> tuple[nn.Module, nn.Module]:
    layer, twin = kind(*arguments, **options).double(), TWINS[kind](*arguments, **options).double()
    twin.load_state_dict(layer.state_dict())
    return layer, twin


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Which of the quicker ways were taken; few channels are many here."""
    taken = []

    def noted(name: str, function):
        return lambda *arguments: taken.append(name) or function(*arguments)

    monkeypatch.setattr(convolutions, "MANY", 3)
    monkeypatch.setattr(convolutions, "convolved", noted("theorem", convolutions.convolved))
    monkeypatch.setattr(convolutions, "patches", noted("product", patches))
    return taken


@pytest.mark.parametrize(("kind", "kernel", "stride", "padding", "way"), [
    (Conv2d, 3, 1, 1, "product"), (Conv2d, 3, 2, 1, "product"), (Conv2d, 4, 3, 1, "product"),
    (ConvTranspose2d, 4, 2, 1, "product"), (ConvTranspose2d, 3, 1, 1, "product"),
    (ConvTranspose2d, 5, 1, 2, "theorem")])
@pytest.mark.parametrize("size", [(8, 8), (9, 14)])
def test_values_and_gradients_are_torchs(kind, kernel, stride, padding, way, size, calls):
    torch.manual_seed(0)
    layer, twin = with_twin(kind, 3, 4, kernel, stride=stride, padding=padding, bias=False)
    values = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    found, expected = layer(values), twin(values)
    ahead = torch.randn_like(expected)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    for one, other in zip(torch.autograd.grad(found, (values, layer.weight), ahead),
                          torch.autograd.grad(expected, (values, twin.weight), ahead), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    assert calls == [way]


def test_photos_need_no_gradient(calls):
    layer, twin = with_twin(Conv2d, 3, 4, 3, padding=1, bias=False)
    values = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    layer(values).sum().backward()
    twin(values).sum().backward()
    torch.testing.assert_close(layer.weight.grad, twin.weight.grad)
    assert calls == ["product"]


@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
@pytest.mark.parametrize("kernel", [3, 5])
def test_torchs_way_where_it_is_the_better(kind, kernel, calls):
    """Without training, in bfloat16, and with few channels: there by the very same operation."""
    has_bias = kind is ConvTranspose2d
    layer, twin = with_twin(kind, 3, 4, kernel, padding=kernel // 2, bias=has_bias)
    values = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(values), twin(values))
    layer.eval()
    assert torch.equal(layer(values), twin(values))
    few, twin = with_twin(kind, 2, 4, 3, padding=1, bias=has_bias)
    assert torch.equal(few(values[:, :2]), twin(values[:, :2]))
    assert not calls


def test_a_bias_is_added(calls):
    layer, twin = with_twin(ConvTranspose2d, 3, 4, 5, padding=2)
    values = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(values), twin(values))
    assert calls == ["theorem"]
