"""Right and wrong answers to the exercises on fusion (07, 08)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from twostream_utils.lab.exercises import nb07, nb08


def soft(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def weights_loop(a, b, labels):
    best = []
    for w in np.arange(21) / 20:
        fused = (1 - w) * soft(a) + w * soft(b)
        likelihood = sum(math.log(row[k]) for row, k in zip(fused, labels))
        best.append((likelihood, (1 - w, w)))
    return max(best)[1]


def weights_torch(a, b, labels):
    p, q = (torch.as_tensor(x).softmax(1) for x in (a, b))
    w = torch.linspace(0, 1, 21, dtype=p.dtype)[:, None, None]
    fused = ((1 - w) * p + w * q).log()
    losses = [torch.nn.functional.nll_loss(x, torch.as_tensor(labels)) for x in fused]
    k = int(torch.stack(losses).argmin())
    return np.array([20 - k, k]) / 20


def weights_by(value, steps=21):
    """Weights chosen by another value of the fused probabilities and labels."""

    def choose(a, b, labels):
        grid = np.linspace(0, 1, steps)
        w = max(grid, key=lambda w: value((1 - w) * soft(a) + w * soft(b), labels))
        return 1 - w, w

    return choose


def likelihood(f, y):
    return np.log(f[range(len(y)), y]).mean()


def weights_in_logits(a, b, y):
    w = max(np.linspace(0, 1, 21), key=lambda w: likelihood(soft((1 - w) * a + w * b), y))
    return 1 - w, w


def no_softmax(a, b, y):
    value = [((1 - w) * a + w * b)[range(len(y)), y].mean() for w in np.linspace(0, 1, 21)]
    return 1 - np.argmax(value) / 20, np.argmax(value) / 20


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


def chunks_cat(one, two, layer, rgb, flow, n):
    """Chunks of all clips behind each other, undone as if each clip's were."""
    a, b = (torch.cat([trunk(part) for part in x.chunk(n, 1)])
            for trunk, x in ((one, rgb), (two, flow)))  # fmt: skip
    volume = torch.cat([a, b], 1).unflatten(0, (-1, n)).transpose(1, 2)
    return nn.functional.max_pool2d(torch.relu(layer(volume)).amax(2), 2)


def chunks_dealt(one, two, layer, rgb, flow, n):
    rgb, flow = (x.unflatten(1, (-1, n)).transpose(1, 2).flatten(1, 2) for x in (rgb, flow))
    return chunks_flat(one, two, layer, rgb, flow, n)


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


RIGHT = {
    nb07.choose_weights: [weights_loop, weights_torch],
    nb08.fuse_over_time: [chunks_flat, chunks_loop],
}
WRONG = {
    nb07.choose_weights: [
        (lambda a, b, y: weights_loop(a, b, y)[::-1], "the other way round"),
        (weights_by(lambda f, y: (f.argmax(1) == y).mean()), "accuracy"),
        (weights_by(lambda f, y: f[range(len(y)), y].mean()), "logarithm of each"),
        (weights_by(lambda f, y: -likelihood(f, y)), "highest loss"),
        (weights_by(lambda f, y: np.log(f.max(1)).mean()), "puts first"),
        (weights_by(lambda f, y: -np.log(f.max(1)).mean()), "puts first"),
        (weights_by(likelihood, steps=11), "too coarse"),
        (weights_by(likelihood, steps=8), "the weights, a row a pair of streams,["),
        (weights_in_logits, "logits were averaged"),
        (no_softmax, "No softmax"),
        (lambda a, b, y: None, "return"),
        (lambda a, b, y: (0.5, 0.5), "Half and half"),
        (lambda a, b, y: weights_loop(a, b, y)[1], "both weights"),
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
        (chunks_cat, "torch.cat has put"),
        (chunks_dealt, "dealt out one by one"),
        (lambda *given: chunks_flat(*given)[:, :, None], "squeeze"),
    ],
}
