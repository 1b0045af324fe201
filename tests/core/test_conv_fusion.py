"""Conv fusion, plain and in every way of the paper: shapes, first values, parameters."""

import pytest
import torch
from torch import nn

from twostream_utils.conv_fusion import (
    FORMS,
    ConvFusion,
    FusionOverTime,
    fuse_streams,
    fusion_layer,
    fusion_layer_3d,
)
from twostream_utils.experiments.fusions import KINDS, MapFusion
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


CASES = [
    (ConvFusion, {}),
    (ConvFusion, {"train_trunks": True}),
    *((fuse_streams, {"form": form}) for form in FORMS),
    *((fuse_streams, {"form": form, "chunks": 5}) for form in FORMS if form != "conv"),
    (FusionOverTime, {"chunks": 5, "towers": 2, "train_trunks": True}),
    (FusionOverTime, {"pool_first": True, "towers": 2}),
    *((MapFusion, {"kind": kind}) for kind in KINDS),
    *((ConvFusion, {"block": block}) for block in (2, 3, 4)),
]


@pytest.mark.parametrize(("build", "choice"), CASES)
def test_every_choice_gives_logits_and_trains(streams, snippet_streams, stacks, build, choice):
    own = streams if choice.get("chunks", 1) == 1 else snippet_streams
    rgb, flow = stacks if own is streams else (stacks[0][:, :15], stacks[1])
    fusion = build(*own, **choice)
    assert fusion.eval()(rgb, flow).shape == (2, CLASSES)
    logits = fusion.train()(rgb, flow)
    two = getattr(fusion, "towers", 1) == 2
    assert logits.shape == ((2, 2, CLASSES) if two else (2, CLASSES))
    logits.square().sum().backward()
    trained = choice.get("train_trunks", False)
    for name, parameter in fusion.named_parameters():
        trunk = name.startswith(("spatial.", "temporal."))
        assert (parameter.grad is None) == (trunk and not trained), name
    moved = not torch.equal(fusion.spatial[1].running_mean, own[0].features[1].running_mean)
    assert moved == trained  # frozen trunks keep their statistics, and the streams were copied


@pytest.mark.parametrize("mix", [(0.25, 0.75), (1.0, 1.0)])
def test_starts_as_the_mix_of_both_streams(streams, stacks, mix):
    spatial, temporal = streams
    fusion = ConvFusion(*streams, mix=mix).eval()
    maps = fusion.trunks(*stacks)
    assert torch.equal(maps[0], spatial.maps(stacks[0])) and maps[0].shape == (2, M, 4, 4)
    expected = mix[0] * spatial.maps(stacks[0]) + mix[1] * temporal.maps(stacks[1])
    close(torch.relu(fusion.fuse(torch.cat(maps, dim=1))), expected)
    close(fusion(*stacks), spatial.classify(expected))


def test_untrained_conv_with_weights_one_and_one_is_sum_fusion(streams, stacks):
    conv = ConvFusion(*streams, mix=(1, 1)).eval()
    close(conv(*stacks), MapFusion(*streams, "sum").eval()(*stacks))


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
    assert torch.equal(fusion_layer_3d(4, (0.25, 0.75), 1).weight[..., 0], fusion_layer(4).weight)


def test_parameters_are_those_of_the_recipe_at_full_width():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    with torch.device("meta"):
        spatial, temporal = vgg19(30, 101), vgg19(100, 101)
        trunks = count(spatial.features) + count(temporal.features)
        head = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 101 + 101
        assert count(ConvFusion(spatial, temporal)) == trunks + 1024 * 512 + 512 + head
        expected = {"sum": head, "max": head, "concat": head + 25088 * 4096}
        for kind, number in expected.items():
            assert count(MapFusion(spatial, temporal, kind)) == trunks + number, kind
        fusion = fuse_streams(spatial, temporal, "paper", chunks=5)
        assert count(fusion) == trunks + 27 * 1024 * 512 + 512 + 2 * head
        fusion = ConvFusion(spatial, temporal)
        maps = fusion.trunks(torch.empty(1, 30, 224, 224), torch.empty(1, 100, 224, 224))
        fused = fusion.fuse(torch.cat(maps, dim=1))
        assert fused.shape == (1, 512, 14, 14) and fusion.rest(fused).shape == (1, 512, 7, 7)


@pytest.mark.parametrize(("kernel", "same"), [(1, True), (3, False)])
def test_only_a_convolution_over_time_knows_an_order(snippet_streams, stacks, kernel, same):
    rgb, flow = stacks[0][:, :15], stacks[1]
    back = [x.unflatten(1, (5, -1)).flip(1).flatten(1, 2) for x in (rgb, flow)]
    fusion = FusionOverTime(*snippet_streams, chunks=5, kernel=kernel).eval()
    nn.init.normal_(fusion.fuse.weight, std=0.1)
    with torch.no_grad():
        assert torch.allclose(fusion(rgb, flow), fusion(*back), atol=1e-4) == same


def test_time_is_pooled_as_said(snippet_streams, stacks):
    spatial, temporal = snippet_streams
    rgb, flow = (x.unflatten(1, (5, -1)) for x in (stacks[0][:, :15], stacks[1]))
    moments = [(spatial.maps(rgb[:, k]), temporal.maps(flow[:, k])) for k in range(5)]
    mixed = torch.stack([0.25 * a + 0.75 * b for a, b in moments])
    both = stacks[0][:, :15], stacks[1]
    fusion = FusionOverTime(*snippet_streams, chunks=5, kernel=1).eval()
    close(fusion(*both), spatial.classify(mixed.amax(0)))
    pooled = torch.stack([
        0.25 * spatial.features[-1](a) + 0.75 * temporal.features[-1](b) for a, b in moments
    ]).amax(0)  # fmt: skip
    seed = fuse_streams(*snippet_streams, "seed", chunks=5).eval()
    close(seed(*both), spatial.classifier(spatial.avgpool(pooled).flatten(1)))


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
    close(fuse_streams(*streams, "two_towers").eval()(*stacks), expected)


def test_what_does_not_fit_is_named(streams):
    for other, sizes in (
        (stream(100, width=0.25), "128, 53, 5"), (stream(100, batch_norm=False), "32, 37, 5"),
        (vgg19(100, 7, 1 / 16, True), "32, 53, 7"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"classes\) are \(32, 53, 5\) and \({sizes}\)"):
            fuse_streams(streams[0], other)
    with pytest.raises(RuntimeError, match="expected input.*100 channels, but got 98"):
        ConvFusion(*streams)(torch.zeros(1, 30, 64, 64), torch.zeros(1, 98, 64, 64))
    for build, choice, message in (
        (MapFusion, {"kind": "mean"}, "no kind 'mean'; there are sum, max"),
        (fuse_streams, {"form": "3d"}, "no form '3d' of conv fusion; there are conv, two_towers"),
        (fuse_streams, {"block": 0}, "no block 0 of VGG-19 to fuse after; there are 1 to 5"),
        (fuse_streams, {"chunks": 5}, "fuses one moment, not 5: take 'seed' or 'paper'"),
    ):
        with pytest.raises(ValueError, match=message):
            build(*streams, **choice)
