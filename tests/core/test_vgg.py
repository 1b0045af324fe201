"""VGG-19 against torchvision's, and the first-layer transformation by hand."""

from types import SimpleNamespace

import pytest
import torch
import torchvision

from twostream_utils.vgg import (
    SHIPPED,
    AveragePool,
    fold_batch_norm,
    load_weights,
    transform_first_layer,
    vgg19,
)


def test_transformation_by_hand():
    weight = torch.zeros(2, 3, 1, 1)
    weight[0, :, 0, 0] = torch.tensor([1.0, 2.0, 6.0])  # mean 3
    weight[1, :, 0, 0] = torch.tensor([-1.0, 0.0, 4.0])  # mean 1
    stacked = transform_first_layer(weight, 4)
    assert stacked.shape == (2, 4, 1, 1)
    assert stacked.flatten().tolist() == [3, 3, 3, 3, 1, 1, 1, 1]
    rescaled = transform_first_layer(weight, 4, "mean_rescaled")
    assert rescaled.flatten().tolist() == pytest.approx([2.25] * 4 + [0.75] * 4)
    torch.testing.assert_close(rescaled.sum(dim=1), weight.sum(dim=1))  # a still's response
    inflated = transform_first_layer(weight, 6, "inflate")  # two frames, r g b r g b
    assert inflated[0].flatten().tolist() == [0.5, 1, 3, 0.5, 1, 3]
    for wrong, channels, how, named in (
        (weight[0], 10, "mean", r"\(O, 3, kH, kW\)"),
        (weight, 100, "inflate", "100 is no multiple of 3"),
        (weight, 30, "rescale", "'mean', 'mean_rescaled' or 'inflate'"),
    ):
        with pytest.raises(ValueError, match=named):
            transform_first_layer(wrong, channels, how)


@pytest.mark.parametrize("name", [*SHIPPED, None])
def test_weights_start_the_same_function_with_and_without_batch_norm(name):
    """Of images, in eval mode; shipped weights have no classifier, one's own do."""
    torch.manual_seed(0)
    sizes = (3, 5, 0.25) if name else (6, 7, 1 / 16)
    x, normed = torch.randn(2, sizes[0], 32, 32), vgg19(*sizes, True, name)
    with torch.inference_mode():
        if name is None:
            normed(3 * torch.randn(8, 6, 64, 64) + 1)  # moves the running statistics
        plain = vgg19(*sizes, False, name or fold_batch_norm(normed.eval().state_dict())).eval()
        for part in ("maps",) if name else ("maps", "forward"):
            found, expected = (getattr(net, part)(x) for net in (plain, normed.eval()))
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3 if name else 1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_same_network_as_torchvision(batch_norm):
    build = torchvision.models.vgg19_bn if batch_norm else torchvision.models.vgg19
    with torch.device("meta"):  # 140 million numbers less
        theirs, ours = build(num_classes=7), vgg19(3, 7, batch_norm=batch_norm)
    for part in "features", "classifier":
        assert str(getattr(ours, part)) == str(getattr(theirs, part))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    narrow, x = vgg19(3, 7, 1 / 16, batch_norm).eval(), torch.randn(2, 3, 64, 64)
    theirs.features, theirs.classifier = narrow.features, narrow.classifier  # in their order
    with torch.inference_mode():
        for found in narrow(x), narrow.classify(narrow.maps(x)):
            torch.testing.assert_close(found, theirs.eval()(x), atol=1e-5, rtol=1e-5)


def test_imagenet_shaped_weights_fit_every_stream():
    state = vgg19(3, 1000, 1 / 16).state_dict()
    for channels in 30, 100:
        model = vgg19(channels, 101, 1 / 16, weights=state)
        first = model.features[0]
        assert first.weight.shape == (4, channels, 3, 3)
        assert torch.equal(first.bias, state["features.0.bias"])
        torch.testing.assert_close(first.weight[:, -1], state["features.0.weight"].mean(1))
        assert len({tuple(f.flatten().tolist()) for f in first.weight}) == 4  # they stay different
        assert torch.equal(model.classifier[0].weight, state["classifier.0.weight"])
        assert model.classifier[6].out_features == 101


def test_weights_that_do_not_fit_are_named():
    state = vgg19(3, 10, width=1 / 16).state_dict()
    with pytest.raises(RuntimeError, match=r"features.0.weight: .*\[4, 3, 3, 3\].*\[8, 3"):
        vgg19(3, 10, width=1 / 8, weights=state)
    with pytest.raises(RuntimeError, match="conv1.weight"):
        vgg19(width=1 / 16, weights={"conv1.weight": torch.zeros(64, 3, 7, 7)})  # of a ResNet
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        vgg19(width=1 / 16, weights="nowhere.pth")


def test_imagenet_weights_that_cannot_be_fetched_say_the_way_out(monkeypatch, tmp_path):
    """Offline is an OSError of the same kind as a cache that cannot be written."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file" / "cache"))
    place = r"checkpoints/vgg19_bn-\w+\.pth"
    with pytest.raises(
        RuntimeError, match=rf"Not a directory.* Download https://.*{place}.*'mini'"
    ):
        load_weights("imagenet", batch_norm=True)


def test_pools_on_the_cpu_what_mps_cannot():
    for kind, side, where in (
        ("mps", 2, "cpu"), ("mps", 7, "mps"), ("mps", 14, "mps"), ("mps", 1, "mps"),
        ("cuda", 2, "cuda"), ("cpu", 2, "cpu"),
    ):  # fmt: skip
        x = SimpleNamespace(device=torch.device(kind), shape=(1, 8, side, side))
        assert AveragePool(7).place(x).type == where, (kind, side)
