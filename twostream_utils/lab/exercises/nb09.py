"""Checkers of notebook 09: how many groups a test needs, an interval for a difference."""

import copy

import numpy as np

from .checking import ExerciseError, as_array, checker, number_in, number_question, returned, shown

__all__ = ["groups_needed", "difference_interval", "shown"]

groups_needed = number_question(
    "630: the width falls with the square root, so a third of it costs nine times the groups.",
    right=630,
    tolerance=2,
    slips={
        "Three times the groups make it narrower by √3 only, 5.2 points": 210,
        "The width falls with √groups, so the groups grow with the square of 3": 70 * 3**0.5,
        "That counts clips, four a group; groups were asked for": 2520,
        "That is how many more; the whole test was asked for": 560,
        "Fewer groups make it wider": 70 / 9,
    },
)


def _runs() -> tuple[list[dict], list[dict]]:
    """Kept runs of two methods: 2 splits, 3 seeds, 20 groups of 4 clips, in another order each.

    Clips of a group share their difficulty, one seed of the new method is luckier than the others,
    and what a group gains in one split it loses in the other.
    """
    rng = np.random.default_rng(3)
    new, old = [], []
    number = np.repeat(np.arange(20), 4)
    groups = np.array([f"g{k:02d}" for k in number])
    for split in (1, 2):
        clips = [f"v_s{split}_{group}_c{k % 4}" for k, group in enumerate(groups)]
        # groups 0 to 9 are hard in one split and easy in the other; 4 of 10 change sides
        hard = (number < 10) == (split == 1)
        changing = number % 10 < 4
        for seed in range(3):
            luck = (0.3, 0.4, 1.0)[seed]
            right = ~hard & (rng.random(80) > 0.05)
            gained = hard & changing & (rng.random(80) < luck)
            lost = ~hard & changing & (rng.random(80) < 0.3)
            better = (right | gained) & ~lost
            order = rng.permutation(80)
            run = {"split": split, "seed": seed, "variant": "new"}
            new.append(run | {"clips": list(clips), "groups": groups.tolist(), "right": better})
            old.append(run | {
                "variant": "old", "clips": [clips[k] for k in order],
                "groups": groups[order].tolist(), "right": right[order],
            })  # fmt: skip
    return new, old[::-1]


def _rows(runs: list[dict], aligned: bool = True) -> tuple[np.ndarray, list[tuple]]:
    """Right answers ``(seeds, clips)``, splits side by side, and the key of each column."""
    ordered = sorted(runs, key=lambda run: (run["seed"], run["split"]))
    parts: dict[int, list] = {}
    keys: list[tuple] = []
    for run in ordered:
        order = np.argsort(run["clips"]) if aligned else np.arange(len(run["clips"]))
        parts.setdefault(run["seed"], []).append(run["right"][order].astype(float))
        if run["seed"] == ordered[0]["seed"]:
            keys += [(run["split"], run["groups"][k]) for k in order]
    return np.array([np.concatenate(rows) for rows in parts.values()]), keys


def _ends(values: np.ndarray, keys: list, seeds: bool = True) -> np.ndarray:
    """The middle 95 % of 20,000 draws of seeds and of groups, by weights."""
    rng = np.random.default_rng(1)
    names = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    member = np.zeros((len(keys), len(names)))
    member[np.arange(len(keys)), [names[key] for key in keys]] = 1
    count = len(values)
    times = rng.multinomial(count, [1 / count] * count, 20_000) / count
    if not seeds:
        times[:] = 1 / count
    drawn = rng.multinomial(len(names), [1 / len(names)] * len(names), 20_000)
    means = ((times @ (values @ member)) * drawn).sum(1) / (drawn @ member.sum(0))
    return np.quantile(means, [0.025, 0.975])


@checker("Paired by clip, over groups and seeds: a difference, and how sure you may be of it.")
def difference_interval(answer):
    """``answer(new, old)``, kept runs of two methods → ``(mean difference, (low, high))``."""
    new, old = _runs()
    (a, keys), (b, _) = _rows(new), _rows(old)
    found = returned(answer(copy.deepcopy(new), copy.deepcopy(old)))
    try:
        mean, ends = found if len(found) == 2 else (found[0], found[1:])
        low, high = ends
    except (TypeError, ValueError):
        raise ExerciseError("Return the mean difference and its interval, (low, high)") from None
    mean, ends = number_in(mean, "the difference"), as_array(ends, "the interval").astype(float)
    wanted = (a - b).mean()
    if abs(mean + wanted) < 1e-6:
        raise ExerciseError("The sign is the other way round: the new method minus the old one")
    if abs(mean - 100 * wanted) < 1e-4:
        raise ExerciseError("Give fractions of 1, not per cent")
    if abs(mean - wanted) > 1e-6:
        raise ExerciseError(f"the difference is {mean:.4f}, expected {wanted:.4f}")
    right = _ends(a - b, keys)
    allowed = 0.06 * (right[1] - right[0])
    if np.abs(ends - right).max() <= allowed:
        return
    loose_a, loose_b = _rows(new, False)[0], _rows(old, False)[0]
    by_place = [b | {"split": a["split"], "seed": a["seed"]} for a, b in zip(new, old)]
    alone = _ends(a, keys), _ends(b, keys)
    slips = {
        "The clips stand in another order in the two files: subtract by name, not by place": (
            _ends(loose_a - loose_b, keys)
        ),
        "The runs stand in another order in the two files: pair those of one split and seed": (
            _ends(loose_a - _rows(by_place, False)[0], keys)
        ),
        "Clips were drawn, not groups: give bootstrap_interval the keys": (
            _ends(a - b, list(range(len(keys))))
        ),
        "The seeds were averaged away: give an array with a row for each seed": (
            _ends(a - b, keys, seeds=False)
        ),
        "g01 of split 1 and g01 of split 2 are two groups: put the split into the key": (
            _ends(a - b, [group for _, group in keys])
        ),
        "Those are the ends of two intervals, subtracted: draw the differences": (
            np.array([alone[0][0] - alone[1][1], alone[0][1] - alone[1][0]])
        ),
    }
    slip = min(slips, key=lambda name: np.abs(ends - slips[name]).max())
    if np.abs(ends - slips[slip]).max() <= allowed:
        raise ExerciseError(slip)
    raise ExerciseError(
        f"the interval is {ends[0]:.3f} to {ends[1]:.3f}, expected {right[0]:.3f} to {right[1]:.3f}"
    )
