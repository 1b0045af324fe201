"""Right and wrong answers to the exercise on intervals (09)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import numpy as np

from twostream_utils.evaluation import bootstrap_interval
from twostream_utils.lab.exercises import nb09


def gain_by_rows(new, old, aligned=True, key=None, seeds=True):
    """The difference of kept runs with its interval, and something to get wrong."""
    key = key or (lambda run, k: (run["split"], run["groups"][k]))
    partner = {(run["split"], run["seed"]): run for run in old}
    rows, keys = {}, {}
    for run in new:
        other = partner[run["split"], run["seed"]]
        by_name = run["clips"] if aligned else other["clips"]
        order = [other["clips"].index(clip) for clip in by_name]
        rows.setdefault(run["seed"], []).append(run["right"] * 1.0 - other["right"][order])
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
    for _ in range(5_000):
        groups = sums[rng.integers(len(sums), size=len(sums))]
        means.append(groups[:, rng.integers(3, size=3)].sum() / (12 * len(sums)))
    return sums.sum() / (12 * len(sums)), np.percentile(means, [2.5, 97.5])


def gain_by_place(new, old):
    """The first run of one file minus the first of the other, whatever they are."""
    old = [b | {"split": a["split"], "seed": a["seed"]} for a, b in zip(new, old)]
    return gain_by_rows(new, old, aligned=False)


def two_intervals(new, old):
    """Each method's own interval, the ends subtracted."""
    empty = [run | {"right": np.zeros(len(run["right"]), bool)} for run in new]
    (a, ends), (minus_b, minus_ends) = gain_by_rows(new, empty), gain_by_rows(empty, old)
    return a + minus_b, np.add(ends, minus_ends)


RIGHT = {
    nb09.difference_interval: [gain_by_rows, gain_by_name],
}

WRONG = {
    nb09.difference_interval: [
        (lambda a, b: gain_by_rows(a, b, aligned=False), "by name, not by place"),
        (gain_by_place, "one split and seed"),
        (lambda a, b: gain_by_rows(a, b, key=lambda run, k: run["clips"][k]), "drawn, not groups"),
        (lambda a, b: gain_by_rows(a, b, key=lambda run, k: run["groups"][k]), "into the key"),
        (lambda a, b: gain_by_rows(a, b, seeds=False), "averaged away"),
        (lambda a, b: gain_by_rows(b, a), "sign"),
        (two_intervals, "two intervals"),
        (lambda a, b: gain_by_rows(a, b)[0], "Return the mean difference"),
        (lambda a, b: gain_by_rows(a, b)[1], "Return the mean difference"),
        (lambda a, b: [100 * np.asarray(x) for x in gain_by_rows(a, b)], "per cent"),
    ],
}
