"""Grad-CAM against the same by hooks, and what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from twostream_utils.lab import gradcam
from twostream_utils.vgg import VGG, vgg19


def test_vgg_map_is_that_of_hooks_and_leaves_no_trace():
    torch.manual_seed(0)
    model = vgg19(6, 5, width=1 / 16, batch_norm=True).eval()
    with torch.no_grad():
        for layer in model.classifier:  # initial weights of 0.01 would give maps of 1e-9
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(20)
    x = torch.randn(3, 6, 64, 64)
    seen = {}

    def keep(_, __, output):
        output.retain_grad()
        seen["maps"] = output

    hook = model.features[-2].register_forward_hook(keep)
    logits = model(x.clone())
    hook.remove()
    targets = logits.argmax(1)
    logits.gather(1, targets[:, None]).sum().backward()
    maps, gradient = seen["maps"].detach(), seen["maps"].grad
    wanted = torch.einsum("bk,bkhw->bhw", gradient.mean((2, 3)), maps).clamp(min=0)
    assert wanted.amax() > 0
    model.zero_grad()
    cams = gradcam.grad_cam(model, x, targets, scale=False)
    assert cams.shape == (3, 4, 4) and cams.dtype == torch.float32
    torch.testing.assert_close(cams, wanted)
    assert all(p.grad is None for p in model.parameters())
    with torch.inference_mode(False), torch.no_grad():  # as under evaluation code
        torch.testing.assert_close(gradcam.grad_cam(model, x, targets, scale=False), wanted)
        scaled = wanted / wanted.amax((1, 2), keepdim=True).clamp(min=1e-12)
        torch.testing.assert_close(gradcam.grad_cam(model, x, targets), scaled)
        model.classifier[-1].weight.zero_()  # no evidence is a map of zeros and no division
    assert torch.equal(gradcam.grad_cam(model, x, targets), torch.zeros(3, 4, 4))


def test_a_network_in_training_and_classes_that_are_not_there_are_refused():
    model = VGG(3, 4, width=1 / 32)
    x = torch.randn(2, 3, 32, 32)
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        gradcam.grad_cam(model, x, 0)
    for target in -1, 4:
        with pytest.raises(ValueError, match="0 to 3"):
            gradcam.grad_cam(model.eval(), x, target)
    with pytest.raises(ValueError, match="3 target classes for 2 stacks"):
        gradcam.grad_cam(model, x, [0, 1, 2])


def test_spotlight_keeps_what_is_lit_dims_the_rest_and_draws_the_border():
    picture = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    cam = np.zeros((4, 4), np.float32)
    cam[:2] = 1
    out = gradcam.spotlight(picture, cam)
    np.testing.assert_array_equal(out[4, 4], (200, 100, 50))
    np.testing.assert_array_equal(out[60, 30], (60, 30, 15))  # SHADE of the colour, hue kept
    edge = np.abs(out.astype(int) - gradcam.EDGE).max(-1) < 30  # the line is smoothed
    assert edge[20:44, 30].any() and not edge[48:].any()
    np.testing.assert_array_equal(gradcam.spotlight(picture, np.ones((4, 4), np.float32))[9, 9],
                                  (200, 100, 50))  # fmt: skip
