"""Conv fusion against its recipe: shapes, first values, parameters, what excludes what."""

import itertools

import pytest
import torch
from torch import nn

from twostream_utils.conv_fusion import (
    KINDS,
    Bilinear,
    ConvFusion,
    fusion_layer,
    split_chunks,
)
from twostream_utils.device import to_model_layout
from twostream_utils.vgg import vgg19

M, CLASSES = 32, 5  # a sixteenth of VGG-19's width


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


def test_every_choice_gives_logits_and_trains(streams, snippet_streams, stacks):
    choices = [{"kind": kind} for kind in KINDS]
    choices += [{"layer": f"relu{k}"} for k in (2, 3, 4)] + [{"layer": "relu5+fc8"}]
    choices += [{"kind": k, "layer": "relu3"} for k in ("sum", "max", "concat")]
    choices += [{"towers": 2}, {"towers": 2, "layer": "relu4", "kind": "concat"}]
    times = [{"chunks": 5, "time": t} for t in ("2d", "3dpool", "3d")]
    choices += times + [{"time": "3d", "chunks": 5, "towers": 2}]
    choices += [{"chunks": 5, "kind": k, "time": "3dpool"} for k in ("sum", "bilinear")]
    choices += [{"chunks": 5, "kind": "conv", "layer": "relu4", "time": "3d"}]
    for choice in choices:
        own = snippet_streams if choice.get("chunks") else streams
        fusion = ConvFusion(*own, **choice)
        assert fusion.eval()(*stacks).shape == (2, CLASSES), choice
        logits = fusion.train()(*stacks)
        assert logits.shape == ((2, 2, CLASSES) if choice.get("towers") == 2 else (2, CLASSES))
        logits.square().sum().backward()
        for name, parameter in fusion.named_parameters():
            frozen = name.startswith(("spatial.", "temporal."))
            assert (parameter.grad is None) == frozen, (choice, name)


def test_conv_starts_as_the_mix_of_both_streams(streams, stacks):
    spatial, temporal = streams
    for mix in ((0.25, 0.75), (1.0, 1.0)):
        fusion = ConvFusion(*streams, mix=mix).eval()
        expected = mix[0] * spatial.maps(stacks[0]) + mix[1] * temporal.maps(stacks[1])
        torch.testing.assert_close(fusion.maps(*stacks), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            fusion(*stacks), spatial.classify(expected), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("layer", ["relu2", "relu3", "relu4", "relu5"])
def test_untrained_conv_with_weights_one_and_one_is_sum_fusion(streams, stacks, layer):
    conv = ConvFusion(*streams, kind="conv", layer=layer, mix=(1, 1)).eval()
    summed = ConvFusion(*streams, kind="sum", layer=layer).eval()
    torch.testing.assert_close(conv(*stacks), summed(*stacks), atol=1e-5, rtol=1e-5)


def test_order_of_channels_does_not_matter_after_the_matching_permutation(streams, stacks):
    fusion = ConvFusion(*streams).eval()
    nn.init.normal_(fusion.fuse.weight, std=0.1)
    a, b = fusion.trunks(*stacks)
    expected = fusion.head(a, b)
    order = torch.randperm(M)
    with torch.no_grad():
        fusion.fuse.weight[:, :M] = fusion.fuse.weight[:, :M][:, order]
    torch.testing.assert_close(fusion.head(a[:, order], b), expected, atol=1e-5, rtol=1e-5)


def test_gaussian_identity_by_hand():
    layer = fusion_layer(4, "3d", (0.25, 0.75))
    assert layer.weight.shape == (4, 8, 3, 3, 3) and not layer.bias.any()
    edge = torch.exp(torch.tensor(-0.5)).item()
    centre = 1 / (1 + 2 * edge) ** 3
    weight = layer.weight.detach()
    assert weight[2, 2, 1, 1, 1].item() == pytest.approx(0.25 * centre)
    assert weight[2, 6, 1, 1, 1].item() == pytest.approx(0.75 * centre)
    assert weight[2, 6, 0, 1, 1].item() == pytest.approx(0.75 * centre * edge)
    sums = weight.sum(dim=(2, 3, 4))
    expected = torch.cat([0.25 * torch.eye(4), 0.75 * torch.eye(4)], dim=1)
    torch.testing.assert_close(sums, expected)


def test_parameters_are_those_of_the_recipe_at_full_width():
    with torch.device("meta"):
        spatial, temporal = vgg19(30, 101), vgg19(100, 101)
        snippet = vgg19(3, 101), vgg19(20, 101)
        count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
        trunks = count(spatial.features) + count(temporal.features)
        head = count(spatial.classifier)
        assert head == 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 101 + 101
        conv = 1024 * 512 + 512
        expected = {
            "sum": trunks + head, "max": trunks + head, "conv": trunks + conv + head,
            "concat": trunks + head + 25088 * 4096,
            "bilinear": trunks + 512 * 512 * 101 + 101,
        }  # fmt: skip
        for kind, number in expected.items():
            assert count(ConvFusion(spatial, temporal, kind)) == number, kind
        fusion = ConvFusion(*snippet, time="3d", chunks=5, towers=2)
        assert fusion.fuse.weight.shape == (512, 1024, 3, 3, 3)
        trunks = count(snippet[0].features) + count(snippet[1].features)
        assert count(fusion) == trunks + 27 * 1024 * 512 + 512 + 2 * head
        fusion = ConvFusion(spatial, temporal)
        maps = fusion.maps(torch.empty(1, 30, 224, 224), torch.empty(1, 100, 224, 224))
        assert maps.shape == (1, 512, 14, 14) and fusion.pool(maps).shape == (1, 512, 7, 7)


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


def test_only_3d_looks_across_chunks(snippet_streams, stacks):
    swapped = [s.unflatten(1, (5, -1)).flip(1).flatten(1, 2) for s in stacks]
    rgb = stacks[0].unflatten(1, (10, 3))
    rgb = rgb[:, [9, 9, 7, 7, 5, 5, 3, 3, 1, 1]].flatten(1, 2)  # the middles in reverse order
    backwards = rgb, swapped[1]
    rgb = stacks[0].unflatten(1, (10, 3))[:, [1, 1, 3, 3, 5, 5, 7, 7, 9, 9]].flatten(1, 2)
    forwards = rgb, stacks[1]
    for time, same in (("2d", True), ("3dpool", True), ("3d", False)):
        fusion = ConvFusion(*snippet_streams, time=time, chunks=5).eval()
        if time == "3d":
            nn.init.normal_(fusion.fuse.weight, std=0.1)
        with torch.no_grad():
            assert torch.allclose(fusion(*forwards), fusion(*backwards), atol=1e-4) == same, time


def test_time_is_pooled_as_said(snippet_streams, stacks):
    a, b = ConvFusion(*snippet_streams, chunks=5).trunks(*stacks)
    mixed = 0.25 * a + 0.75 * b
    head = ConvFusion(*snippet_streams, chunks=5).eval()
    each = torch.stack([snippet_streams[0].classify(m) for m in mixed.unflatten(0, (2, 5))])
    torch.testing.assert_close(head(*stacks), each.mean(1), atol=1e-5, rtol=1e-5)
    pooled = ConvFusion(*snippet_streams, chunks=5, time="3dpool").eval()
    over_time = snippet_streams[0].classify(mixed.unflatten(0, (2, 5)).amax(1))
    torch.testing.assert_close(pooled(*stacks), over_time, atol=1e-5, rtol=1e-5)


def test_bilinear_by_hand():
    a = torch.tensor([[[1.0, 2.0], [0.0, 1.0]]])  # two maps of two places
    b = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
    product = torch.tensor([3.0, 3.0, 0.0, 1.0]) / 2
    expected = product.sqrt() / product.sum().sqrt()
    torch.testing.assert_close(Bilinear()(a, b)[0], expected, atol=1e-3, rtol=1e-3)


def test_concat_starts_as_the_mean_of_both_streams_own_layers(streams, stacks):
    spatial, temporal = streams
    fusion = ConvFusion(*streams, kind="concat").eval()
    a, b = fusion.trunks(*stacks)
    flat = lambda x: spatial.avgpool(nn.functional.max_pool2d(x, 2)).flatten(1)  # noqa: E731
    expected = (spatial.classifier[0](flat(a)) + temporal.classifier[0](flat(b))) / 2
    both = torch.cat([flat(a), flat(b)], dim=1)
    torch.testing.assert_close(fusion.classifier[0](both), expected, atol=1e-5, rtol=1e-5)


def test_second_tower_is_the_temporal_stream_and_both_count_alike(streams, stacks):
    spatial, temporal = streams
    for layer, mean in (("relu5", "towers"), ("relu5+fc8", "fc8")):
        towers = 2 if mean == "towers" else 1
        fusion = ConvFusion(*streams, layer=layer, towers=towers).eval()
        fused = ConvFusion(*streams).eval()(*stacks)
        expected = (fused + temporal(stacks[1])) / 2
        torch.testing.assert_close(fusion(*stacks), expected, atol=1e-5, rtol=1e-5)


def test_trunks_are_frozen_or_not(streams, stacks):
    for trained, layer in itertools.product((False, True), ("relu4", "relu5")):
        fusion = ConvFusion(*streams, layer=layer, train_trunks=trained).train()
        before = {k: v.clone() for k, v in fusion.state_dict().items()}
        optimizer = torch.optim.SGD([p for p in fusion.parameters() if p.requires_grad], 0.1)
        nn.functional.cross_entropy(fusion(*stacks), torch.tensor([0, 1])).backward()
        optimizer.step()
        after = fusion.state_dict()
        moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
        assert moved >= {"fuse", "classifier"}
        assert ({"spatial", "temporal"} <= moved) == trained
        assert ("rest" in moved) == (layer == "relu4")


def test_streams_are_copied_not_shared(streams):
    fusion = ConvFusion(*streams)
    with torch.no_grad():
        fusion.classifier[0].weight.zero_()
    assert streams[0].classifier[0].weight.abs().sum() > 0


def test_what_does_not_fit_is_named(streams):
    fusion = ConvFusion(*streams).eval()
    with pytest.raises(ValueError, match=r"\(1, 32, 4, 4\).*\(1, 32, 5, 5\)"):
        fusion(torch.zeros(1, 30, 64, 64), torch.zeros(1, 100, 80, 80))
    with pytest.raises(ValueError, match="32 channels.*128"):
        ConvFusion(streams[0], stream(100, width=0.25))
    with pytest.raises(ValueError, match="spatial 5, temporal 7"):
        ConvFusion(streams[0], vgg19(100, 7, 1 / 16, True))
    with pytest.raises(ValueError, match="one has batch norm and the other has not"):
        ConvFusion(streams[0], vgg19(100, CLASSES, 1 / 16))
    with pytest.raises(ValueError, match=r"takes 30 channels, and with chunks=5 it gets 3; .*snip"):
        ConvFusion(*streams, chunks=5)(torch.zeros(1, 30, 64, 64), torch.zeros(1, 100, 64, 64))
    with pytest.raises(ValueError, match="temporal stream takes 100 .* gets 98$"):
        fusion(torch.zeros(1, 30, 64, 64), torch.zeros(1, 98, 64, 64))
    for choice, message in (
        ({"kind": "mean"}, "no kind 'mean'; there are sum, max"),
        ({"layer": "relu6"}, "no layer 'relu6'"),
        ({"time": "4d"}, "no time '4d'"),
        ({"towers": 3}, "no number of towers 3"),
        ({"kind": "sum", "time": "3d", "chunks": 5}, "take time='3dpool'"),
        ({"time": "3d"}, "cannot fuse over 1 moment"),
        ({"chunks": 0}, "cannot fuse over 0 moment"),
        ({"kind": "bilinear", "layer": "relu4"}, "layer 'relu5' and one tower"),
        ({"towers": 2, "layer": "relu5+fc8"}, "take towers=1"),
    ):
        with pytest.raises(ValueError, match=message):
            ConvFusion(*streams, **choice)


def test_device_layout_takes_3d_convolutions(snippet_streams, stacks):
    fusion = ConvFusion(*snippet_streams, time="3d", chunks=5).eval()
    expected = fusion(*stacks)
    to_model_layout(fusion, torch.device("cpu"))
    weight = fusion.spatial[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fusion(*stacks), expected, atol=1e-4, rtol=1e-4)
