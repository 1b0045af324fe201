"""The full-size path on the CPU: VGG-19 at width 1, 224 px, an ImageNet-shaped state dict."""

import pytest
import torch
import torchvision
from torch import nn

from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.fusion import late_fusion
from twostream_utils.stacks import normalise
from twostream_utils.vgg import vgg19

CLASSES = 101


@pytest.fixture(scope="module")
def streams():
    """Both streams from weights of ImageNet's shapes, and a batch of stacks as they come."""
    torch.manual_seed(0)
    state = torchvision.models.vgg19().state_dict()
    assert sum(t.numel() for t in state.values()) == 143_667_240
    rgb = torch.randint(0, 256, (2, 30, 224, 224), dtype=torch.uint8)
    flow = torch.randint(0, 256, (2, 100, 224, 224), dtype=torch.uint8)
    inputs = normalise(rgb, "rgb"), normalise(flow, "flow")
    return vgg19(30, CLASSES, weights=state), vgg19(100, CLASSES, weights=state), *inputs


def step(model: nn.Module, *inputs: torch.Tensor, bf16: bool = False) -> torch.Tensor:
    """One step of SGD; returns the logits before it."""
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(*inputs)
    loss = nn.functional.cross_entropy(logits.float(), torch.tensor([3, 7]))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    assert torch.isfinite(loss)
    return logits.detach().float()


@pytest.mark.parametrize("bf16", [False, True])
def test_both_streams_and_both_fusions_take_a_step(streams, bf16):
    spatial, temporal, rgb, flow = streams
    assert spatial.features[0].weight.shape == (64, 30, 3, 3)
    assert temporal.features[0].weight.shape == (64, 100, 3, 3)
    logits = []
    for stream, x in ((spatial, rgb), (temporal, flow)):
        before = stream.features[0].weight.detach().clone()
        logits.append(step(stream, x, bf16=bf16))
        assert logits[-1].shape == (2, CLASSES)
        assert not torch.equal(stream.features[0].weight, before)
    fused = late_fusion(*(x.numpy() for x in logits))
    assert fused.sum(axis=1) == pytest.approx([1, 1])
    with torch.no_grad():
        maps = spatial.maps(rgb[:1])
    assert maps.shape == (1, 512, 14, 14)
    fusion = ConvFusion(spatial, temporal)
    before = fusion.fuse.weight.detach().clone()
    assert step(fusion, rgb, flow, bf16=bf16).shape == (2, CLASSES)
    assert not torch.equal(fusion.fuse.weight, before)
