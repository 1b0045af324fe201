"""Right and wrong answers to exercises: layers, maps and own videos (03, 07, 09, 11)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn

from twostream_utils.lab.exercises import nb04, nb08, nb12
from twostream_utils.vgg import VGG, transform_first_layer


def pretrained_loop(state, channels, classes, width, norm, factor=lambda n: 3 / n, skip=()):
    """The way of the notebook, with a slip in the factor or with names that are not copied."""
    model = VGG(channels, classes, width, norm)
    start = model.state_dict()
    for name, tensor in state.items():
        if name == "features.0.weight" and tensor.shape[1] != channels:
            tensor = tensor.mean(1, keepdim=True).repeat(1, channels, 1, 1) * factor(channels)
        if name.startswith("classifier.6.") and len(tensor) != classes:
            continue
        if not any(part in name for part in skip):
            start[name] = tensor
    model.load_state_dict(start)
    return model


def pretrained_strict_off(state, channels, classes, width, norm):
    """A copy of the state without what does not fit, loaded with ``strict=False``."""
    model, first = VGG(channels, classes, width, norm), state["features.0.weight"]
    state = dict(state)
    if first.shape[1] != channels:
        state["features.0.weight"] = (
            first.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
        )
    if len(state["classifier.6.bias"]) != classes:
        del state["classifier.6.weight"], state["classifier.6.bias"]
    model.load_state_dict(state, strict=False)
    return model


def pretrained_by_shape(state, channels, classes, width, norm):
    """Whatever has the same shape is copied, the rest is passed over."""
    model = pretrained_loop({}, channels, classes, width, norm)
    own = model.state_dict()
    fitting = {n: t for n, t in state.items() if t.shape == own[n].shape}
    first = state["features.0.weight"]
    if first.shape[1] != channels:
        mean = first.mean(1, keepdim=True).repeat(1, channels, 1, 1)
        fitting["features.0.weight"] = mean * 3 / channels
    model.load_state_dict(fitting, strict=False)
    return model


def pretrained_in_place(state, channels, classes, width, norm):
    state["features.0.weight"] = transform_first_layer(
        state["features.0.weight"], channels, "mean_rescaled"
    )
    return pretrained_strict_off(state, channels, classes, width, norm)


def fusion_eye(channels, mix):
    layer = nn.Conv2d(2 * channels, channels, 1, bias=False)
    eye = torch.eye(channels)
    layer.weight.data = torch.cat([mix[0] * eye, mix[1] * eye], dim=1)[:, :, None, None]
    return layer


def fusion_loop(channels, mix):
    layer = nn.Conv2d(2 * channels, channels, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        for o in range(channels):
            layer.weight[o, o], layer.weight[o, channels + o] = mix
    return layer


def fusion_with(weight, bias=False):
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias)
    layer.weight.data = weight[:, :, None, None].float()
    return layer


def all_maps(channels, mix):
    return fusion_with(torch.tensor([mix[0]] * channels + [mix[1]] * channels).expand(channels, -1))


def neighbours(channels, mix):
    weight = torch.zeros(channels, 2 * channels)
    for o in range(channels):
        weight[o, 2 * o], weight[o, 2 * o + 1] = mix
    return fusion_with(weight)


size_formula = lambda size, kernel, padding: tuple(n + 2 * padding - kernel + 1 for n in size)


def size_measured(size, kernel, padding):
    return nn.Conv3d(1, 1, kernel, padding=padding)(torch.zeros(1, 1, *size)).shape[2:]


count_sum = lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_loop(model):
    total = torch.tensor(0)
    for part in model.modules():
        for weights in part.parameters(recurse=False):
            total += int(weights.requires_grad) * np.prod(weights.shape)
    return total


def filters_loop(weight):
    kinds = []
    for w in weight:
        if not any(torch.equal(w, other) for other in kinds):
            kinds.append(w)
    return len(kinds)


RIGHT = {
    nb04.pretrained_vgg: [pretrained_loop, pretrained_strict_off],
    nb08.fusion_layer: [fusion_eye, fusion_loop],
    nb08.conv3d_size: [size_formula, size_measured],
    nb08.trained_count: [count_sum, count_loop],
    nb12.count_filters: [
        filters_loop,
        lambda w: np.unique(w.numpy().reshape(len(w), -1), axis=0).shape[0],
    ],
}

WRONG = {
    nb04.pretrained_vgg: [
        (partial(pretrained_loop, factor=lambda n: 1), "Not rescaled"),
        (partial(pretrained_loop, factor=lambda n: 1 / n), "factor is 3 / N"),
        (partial(pretrained_loop, skip=["features.0.weight"]), "first layer is new"),
        (partial(pretrained_loop, skip=["features.0.bias"]), "bias is not the one"),
        (partial(pretrained_loop, skip=["running"]), "running statistics"),
        (pretrained_by_shape, "skipped without a word"),
        (pretrained_in_place, "state that came in was changed"),
        (lambda state, *sizes: pretrained_loop(state, *sizes).state_dict(), "Return the network"),
    ],
    nb08.fusion_layer: [
        (lambda m, mix: fusion_eye(m, mix[::-1]), "temporal half stands first"),
        (lambda m, mix: nn.Conv2d(m, 2 * m, 1), "exchanged"),
        (lambda m, mix: fusion_eye(m, (1, 1)), "not used"),
        (lambda m, mix: fusion_with(fusion_eye(m, mix).weight[:, :, 0, 0], bias=True), "at random"),
        (all_maps, "all input maps"),
        (neighbours, "Neighbouring"),
    ],
    nb08.conv3d_size: [
        (lambda s, k, p: [n + p - k + 1 for n in s], "both ends"),
        (lambda s, k, p: [n + 2 * p - k for n in s], "One too few"),
        (lambda s, k, p: s, "stay as it is"),
        (lambda s, k, p: (s[0], *size_formula(s, k, p)[1:]), "Depth is padded"),
        (lambda s, k, p: [n - k + 1 for n in s], "padding is left out"),
    ],
    nb08.trained_count: [
        (lambda m: sum(p.numel() for p in m.parameters()), "all parameters"),
        (lambda m: sum(p.numel() for p in m.parameters() if not p.requires_grad), "the frozen"),
        (lambda m: sum(p.requires_grad for p in m.parameters()), "numel()"),
        (lambda m: len(list(m.parameters())), "all tensors"),
        (lambda m: count_sum(m) + sum(b.numel() for b in m.buffers()), "Running means"),
        (lambda m: sum(x.numel() for x in m.state_dict().values()), "state_dict"),
    ],
    nb12.count_filters: [
        (len, "equal ones counted again"),
        (lambda w: len(torch.unique(w)), "whole filters"),
        (lambda w: 1, "different from filter 0"),
        (lambda w: len(torch.unique(w.sum(dim=(1, 2, 3)))) + 1, "Counted"),
    ],
}
