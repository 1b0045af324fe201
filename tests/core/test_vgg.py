"""VGG-19 and the first-layer transformation."""

import urllib.error
from types import SimpleNamespace

import pytest
import torch
import torchvision

from twostream_utils import device, vgg
from twostream_utils.vgg import load_weights, transform_first_layer, vgg19


def test_transformation_by_hand():
    weight = torch.zeros(2, 3, 1, 1)
    weight[0, :, 0, 0] = torch.tensor([1.0, 2.0, 6.0])  # mean 3
    weight[1, :, 0, 0] = torch.tensor([-1.0, 0.0, 4.0])  # mean 1
    stacked = transform_first_layer(weight, 4)
    assert stacked.shape == (2, 4, 1, 1)
    assert stacked.flatten().tolist() == [3, 3, 3, 3, 1, 1, 1, 1]
    rescaled = transform_first_layer(weight, 4, rescale=True)
    assert rescaled.flatten().tolist() == pytest.approx([2.25] * 4 + [0.75] * 4)


def test_rescaled_response_to_a_grey_still_is_unchanged():
    weight = torch.randn(8, 3, 3, 3)
    still = torch.randn(1, 1, 9, 9)
    rgb = torch.nn.functional.conv2d(still.repeat(1, 3, 1, 1), weight)
    stack = torch.nn.functional.conv2d(
        still.repeat(1, 100, 1, 1), transform_first_layer(weight, 100, rescale=True)
    )
    torch.testing.assert_close(stack, rgb, atol=1e-4, rtol=1e-4)


def test_filters_stay_different():
    weight = torchvision.models.vgg19().features[0].weight.detach()
    stacked = transform_first_layer(weight, 30)
    assert len({tuple(f.flatten().tolist()) for f in stacked}) == 64


@pytest.mark.parametrize("shape", [(3, 3), (8, 3, 3)])
def test_transformation_names_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"\(O, 3, kH, kW\)"):
        transform_first_layer(torch.zeros(shape), 10)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_same_network_as_torchvision(batch_norm):
    build = torchvision.models.vgg19_bn if batch_norm else torchvision.models.vgg19
    theirs = build(num_classes=7).eval()
    ours = vgg19(3, 7, batch_norm=batch_norm, weights=theirs.state_dict()).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.classify(ours.maps(x)), theirs(x), atol=1e-5, rtol=1e-5)


def test_imagenet_shaped_weights_fit_every_stream():
    state = torchvision.models.vgg19(num_classes=1000).state_dict()
    for channels in (30, 100):
        model = vgg19(channels, 101, weights=state)
        first = model.features[0]
        assert first.weight.shape == (64, channels, 3, 3)
        assert torch.equal(first.bias, state["features.0.bias"])
        expected = state["features.0.weight"].mean(1)
        torch.testing.assert_close(first.weight[:, -1], expected)
        assert torch.equal(model.classifier[0].weight, state["classifier.0.weight"])
        assert model.classifier[6].out_features == 101


def test_quarter_width():
    model = vgg19(30, 10, width=0.25, batch_norm=True)
    assert model.map_channels == 128
    assert model.maps(torch.zeros(2, 30, 64, 64)).shape == (2, 128, 4, 4)
    assert model(torch.zeros(2, 30, 64, 80)).shape == (2, 10)


def test_weights_that_do_not_fit_are_named():
    state = vgg19(3, 10, width=0.25).state_dict()
    with pytest.raises(ValueError, match=r"features.0.weight is \(16, 3, 3, 3\).*width 0.5"):
        vgg19(3, 10, width=0.5, weights=state)
    with pytest.raises(ValueError, match="no features.0.weight among them, they begin with conv1"):
        vgg19(weights=torchvision.models.resnet18().state_dict())
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        vgg19(weights="nowhere.pth")


def test_imagenet_weights_offline_say_the_way_out(monkeypatch, tmp_path):
    asked = []

    def offline(url, *arguments, **options):
        asked.append(options)
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no route.* Download https://\S+vgg19_bn-\S+ .*'mini'"):
        load_weights("imagenet", batch_norm=True)
    assert asked[0]["weights_only"] and asked[0]["check_hash"]


def test_pools_on_the_cpu_what_mps_cannot(monkeypatch):
    for kind, side, where in (
        ("mps", 2, "cpu"), ("mps", 7, "mps"), ("mps", 14, "mps"), ("mps", 1, "mps"),
        ("cuda", 2, "cuda"), ("cpu", 2, "cpu"),
    ):  # fmt: skip
        x = SimpleNamespace(device=torch.device(kind), shape=(1, 8, side, side))
        assert device.pooling_device(x, 7).type == where, (kind, side)
    asked = []
    monkeypatch.setattr(
        vgg, "pooling_device", lambda x, size: asked.append(size) or torch.device("cpu")
    )
    model, x = vgg19(3, 5, 1 / 16), torch.randn(2, 3, 64, 64)
    plain = torch.nn.AdaptiveAvgPool2d((7, 7))
    assert torch.equal(model.avgpool(model.features(x)), plain(model.features(x)))
    assert asked == [7] and not model.avgpool.state_dict()


@pytest.mark.parametrize(("crop", "size"), [(64, (96, 128)), (224, (224, 256))])
def test_larger_input_is_scored_at_every_place(crop, size):
    torch.manual_seed(0)
    model = vgg19(30, 5, width=1 / 16).eval()
    model.window = window = crop // 32
    x = torch.randn(2, 30, *size)
    pooled = model.features(x)
    rows, columns = (n - window + 1 for n in pooled.shape[2:])
    places = [
        model.classifier(model.avgpool(pooled[:, :, i : i + window, j : j + window]).flatten(1))
        for i in range(rows)
        for j in range(columns)
    ]
    assert len(places) > 1
    torch.testing.assert_close(model(x), torch.stack(places).mean(0), atol=1e-5, rtol=1e-5)


def test_window_changes_nothing_for_one_crop():
    torch.manual_seed(0)
    model = vgg19(30, 5, width=1 / 16).eval()
    x = torch.randn(2, 30, 64, 64)
    expected = model(x)
    model.window = 2
    torch.testing.assert_close(model(x), expected)
