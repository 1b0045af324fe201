"""Right and wrong answers to exercises: scores, intervals and speed (04, 06, 08, 10)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import math

import numpy as np
import torch

from twostream_utils.evaluation import bootstrap_interval
from twostream_utils.lab.exercises import nb05, nb07, nb09, nb11


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


def weights_by(value):
    """Weights chosen by another value of the fused probabilities and labels."""

    def choose(a, b, labels):
        grid = np.linspace(0, 1, 21)
        w = max(grid, key=lambda w: value((1 - w) * soft(a) + w * soft(b), labels))
        return 1 - w, w

    return choose


views_mean = lambda logits: logits.mean(axis=1).argmax(axis=1)
views_loop = lambda logits: [int(torch.as_tensor(clip).sum(0).argmax()) for clip in logits]


def bootstrap_table(hits, draws, rng):
    means = hits[rng.integers(len(hits), size=(draws, len(hits)))].mean(axis=1)
    return np.quantile(means, [0.025, 0.975])


def bootstrap_loop(hits, draws, rng):
    means = sorted(rng.choice(hits, len(hits)).mean() for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def bootstrap_of(values, draws, rng, tail=0.025, size=None, replace=True):
    """A bootstrap with something to get wrong."""
    values = np.asarray(values, dtype=float)
    means = [rng.choice(values, size or len(values), replace).mean() for _ in range(draws)]
    return np.quantile(means, [tail, 1 - tail])


def percentile(values, draws, rng):
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return np.percentile(means, [0.025, 0.975])


def confusion_loop(predicted, labels, classes):
    matrix = np.zeros((classes, classes), dtype=int)
    for true, said in zip(labels, predicted):
        matrix[true, said] += 1
    return matrix


def confusion_bincount(predicted, labels, classes):
    pairs = torch.as_tensor(labels) * classes + torch.as_tensor(predicted)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def gain_by_rows(new, old, aligned=True, key=None, seeds=True):
    """The difference of kept runs with its interval, and something to get wrong."""
    key = key or (lambda run, k: (run["split"], run["groups"][k]))
    partner = {(run["split"], run["seed"]): run for run in old}
    rows, keys = {}, {}
    for run in new:
        other = partner[run["split"], run["seed"]]
        order = [other["clips"].index(clip) for clip in run["clips"]]
        order = order if aligned else range(len(order))
        rows.setdefault(run["seed"], []).append(run["right"] * 1.0 - other["right"][list(order)])
        keys[run["seed"]] = keys.get(run["seed"], []) + [
            str(key(run, k)) for k in range(len(order))
        ]
    values = np.array([np.concatenate(parts) for parts in rows.values()])
    keys = next(iter(keys.values()))
    return values.mean(), bootstrap_interval(values if seeds else values.mean(axis=0), keys)


def gain_by_name(new, old):
    """The same by a table of (split, group): seed: [differences], drawn in a loop."""
    found = {(run["split"], run["seed"], clip): hit for run in old
             for clip, hit in zip(run["clips"], run["right"])}  # fmt: skip
    table, rng, means = {}, np.random.default_rng(5), []
    for run in new:
        for clip, group, hit in zip(run["clips"], run["groups"], run["right"]):
            row = table.setdefault((run["split"], group), {0: [], 1: [], 2: []})
            row[run["seed"]].append(int(hit) - int(found[run["split"], run["seed"], clip]))
    sums = np.array([[sum(row[seed]) for seed in range(3)] for row in table.values()])
    for _ in range(20_000):
        groups = sums[rng.integers(len(sums), size=len(sums))]
        means.append(groups[:, rng.integers(3, size=3)].sum() / (12 * len(sums)))
    return sums.sum() / (12 * len(sums)), np.percentile(means, [2.5, 97.5])


def two_intervals(new, old):
    """Each method's own interval, the ends subtracted."""
    empty = [run | {"right": np.zeros(len(run["right"]), bool)} for run in new]
    (a, ends), (minus_b, minus_ends) = gain_by_rows(new, empty), gain_by_rows(empty, old)
    return a + minus_b, np.add(ends, minus_ends)


def pace_branch(cores, decode_ms, gpu_clips):
    seconds = decode_ms / 1000 / cores
    return gpu_clips if seconds < 1 / gpu_clips else 1 / seconds


share_slice = lambda rank, processes, n: list(range(n))[rank::processes]
share_blocks = lambda rank, processes, n: np.array_split(np.arange(n), processes)[rank]


def share_rounded_up(rank, processes, n):
    size = math.ceil(n / processes)
    return range(rank * size, min(n, (rank + 1) * size))


def share_padded(rank, processes, n):
    return [k % n for k in range(rank, processes * math.ceil(n / processes), processes)]


scaled_in_place = lambda gradient, scale: gradient.mul_(scale).half().float() / scale


RIGHT = {
    nb07.choose_weights: [weights_loop, weights_torch],
    nb05.views: [views_mean, views_loop],
    nb05.bootstrap: [bootstrap_table, bootstrap_loop],
    nb05.confusion: [confusion_loop, confusion_bincount],
    nb09.difference_interval: [gain_by_rows, gain_by_name],
    nb11.pace: [lambda c, ms, gpu: min(1000 * c / ms, gpu), pace_branch],
    nb11.scaled: [
        lambda g, s: (g * s).half().float() / s,
        lambda g, s: torch.mul(g, s).to(torch.float16).to(torch.float32).div(s),
        lambda g, s: np.float32((g.numpy() * np.float32(s)).astype(np.float16)) / np.float32(s),
    ],
    nb11.share: [lambda r, p, n: range(r, n, p), share_slice, share_blocks],
}

WRONG = {
    nb07.choose_weights: [
        (lambda a, b, y: weights_loop(a, b, y)[::-1], "the other way round"),
        (weights_by(lambda f, y: (f.argmax(1) == y).mean()), "accuracy"),
        (weights_by(lambda f, y: f[range(len(y)), y].mean()), "logarithm of each"),
        (weights_by(lambda f, y: -np.log(f[range(len(y)), y]).mean()), "highest loss"),
        (lambda a, b, y: (0.5, 0.5), "Half and half"),
        (lambda a, b, y: weights_loop(a, b, y)[1], "both weights"),
    ],
    nb05.views: [
        (lambda x: x[:, 0].argmax(1), "first view"),
        (lambda x: [np.bincount(row).argmax() for row in x.argmax(2)], "vote"),
        (lambda x: x.max(1).argmax(1), "surest view"),
        (lambda x: views_mean(np.exp(x) / np.exp(x).sum(2, keepdims=True)), "Softmax"),
        (lambda x: views_mean(-x), "lowest"),
        (lambda x: x.mean(1), "mean logits"),
        (lambda x: x.argmax(2), "each view"),
    ],
    nb05.bootstrap: [
        (lambda h, n, rng: bootstrap_of(h, n, rng, replace=False), "without replacement"),
        (percentile, "np.percentile counts in per cent"),
        (lambda h, n, rng: bootstrap_of(h, n, rng, tail=0.05), "90 %"),
        (lambda h, n, rng: bootstrap_of(h, n, rng, tail=0.005), "99 %"),
        (lambda h, n, rng: bootstrap_of(h, n, rng, size=len(h) // 2), "too small"),
        (lambda h, n, rng: np.quantile(rng.choice(h, n).astype(float), [0.025, 0.975]), "single"),
        (lambda h, n, rng: bootstrap_table(~h, n, rng), "around 0.8"),
    ],
    nb05.confusion: [
        (lambda p, t, c: confusion_loop(t, p, c), "swapped"),
        (
            lambda p, t, c: (
                confusion_loop(p, t, c) / confusion_loop(p, t, c).sum(1).clip(1)[:, None]
            ),
            "shares",
        ),
        (lambda p, t, c: (confusion_loop(p, t, c) > 0).astype(int), "only once"),
        (lambda p, t, c: np.diag(np.bincount(t[t == p], minlength=c)), "diagonal"),
    ],
    nb09.difference_interval: [
        (lambda a, b: gain_by_rows(a, b, aligned=False), "by name, not by place"),
        (lambda a, b: gain_by_rows(a, b, key=lambda run, k: run["clips"][k]), "drawn, not groups"),
        (lambda a, b: gain_by_rows(a, b, key=lambda run, k: run["groups"][k]), "into the key"),
        (lambda a, b: gain_by_rows(a, b, seeds=False), "averaged away"),
        (lambda a, b: gain_by_rows(b, a), "sign"),
        (two_intervals, "two intervals"),
        (lambda a, b: gain_by_rows(a, b)[0], "Return the mean difference"),
        (lambda a, b: [100 * np.asarray(x) for x in gain_by_rows(a, b)], "per cent"),
    ],
    nb11.pace: [
        (lambda c, ms, gpu: max(1000 * c / ms, gpu), "slower one"),
        (lambda c, ms, gpu: 1000 * c / ms + gpu, "do not add up"),
        (lambda c, ms, gpu: min(c / ms, gpu), "1000 ms"),
        (lambda c, ms, gpu: 1 / (ms / 1000 / c + 1 / gpu), "load ahead"),
        (lambda c, ms, gpu: min(1000 / ms, gpu), "one core's"),
        (lambda c, ms, gpu: 1000 * c / ms, "faster side"),
        (lambda c, ms, gpu: 7, "you said 7"),
    ],
    nb11.scaled: [
        (lambda g, s: (g * s).half(), "float16"),
        (lambda g, s: (g * s).half().float(), "never taken out"),
        (lambda g, s: g.half().float() * s / s, "scale before the cast"),
        (lambda g, s: ((g * s).half() / s).float(), "float32 again"),
        (lambda g, s: g, "shows nothing"),
        (lambda g, s: (g / s).half().float() * s, "divided first"),
        (scaled_in_place, "was changed"),
    ],
    nb11.share: [
        (share_padded, "more than once with 7 clips"),
        (share_rounded_up, "the most"),
        (lambda r, p, n: range(r, n - n % p, p), "scored by nobody with 7"),
        (lambda r, p, n: range(r + 1, n + 1, p), "scored by nobody"),
        (lambda r, p, n: range(n), "more than once"),
        (lambda r, p, n: range(r, n + p, p), "no clip"),
    ],
}
