"""Tables 4 and 5: layers, sizes, and the ablation switches of Table 3."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ulsad.method.config import PRESETS, Config
from ulsad.method.networks import GlobalAutoencoder, Networks, feature_reconstruction_network


def convolutions(network: nn.Module) -> list[tuple]:
    return [(layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
            for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]


def test_paper_feature_reconstruction_network_is_table_4_with_twice_the_outputs():
    config = PRESETS["paper"]
    network = feature_reconstruction_network(384, config.frn_width, config.frn_kernel, 2, config.frn_output,
                                             config.frn_order)
    assert convolutions(network) == [
        (384, 768, 3, 2), (768, 1536, 3, 2), (1536, 1536, 3, 1),
        (1536, 768, 4, 2), (768, 384, 4, 2), (384, 768, 5, 1)]


def test_paper_autoencoder_is_table_5():
    network = GlobalAutoencoder(256, 32, 384, 64, lean=False, fine_decoder=True)
    assert convolutions(network.encoder) == [(3, 32, 4, 2), (32, 32, 4, 2), (32, 64, 4, 2), (64, 64, 4, 2),
                                             (64, 64, 4, 2), (64, 64, 8, 1)]
    assert convolutions(network.decoder) == [(64, 64, 4, 1)] * 5 + [(64, 64, 3, 1), (64, 384, 3, 1)]
    sizes = [layer.size[0] for layer in network.decoder if isinstance(layer, nn.Upsample)]
    assert sizes == [3, 8, 15, 31, 63, 32]


def test_a_lean_autoencoder_differs_in_its_first_and_last_layer_alone():
    lean, whole = (convolutions(GlobalAutoencoder(256, 32, 384, 64, lean, fine_decoder=False))
                   for lean in (True, False))
    assert lean[0] == (3, 16, 4, 2) and lean[1] == (16, 32, 4, 2) and lean[-1] == (64, 384, 1, 1)
    assert lean[2:-1] == whole[2:-1]


@pytest.mark.parametrize("image_size", [256, 288, 384, 512])
def test_every_size_follows_from_the_configuration(image_size):
    config = Config(image_size=image_size, frn_width=16, autoencoder_width=8)
    grid = image_size // 8
    images, features = torch.randn(2, 3, image_size, image_size), torch.randn(2, 10, grid, grid)
    outputs = Networks(config, 10, grid)(images, features)
    assert all(output.shape == (2, 10, grid, grid) for output in outputs)


def test_ablation_switches_of_table_3():
    images, features = torch.randn(2, 3, 256, 256), torch.randn(2, 6, 32, 32)
    small = {"frn_width": 16, "autoencoder_width": 8}
    alone = Networks(Config(global_target="none", **small), 6, 32)(images, features)
    assert alone.second is None and alone.global_features is None
    unrelated = Networks(Config(local_global_loss=False, **small), 6, 32)(images, features)
    assert unrelated.second is None and unrelated.global_features is not None


def test_relu_output_cannot_be_negative_and_linear_output_is():
    features = torch.randn(4, 6, 32, 32)
    relu, linear = (feature_reconstruction_network(6, 16, 5, 1, kind, "batchnorm_first")(features)
                    for kind in ("relu", "linear"))
    assert relu.min() >= 0 > linear.min()


@pytest.mark.parametrize("order, expected", [
    ("batchnorm_first", ["BatchNorm2d", "ReLU"]), ("relu_first", ["ReLU", "BatchNorm2d"])])
def test_order_of_batchnorm_and_relu(order, expected):
    kinds = [type(layer).__name__ for layer in feature_reconstruction_network(6, 16, 5, 1, "relu", order)]
    assert kinds[1:3] == kinds[4:6] == kinds[-2:] == expected
