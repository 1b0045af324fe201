"""Right and wrong answers to exercises: scores, intervals and speed (04, 06, 08, 10)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import math

import numpy as np
import torch

from twostream_utils.evaluation import bootstrap_interval
from twostream_utils.lab.exercises import nb09, nb11


def percentile(values, draws, rng):
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return np.percentile(means, [0.025, 0.975])


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
