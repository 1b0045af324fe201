"""Right and wrong answers to exercises: layers, maps and the original's mistakes (04, 12)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from twostream_utils.lab.exercises import nb04, nb12
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


def filters_loop(weight, close=lambda r: r > 0.999):
    kinds = []
    for w in weight.numpy().reshape(len(weight), -1):
        if not any(close(np.corrcoef(w, other)[0, 1]) for other in kinds):
            kinds.append(w)
    return len(kinds)


RIGHT = {
    nb04.pretrained_vgg: [pretrained_loop, pretrained_strict_off],
    nb12.count_filters: [
        filters_loop,
        lambda w: torch.corrcoef(w.flatten(1)).gt(0.999).unique(dim=0).shape[0],
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
    nb12.count_filters: [
        (len, "equal ones counted again"),
        (lambda w: len(torch.unique(w)), "whole filters"),
        (lambda w: 1, "different from filter 0"),
        (lambda w: len(torch.unique(w.flatten(1), dim=0)), "take those for one"),
        (partial(filters_loop, close=lambda r: abs(r) > 0.999), "its negative"),
        (lambda w: len(torch.unique(w.sum(dim=(1, 2, 3)))) + 1, "Counted"),
    ],
}
