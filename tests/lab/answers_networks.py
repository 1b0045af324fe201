"""Right and wrong answers to exercises: layers, maps and own videos (03, 07, 09, 11)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from twostream_utils.lab.exercises import nb04, nb10, nb12
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


def cam_broadcast(maps, gradient):
    weights = gradient.mean(dim=(1, 2), keepdim=True)
    return (weights * maps).sum(dim=0).clamp(min=0)


def cam_einsum(maps, gradient):
    return np.maximum(np.einsum("k,kij->ij", gradient.numpy().mean((1, 2)), maps.numpy()), 0)


def cam_loop(maps, gradient):
    total = torch.zeros(maps.shape[1:])
    for one, slope in zip(maps, gradient):
        total += slope.mean() * one
    return torch.relu(total)


ticks_of = lambda times, rate: np.arange(0, times[-1] + 1e-9, 1 / rate)


def nearest_table(times, rate):
    return np.abs(times[None] - ticks_of(times, rate)[:, None]).argmin(axis=1)


def nearest_loop(times, rate):
    out, k = [], 0
    while k / rate <= times[-1] + 1e-9:
        out.append(min(range(len(times)), key=lambda i: (abs(times[i] - k / rate), -i)))
        k += 1
    return out


def leaks_set(train, test, group):
    known = {group[clip] for clip in train}
    return sorted(clip for clip in test if group[clip] in known)


def leaks_loops(train, test, group):
    found = []
    for clip in sorted(test):
        for other in train:
            if group[other] == group[clip]:
                found.append(clip)
                break
    return tuple(found)


def filters_loop(weight):
    kinds = []
    for w in weight:
        if not any(torch.equal(w, other) for other in kinds):
            kinds.append(w)
    return len(kinds)


weighted = lambda maps, gradient: gradient.mean((1, 2), keepdim=True) * maps


RIGHT = {
    nb04.pretrained_vgg: [pretrained_loop, pretrained_strict_off],
    nb10.grad_cam: [cam_broadcast, cam_einsum, cam_loop],
    nb10.steady_frames: [nearest_table, nearest_loop],
    nb10.leaks: [leaks_set, leaks_loops],
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
    nb10.grad_cam: [
        (lambda m, g: weighted(m, g).sum(0), "cut off at zero at the end"),
        (lambda m, g: weighted(m, g).sum(0).abs(), "absolute value"),
        (lambda m, g: weighted(m, g).relu().sum(0), "before the sum"),
        (lambda m, g: (g * m).sum(0).relu(), "place by place"),
        (lambda m, g: (g * m).sum(0), "nothing is cut off"),
        (lambda m, g: (g.sum((1, 2), keepdim=True) * m).sum(0).relu(), "take the mean"),
        (lambda m, g: weighted(m, g).mean(0).relu(), "mean over the maps"),
        (lambda m, g: m.sum(0), "not weighted"),
        (lambda m, g: (m.mean((1, 2), keepdim=True) * m).sum(0).relu(), "come from the gradient"),
        (lambda m, g: cam_loop(m, g) / cam_loop(m, g).max(), "scaled"),
        (lambda m, g: cam_loop(m.mul_(2), g), "were changed"),
    ],
    nb10.steady_frames: [
        (lambda t, r: nearest_table(t, r) + 1, "count from 1"),
        (lambda t, r: t[nearest_table(t, r)], "times of the frames"),
        (ticks_of, "Those are the ticks"),
        (lambda t, r: np.searchsorted(t, ticks_of(t, r)), "after the tick"),
        (lambda t, r: np.searchsorted(t, ticks_of(t, r), side="right") - 1, "before the tick"),
        (lambda t, r: nearest_table(t, r)[:-1], "missing"),
    ],
    nb10.leaks: [
        (lambda a, b, g: sorted({g[c] for c in a} & {g[c] for c in b}), "names of the groups"),
        (lambda a, b, g: leaks_set(b, a, g), "training clips with a twin"),
        (lambda a, b, g: sorted(set(b) - set(leaks_set(a, b, g))), "clean test clips"),
        (lambda a, b, g: sorted(set(a) & set(b)), "compare groups"),
        (lambda a, b, g: len(leaks_set(a, b, g)), "a list, not 2"),
        (lambda a, b, g: leaks_set(a, b, g)[::-1], "not sorted"),
        (lambda a, b, g: sorted(b), "Look at"),
    ],
    nb12.count_filters: [
        (len, "equal ones counted again"),
        (lambda w: len(torch.unique(w)), "whole filters"),
        (lambda w: 1, "different from filter 0"),
        (lambda w: len(torch.unique(w.sum(dim=(1, 2, 3)))) + 1, "Counted"),
    ],
}
