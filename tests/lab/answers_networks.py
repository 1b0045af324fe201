"""Right and wrong answers to exercises: layers, maps and own videos (03, 07, 09, 11)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from twostream_utils.lab.exercises import nb04, nb08, nb10, nb12

mean_repeat = lambda weight, n: weight.mean(dim=1, keepdim=True).repeat(1, n, 1, 1)


def mean_einsum(weight, n):
    return torch.einsum("oikl,c->ockl", weight, torch.ones(n)) / weight.shape[1]


colours_repeat = lambda weight, frames: weight.repeat(1, frames, 1, 1) / frames
colours_cat = lambda weight, frames: torch.cat([weight / frames] * frames, dim=1)
rescaled_mean = lambda weight, bias, n: (mean_repeat(weight, n) * 3 / n, bias)


def rescaled_sum(weight, bias, n):
    return [weight.sum(1, keepdim=True).expand(-1, n, -1, -1) / n, bias.clone()]


def filter_0(weight, bias, n):
    return (weight.sum(1)[0] / 3).expand(len(weight), n, -1, -1) * 3 / n, bias


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
    nb04.transform_first_layer: [mean_repeat, mean_einsum],
    nb04.keep_colours: [colours_repeat, colours_cat],
    nb04.rescaled: [rescaled_mean, rescaled_sum],
    nb08.fusion_layer: [fusion_eye, fusion_loop],
    nb08.conv3d_size: [size_formula, size_measured],
    nb08.trained_count: [count_sum, count_loop],
    nb10.grad_cam: [cam_broadcast, cam_einsum, cam_loop],
    nb10.steady_frames: [nearest_table, nearest_loop],
    nb10.leaks: [leaks_set, leaks_loops],
    nb12.count_filters: [
        filters_loop,
        lambda w: np.unique(w.numpy().reshape(len(w), -1), axis=0).shape[0],
    ],
}

WRONG = {
    nb04.transform_first_layer: [
        (lambda w, n: (w.sum(1)[0] / 3).expand(len(w), n, -1, -1), "filter 0"),
        (lambda w, n: w.sum(1, keepdim=True).repeat(1, n, 1, 1), "sum"),
        (lambda w, n: w[:, torch.arange(n) % 3], "mean over RGB is missing"),
        (lambda w, n: mean_repeat(w, n) * 3 / n, "rescaling"),
        (lambda w, n: mean_repeat(w.mul_(1.0).add_(1.0), n), "was changed"),
    ],
    nb04.keep_colours: [
        (lambda w, n: w.repeat(1, n, 1, 1), "not divided"),
        (lambda w, n: w.repeat_interleave(n, dim=1) / n, "order"),
        (lambda w, n: mean_repeat(w, 3 * n), "colours are gone"),
        (lambda w, n: mean_repeat(w, 3 * n) / n, "colours are gone"),
        (lambda w, n: w.repeat(1, n, 1, 1) / (3 * n), "frames that are counted"),
        (lambda w, n: colours_repeat(w.div_(n), n), "was changed"),
    ],
    nb04.rescaled: [
        (filter_0, "filter 0"),
        (lambda w, b, n: (mean_repeat(w, n), b), "Not rescaled"),
        (lambda w, b, n: (mean_repeat(w, n) / n, b), "3 / N"),
        (lambda w, b, n: (mean_repeat(w, n) * n / 3, b), "N / 3"),
        (lambda w, b, n: (mean_repeat(w, n) * 9 / n, b), "not the sum"),
        (lambda w, b, n: (mean_repeat(w, n) * (3 / n) ** 0.5, b), "unrelated"),
        (lambda w, b, n: (rescaled_mean(w, b, n)[0], b * 3 / n), "bias is scaled"),
        (lambda w, b, n: (rescaled_mean(w, b, n)[0], b * 0), "bias is lost"),
        (lambda w, b, n: rescaled_mean(w.mul_(3 / n), b, n), "was changed"),
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
