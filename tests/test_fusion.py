"""Late fusion against hand-computed values, conv fusion against its recipe."""

import numpy as np
import pytest
import torch

from twostream_utils.fusion import ConvFusion, late_fusion
from twostream_utils.vgg import vgg19


def test_softmax_average_by_hand():
    spatial = np.log([[0.8, 0.1, 0.1]])
    temporal = np.log([[0.2, 0.7, 0.1]])
    np.testing.assert_allclose(late_fusion(spatial, temporal), [[0.5, 0.4, 0.1]])
    np.testing.assert_allclose(late_fusion(spatial, temporal, weights=(1, 3)), [[0.35, 0.55, 0.1]])


def test_logit_average_by_hand():
    spatial = np.log([[0.8, 0.1, 0.1]])
    temporal = np.log([[0.2, 0.7, 0.1]])
    geometric = np.sqrt([[0.16, 0.07, 0.01]])
    np.testing.assert_allclose(
        late_fusion(spatial, temporal, space="logit"), geometric / geometric.sum()
    )


def test_late_fusion_of_large_logits_is_finite():
    fused = late_fusion(np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]]))
    np.testing.assert_allclose(fused, [[0.5, 0.5]])


def test_late_fusion_names_what_is_wrong():
    a, b = np.zeros((3, 10)), np.zeros((4, 10))
    with pytest.raises(ValueError, match=r"\(3, 10\).*\(4, 10\)"):
        late_fusion(a, b)
    with pytest.raises(ValueError, match="'softmax' and 'logit'"):
        late_fusion(a, a, space="max")
    with pytest.raises(ValueError, match="weights"):
        late_fusion(a, a, weights=(0, 0))


@pytest.fixture
def streams():
    torch.manual_seed(0)
    build = lambda channels: vgg19(channels, 5, width=1 / 16, batch_norm=True)  # noqa: E731
    return build(30).eval(), build(100).eval()


def test_shapes_follow_the_recipe(streams):
    fusion = ConvFusion(*streams).eval()
    channels = 32
    assert fusion.fuse.weight.shape == (channels, 2 * channels, 1, 1)
    maps = fusion.maps(torch.randn(2, 30, 64, 64), torch.randn(2, 100, 64, 64))
    assert maps.shape == (2, channels, 4, 4)
    assert fusion(torch.randn(2, 30, 64, 64), torch.randn(2, 100, 64, 64)).shape == (2, 5)


def test_full_width_concatenates_to_1024(streams):
    with torch.device("meta"):
        fusion = ConvFusion(vgg19(30, 101), vgg19(100, 101))
        maps = fusion.maps(torch.empty(1, 30, 224, 224), torch.empty(1, 100, 224, 224))
    assert fusion.fuse.in_channels == 1024 and fusion.fuse.out_channels == 512
    assert maps.shape == (1, 512, 14, 14)


def test_starts_as_the_weighted_sum_of_both_streams(streams):
    spatial, temporal = streams
    rgb, flow = torch.randn(2, 30, 64, 64), torch.randn(2, 100, 64, 64)
    for mix in ((0.25, 0.75), (1.0, 1.0)):
        fusion = ConvFusion(spatial, temporal, mix=mix).eval()
        expected = mix[0] * spatial.maps(rgb) + mix[1] * temporal.maps(flow)
        torch.testing.assert_close(fusion.maps(rgb, flow), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            fusion(rgb, flow), spatial.classify(expected), atol=1e-5, rtol=1e-5
        )


def test_frozen_trunks_do_not_move(streams):
    fusion = ConvFusion(*streams).train()
    before = {k: v.clone() for k, v in fusion.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in fusion.parameters() if p.requires_grad], 0.1)
    logits = fusion(torch.randn(4, 30, 64, 64), torch.randn(4, 100, 64, 64))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    optimizer.step()
    for name, tensor in fusion.state_dict().items():
        if name.startswith(("spatial", "temporal")):
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(fusion.fuse.weight, before["fuse.weight"])


def test_streams_are_copied_not_shared(streams):
    spatial, temporal = streams
    fusion = ConvFusion(spatial, temporal)
    with torch.no_grad():
        fusion.classifier[0].weight.zero_()
    assert spatial.classifier[0].weight.abs().sum() > 0


def test_maps_that_do_not_match_are_named(streams):
    fusion = ConvFusion(*streams).eval()
    with pytest.raises(ValueError, match=r"\(1, 32, 4, 4\).*\(1, 32, 5, 5\)"):
        fusion(torch.zeros(1, 30, 64, 64), torch.zeros(1, 100, 80, 80))
    with pytest.raises(ValueError, match="32 channels.*128"):
        ConvFusion(streams[0], vgg19(100, 5, width=0.25))
