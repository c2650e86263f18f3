"""Feature extraction, and where the weights come from: a package, a file, a cache, a server, or nowhere."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading

import pytest
import torch
import torch.nn.functional as F
from conftest import shared
from timm import create_model

from ulsad.errors import InputError
from ulsad.method import backbones
from ulsad.method.backbones import load_backbone, pool_channels, pretrained_stages
from ulsad.method.config import Config
from ulsad.method.efficientnet import efficientnet_stages

RESNET18 = "weights/resnet18_imagenet_bnfolded_conv1_to_layer3.pth"


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    """A hub cache of this test's own, with nothing in it."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def embedded():
    return load_backbone(Config())


def test_embedded_weights_match_the_architecture_tensor_by_tensor(embedded):
    """They are matched by order, so kind and shape of every single one must agree."""
    assert (embedded.channels, embedded.grid) == (152, 32)
    given = list(backbones._read_tensors(backbones._embedded_file()).items())
    wanted = torch.nn.ModuleDict(efficientnet_stages()).state_dict()

    def described(state):
        return [(name.rsplit(".", 1)[1], tuple(value.shape)) for name, value in state]

    *classifier, head = given[len(wanted):], given[: len(wanted)]
    assert described(head) == described(wanted.items())
    assert [value.shape[0] for _, value in classifier[0] if value.dim()] == [1280] * 5 + [1000] * 2


@pytest.mark.parametrize("side", (64, 256))
def test_the_architecture_is_efficientnet_lite0(side):
    """timm has the same names, and so the same hash in a model file, and the same result at every stage."""
    timm = create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = {name.replace("blocks.", "block"): value for name, value in timm.state_dict().items()}
    stages = torch.nn.ModuleDict(efficientnet_stages()).eval()
    wanted = {name: value for name, value in state.items() if name.startswith(("conv_stem", "bn1", "block"))}
    assert list(wanted) == list(stages.state_dict())
    stages.load_state_dict(wanted)
    theirs = {"conv_stem": timm.conv_stem, "bn1": timm.bn1,
              **{f"block{i}": block for i, block in enumerate(timm.blocks)}}
    mine = other = torch.randn(2, 3, side, side)
    with torch.no_grad():
        for name, stage in stages.items():
            mine, other = stage(mine), theirs[name](other)
            torch.testing.assert_close(mine, other)


def test_features_are_two_layers_concatenated_on_the_finer_grid(embedded):
    """Of the network as published: that its BatchNorms were folded away changes nothing."""
    images = torch.randn(3, 3, 256, 256)
    x, outputs = images, {}
    published = pretrained_stages(Config()).eval()
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in published.modules()) == 33
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in embedded.modules())
    for name, stage in published.items():
        x = outputs[name] = stage(x)
    coarse = F.interpolate(outputs["block4"], size=(32, 32), mode="bilinear", align_corners=False)
    expected = torch.cat([outputs["block2"], coarse], dim=1)
    torch.testing.assert_close(embedded(images), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 1


def test_channel_pooling_is_adaptive_averaging_over_channels():
    features = torch.randn(2, 10, 3, 3)
    pooled = pool_channels(features, 4)
    for c in range(4):  # adaptive windows: floor(c·10/4) up to ceil((c+1)·10/4)
        window = features[:, c * 10 // 4 : -(-(c + 1) * 10 // 4)]
        torch.testing.assert_close(pooled[:, c], window.mean(dim=1))
    assert pool_channels(features, 10) is features


def test_extractor_is_frozen(embedded):
    assert not any(module.training for module in embedded.modules())
    assert not any(parameter.requires_grad for parameter in embedded.parameters())


def test_weights_from_a_file_need_no_later_layers():
    extractor = load_backbone(Config(backbone="resnet18"), shared(RESNET18))
    assert (extractor.channels, extractor.grid) == (384, 32)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in extractor.modules())
    assert len(extractor.weights_hash) == 64


@pytest.mark.slow
def test_wide_resnet_is_pooled_to_384_channels(empty_hub):
    empty_hub.mkdir(parents=True)
    save_random("wide_resnet50_2", empty_hub / "wide_resnet50_2-95faca4d.pth")
    assert load_backbone(Config(backbone="wide_resnet50_2")).channels == 384


def save_random(name, file):
    from torchvision.models import get_model

    torch.save(get_model(name, weights=None).state_dict(), file)
    return file


def test_no_network_and_no_file_says_what_to_fetch_and_where_to_put_it(empty_hub, monkeypatch):
    monkeypatch.setattr(backbones, "_weights_url", lambda config: "http://127.0.0.1:9/resnet18-f37072fd.pth")
    with pytest.raises(InputError) as error:
        load_backbone(Config(backbone="resnet18"))
    for word in ("resnet18-f37072fd.pth", "f37072fd", str(empty_hub), "--weights", "efficientnet_lite0"):
        assert word in str(error.value)


@pytest.fixture
def server(tmp_path):
    """A real web server with one weights file, named by its checksum as torchvision's are."""
    file = save_random("resnet18", tmp_path / "weights.pth")
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    file.rename(tmp_path / f"resnet18-{checksum}.pth")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/resnet18-{checksum}.pth"
        httpd.shutdown()


def test_download_is_checked_cached_and_used(empty_hub, server, monkeypatch):
    monkeypatch.setattr(backbones, "_weights_url", lambda config: server)
    first = load_backbone(Config(backbone="resnet18"))
    assert [file.name for file in empty_hub.iterdir()] == [server.rsplit("/", 1)[1]]
    monkeypatch.setattr(backbones, "download", None)  # the second time must not ask the network
    assert load_backbone(Config(backbone="resnet18")).weights_hash == first.weights_hash


def test_download_with_a_wrong_checksum_leaves_nothing(empty_hub, server, tmp_path):
    (tmp_path / "resnet18-00000000.pth").write_bytes(b"not these")
    with pytest.raises(RuntimeError, match="hash"):
        backbones.download(server.rsplit("/", 1)[0] + "/resnet18-00000000.pth", empty_hub / "x.pth")
    assert not list(empty_hub.iterdir())


def test_weights_of_another_architecture_are_refused(tmp_path):
    with pytest.raises(InputError, match="do not belong to resnet50"):
        load_backbone(Config(backbone="resnet50"), save_random("resnet18", tmp_path / "other.pth"))


def test_a_weights_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no weights file .*missing\.pth"):
        load_backbone(Config(backbone="resnet18"), tmp_path / "missing.pth")


def test_a_file_that_holds_no_weights(tmp_path):
    (tmp_path / "notes.pth").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.pth"):
        load_backbone(Config(backbone="resnet18"), tmp_path / "notes.pth")


@pytest.mark.parametrize("config", [
    Config(backbone="vgg"), Config(layers=("block4", "block2")), Config(layers=("a", "b")),
    Config(backbone="resnet18", weights_enum="IMAGENET1K_V9")])
def test_unknown_names_are_listed(config):
    with pytest.raises(InputError):
        load_backbone(config)


def test_a_grid_that_can_not_be_halved_twice():
    config = Config(image_size=288, layers=("block3", "block4"))
    with pytest.raises(InputError, match="18 × 18"):
        load_backbone(config)
