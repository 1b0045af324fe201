"""Conv fusion, plain and in every way of the paper: shapes, first values, parameters."""

import pytest
import torch
from torch import nn

from twostream_utils.conv_fusion import ConvFusion, fusion_layer
from twostream_utils.experiments.fusions import (
    KINDS,
    Bilinear,
    MapFusion,
    fusion_layer_3d,
    split_chunks,
)
from twostream_utils.vgg import vgg19

M, CLASSES = 32, 5  # a sixteenth of VGG-19's width


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=atol)


def stream(channels, seed=0, **options):
    torch.manual_seed(seed)
    options = {"width": 1 / 16, "batch_norm": True} | options
    return vgg19(channels, CLASSES, **options).eval()


@pytest.fixture(scope="module")
def streams():
    return stream(30, 0), stream(100, 1)


@pytest.fixture(scope="module")
def snippet_streams():
    return stream(3, 0), stream(20, 1)


@pytest.fixture(scope="module")
def stacks():
    torch.manual_seed(2)
    return torch.randn(2, 30, 64, 64), torch.randn(2, 100, 64, 64)


TIMES = [{"chunks": 5, "time": t} for t in ("2d", "3dpool", "3d")]
CHOICES = [
    *({"kind": kind} for kind in KINDS),
    *({"layer": layer} for layer in ("relu2", "relu3", "relu4", "relu5+fc8")),
    *({"kind": k, "layer": "relu3"} for k in ("sum", "max", "concat")),
    {"towers": 2}, {"towers": 2, "layer": "relu4", "kind": "concat"},
    *TIMES, {"time": "3d", "chunks": 5, "towers": 2},
    *({"chunks": 5, "kind": k, "time": "3dpool"} for k in ("sum", "bilinear")),
    {"chunks": 5, "layer": "relu4", "time": "3d"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "choice"),
    [
        (ConvFusion, {}),
        (ConvFusion, {"towers": 2}),
        (ConvFusion, {"train_trunks": True}),
        *((MapFusion, choice) for choice in CHOICES),
    ],  # fmt: skip
)
def test_every_choice_gives_logits_and_trains(streams, snippet_streams, stacks, build, choice):
    own = snippet_streams if choice.get("chunks") else streams
    fusion = build(*own, **choice)
    assert fusion.eval()(*stacks).shape == (2, CLASSES)
    logits = fusion.train()(*stacks)
    assert logits.shape == ((2, 2, CLASSES) if choice.get("towers") == 2 else (2, CLASSES))
    logits.square().sum().backward()
    trained = choice.get("train_trunks", False)
    for name, parameter in fusion.named_parameters():
        trunk = name.startswith(("spatial.", "temporal."))
        assert (parameter.grad is None) == (trunk and not trained), name
    moved = not torch.equal(fusion.spatial[1].running_mean, own[0].features[1].running_mean)
    assert moved == trained  # frozen trunks keep their statistics, and the streams were copied


@pytest.mark.parametrize("towers", [1, 2])
def test_map_fusion_left_at_its_defaults_is_conv_fusion(streams, stacks, towers):
    plain, general = (build(*streams, towers=towers).eval() for build in (ConvFusion, MapFusion))
    assert list(plain.state_dict()) == list(general.state_dict())
    assert torch.equal(plain(*stacks), general(*stacks))


@pytest.mark.parametrize("mix", [(0.25, 0.75), (1.0, 1.0)])
def test_starts_as_the_mix_of_both_streams(streams, stacks, mix):
    spatial, temporal = streams
    fusion = ConvFusion(*streams, mix=mix).eval()
    maps = fusion.trunks(*stacks)
    assert torch.equal(maps[0], spatial.maps(stacks[0])) and maps[0].shape == (2, M, 4, 4)
    expected = mix[0] * spatial.maps(stacks[0]) + mix[1] * temporal.maps(stacks[1])
    close(fusion.fused(*maps), expected)
    close(fusion(*stacks), spatial.classify(expected))


@pytest.mark.parametrize("layer", ["relu2", "relu3", "relu4", "relu5"])
def test_untrained_conv_with_weights_one_and_one_is_sum_fusion(streams, stacks, layer):
    conv = MapFusion(*streams, kind="conv", layer=layer, mix=(1, 1)).eval()
    summed = MapFusion(*streams, kind="sum", layer=layer).eval()
    close(conv(*stacks), summed(*stacks))


def test_identities_by_hand():
    layer = fusion_layer(2)
    assert layer.weight[:, :, 0, 0].tolist() == [[0.25, 0, 0.75, 0], [0, 0.25, 0, 0.75]]
    assert not layer.bias.any()
    blurred = fusion_layer_3d(4, (0.25, 0.75))
    assert blurred.weight.shape == (4, 8, 3, 3, 3) and not blurred.bias.any()
    edge = torch.exp(torch.tensor(-0.5)).item()
    centre = 1 / (1 + 2 * edge) ** 3
    weight = blurred.weight.detach()
    assert weight[2, 2, 1, 1, 1].item() == pytest.approx(0.25 * centre)
    assert weight[2, 6, 0, 1, 1].item() == pytest.approx(0.75 * centre * edge)
    close(weight.sum(dim=(2, 3, 4)), fusion_layer(4).weight[:, :, 0, 0])


def test_parameters_are_those_of_the_recipe_at_full_width():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    with torch.device("meta"):
        spatial, temporal = vgg19(30, 101), vgg19(100, 101)
        trunks = count(spatial.features) + count(temporal.features)
        head = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 101 + 101
        assert count(ConvFusion(spatial, temporal)) == trunks + 1024 * 512 + 512 + head
        expected = {
            "sum": head, "max": head, "concat": head + 25088 * 4096,
            "bilinear": 512 * 512 * 101 + 101,
        }  # fmt: skip
        for kind, number in expected.items():
            assert count(MapFusion(spatial, temporal, kind)) == trunks + number, kind
        fusion = MapFusion(spatial, temporal, time="3d", chunks=5, towers=2)
        assert count(fusion) == trunks + 27 * 1024 * 512 + 512 + 2 * head
        fusion = ConvFusion(spatial, temporal)
        maps = fusion.trunks(torch.empty(1, 30, 224, 224), torch.empty(1, 100, 224, 224))
        assert fusion.fused(*maps).shape == (1, 512, 14, 14)
        assert fusion.pool(fusion.fused(*maps)).shape == (1, 512, 7, 7)


def test_chunks_are_the_same_fields_and_the_frames_in_their_middle():
    rgb = torch.arange(10.0).repeat_interleave(3).view(1, 30, 1, 1)
    flow = torch.arange(100.0).view(1, 100, 1, 1)
    frames, fields = split_chunks(rgb, flow, 5)
    assert frames.shape == (5, 3, 1, 1) and fields.shape == (5, 20, 1, 1)
    assert frames[:, 0, 0, 0].tolist() == [1, 3, 5, 7, 9]
    assert torch.equal(fields.flatten(), flow.flatten())
    assert split_chunks(rgb, flow, 1) == (rgb, flow)
    with pytest.raises(ValueError, match="10 frames and 50 fields"):
        split_chunks(rgb, flow, 3)


@pytest.mark.parametrize(("time", "same"), [("2d", True), ("3dpool", True), ("3d", False)])
def test_only_3d_looks_across_chunks(snippet_streams, stacks, time, same):
    middles = stacks[0].unflatten(1, (10, 3))[:, 1::2].repeat_interleave(2, dim=1)
    forwards = middles.flatten(1, 2), stacks[1]
    fields = stacks[1].unflatten(1, (5, -1))
    backwards = middles.flip(1).flatten(1, 2), fields.flip(1).flatten(1, 2)
    fusion = MapFusion(*snippet_streams, time=time, chunks=5).eval()
    if time == "3d":
        nn.init.normal_(fusion.fuse.weight, std=0.1)
    with torch.no_grad():
        assert torch.allclose(fusion(*forwards), fusion(*backwards), atol=1e-4) == same


def test_time_is_pooled_as_said(snippet_streams, stacks):
    spatial, _ = snippet_streams
    averaged = MapFusion(*snippet_streams, chunks=5).eval()
    a, b = averaged.trunks(*stacks)
    moments = (0.25 * a + 0.75 * b).unflatten(0, (2, 5))
    close(averaged(*stacks), torch.stack([spatial.classify(m) for m in moments]).mean(1))
    pooled = MapFusion(*snippet_streams, chunks=5, time="3dpool").eval()
    close(pooled(*stacks), spatial.classify(moments.amax(1)))


def test_bilinear_by_hand():
    a = torch.tensor([[[1.0, 2.0], [0.0, 1.0]]])  # two maps of two places
    b = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
    product = torch.tensor([3.0, 3.0, 0.0, 1.0]) / 2
    close(Bilinear()(a, b)[0], product.sqrt() / product.sum().sqrt(), atol=1e-3)


def test_concat_starts_as_the_mean_of_both_streams_own_layers(streams, stacks):
    spatial, temporal = streams
    fusion = MapFusion(*streams, kind="concat").eval()
    a, b = (
        spatial.avgpool(nn.functional.max_pool2d(x, 2)).flatten(1) for x in fusion.trunks(*stacks)
    )
    expected = (spatial.classifier[0](a) + temporal.classifier[0](b)) / 2
    close(fusion.classifier[0](torch.cat([a, b], dim=1)), expected)


def test_second_tower_is_the_temporal_stream_and_both_count_alike(streams, stacks):
    fused = ConvFusion(*streams).eval()(*stacks)
    expected = (fused + streams[1](stacks[1])) / 2
    close(ConvFusion(*streams, towers=2).eval()(*stacks), expected)
    close(MapFusion(*streams, layer="relu5+fc8").eval()(*stacks), expected)


def test_what_does_not_fit_is_named(streams):
    for other, sizes in (
        (stream(100, width=0.25), "128, 53, 5"), (stream(100, batch_norm=False), "32, 37, 5"),
        (vgg19(100, 7, 1 / 16, True), "32, 53, 7"),
    ):  # fmt: skip
        for build in ConvFusion, MapFusion:
            with pytest.raises(ValueError, match=rf"classes\) are \(32, 53, 5\) and \({sizes}\)"):
                build(streams[0], other)
    with pytest.raises(ValueError, match="1 or 2 towers, not 3"):
        ConvFusion(*streams, towers=3)
    with pytest.raises(RuntimeError, match="expected input.*100 channels, but got 98"):
        ConvFusion(*streams)(torch.zeros(1, 30, 64, 64), torch.zeros(1, 98, 64, 64))
    for choice, message in (
        ({"kind": "mean"}, "no kind 'mean'; there are sum, max"),
        ({"kind": "sum", "time": "3d", "chunks": 5}, "take time='3dpool'"),
        ({"time": "3d"}, "cannot fuse over 1 moment"),
        ({"kind": "bilinear", "layer": "relu4"}, "layer 'relu5' and one tower"),
        ({"towers": 2, "layer": "relu5+fc8"}, "take towers=1"),
    ):
        with pytest.raises(ValueError, match=message):
            MapFusion(*streams, **choice)
