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


def chunks_flat(one, two, layer, rgb, flow, n):
    a, b = (trunk(x.unflatten(1, (n, -1)).flatten(0, 1)) for trunk, x in ((one, rgb), (two, flow)))
    volume = torch.cat([a, b], 1).unflatten(0, (-1, n)).transpose(1, 2)
    return nn.functional.max_pool3d(torch.relu(layer(volume)), (n, 2, 2))[:, :, 0]


def chunks_loop(one, two, layer, rgb, flow, n):
    moments = [torch.cat([one(x), two(y)], 1) for x, y in zip(rgb.chunk(n, 1), flow.chunk(n, 1))]
    fused = layer(torch.stack(moments, dim=2)).clamp(min=0)
    return nn.functional.adaptive_max_pool3d(
        fused, (1, *(x // 2 for x in fused.shape[3:]))
    ).squeeze(2)


def chunks_by(change=lambda a, b: (a, b), order=lambda x, n: x.unflatten(0, (-1, n)),
              over=lambda x: x.relu().amax(2), pool=True):  # fmt: skip
    """Fusion over time with something to get wrong."""

    def answer(one, two, layer, rgb, flow, n):
        a, b = (
            trunk(x.unflatten(1, (n, -1)).flatten(0, 1)) for trunk, x in ((one, rgb), (two, flow))
        )
        a, b = change(order(a, n).transpose(1, 2), order(b, n).transpose(1, 2))
        maps = over(layer(torch.cat([a, b], dim=1)))
        return nn.functional.max_pool2d(maps, 2) if pool else maps

    return answer


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
    nb08.fuse_over_time: [chunks_flat, chunks_loop],
    nb10.grad_cam: [cam_broadcast, cam_einsum, cam_loop],
    nb10.steady_frames: [nearest_table, nearest_loop],
    nb10.leaks: [leaks_set, leaks_loops],
    nb12.count_filters: [
        filters_loop,
        lambda w: np.unique(w.numpy().reshape(len(w), -1), axis=0).shape[0],
    ],
    nb12.unrotate: [
        lambda s: torch.cat([s[-2:], s[:-2]]),
        lambda s: np.roll(s.numpy(), 2, axis=0),
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
    nb08.fuse_over_time: [
        (chunks_by(change=lambda a, b: (b, a)), "temporal maps stand first"),
        (chunks_by(over=lambda x: x.amax(2)), "ReLU"),
        (chunks_by(over=lambda x: x.relu().mean(2)), "mean"),
        (
            chunks_by(order=lambda x, n: x.unflatten(0, (n, -1)).transpose(0, 1)),
            "Clips and chunks are mixed up",
        ),
        (chunks_by(change=lambda a, b: (a.flip(2), b.flip(2))), "reverse order"),
        (chunks_by(over=lambda x: x.relu()[:, :, 0]), "first chunk"),
        (chunks_by(pool=False), "2×2 places"),
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
    nb12.unrotate: [
        (lambda s: s.roll(-2, dims=0), "one field further"),
        (lambda s: s.roll(1, dims=0), "two channels"),
        (lambda s: s.flip(0), "reversed"),
        (lambda s: s, "unchanged"),
    ],
}
