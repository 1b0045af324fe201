"""Right and wrong answers to exercises: scores, intervals and speed (04, 06, 08, 10)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import math

import numpy as np
import torch

from twostream_utils.evaluation import bootstrap_interval
from twostream_utils.lab.exercises import nb07, nb09


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


def bootstrap_table(hits, draws, rng):
    means = hits[rng.integers(len(hits), size=(draws, len(hits)))].mean(axis=1)
    return np.quantile(means, [0.025, 0.975])


def bootstrap_of(values, draws, rng, tail=0.025, size=None, replace=True):
    """A bootstrap with something to get wrong."""
    values = np.asarray(values, dtype=float)
    means = [rng.choice(values, size or len(values), replace).mean() for _ in range(draws)]
    return np.quantile(means, [tail, 1 - tail])


paired_gain = lambda new, old, draws, rng: bootstrap_table(new.astype(float) - old, draws, rng)


def paired_loop(new, old, draws, rng):
    differences = []
    for _ in range(draws):
        at = rng.integers(len(new), size=len(new))
        differences.append(new[at].mean() - old[at].mean())
    return np.percentile(differences, 2.5), np.percentile(differences, 97.5)


def percentile(values, draws, rng):
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return np.percentile(means, [0.025, 0.975])


def unpaired(new, old, draws, rng):
    a, b = (x[rng.integers(len(x), size=(draws, len(x)))].mean(axis=1) for x in (new, old))
    return np.quantile(a - b, [0.025, 0.975])


def interval_ends(new, old, draws, rng):
    a, b = bootstrap_table(new, draws, rng), bootstrap_table(old, draws, rng)
    return a[0] - b[1], a[1] - b[0]


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


RIGHT = {
    nb07.choose_weights: [weights_loop, weights_torch],
    nb07.paired: [paired_gain, paired_loop],
    nb09.difference_interval: [gain_by_rows, gain_by_name],
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
    nb07.paired: [
        (unpaired, "apart"),
        (lambda a, b, n, rng: percentile(a * 1.0 - b, n, rng), "np.percentile counts in per cent"),
        (lambda a, b, n, rng: np.quantile(a * 1.0 - b, [0.025, 0.975]), "single clips"),
        (interval_ends, "two intervals"),
        (lambda a, b, n, rng: paired_gain(b, a, n, rng), "sign"),
        (lambda a, b, n, rng: bootstrap_table(a, n, rng), "accuracy of one method"),
        (lambda a, b, n, rng: bootstrap_of(a * 1.0 - b, n, rng, replace=False), "no width"),
        (lambda a, b, n, rng: bootstrap_of(a * 1.0 - b, n, rng, tail=0.05), "90 %"),
        (lambda a, b, n, rng: bootstrap_table(a & ~b, n, rng), "count −1"),
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
}
