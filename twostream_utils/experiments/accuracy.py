"""Accuracy over several splits and seeds, with intervals over seeds and clips.

    python -m twostream_utils.experiments.accuracy mini --splits 1 2 3 --seeds 0 1 2
    python -m twostream_utils.experiments.accuracy weizmann --splits 1 2 3 --data VIDEOS
    torchrun --nproc-per-node 2 -m twostream_utils.experiments.accuracy ucf20    # on two GPUs

Trains (or loads) the networks of each split and seed, and pools the test clips: each row is the
top-1 over all test clips of all splits, averaged over the seeds; "by_split" has each split alone.
Rows are the profile's own test views; "views" has the same for a single view, the centre and five
crops. The figures go to notebooks/kept/accuracy_<profile>.json.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ..course import Course
from ..device import PRECISIONS, mixed_precision, pick_device, processes
from ..evaluation import bootstrap_interval, correct, write_json
from ..fusion import METHODS
from ..lab.start import ROOT, setup

FUSED = [name for name, method in METHODS.items() if len(method.networks) > 1]
# What is compared on the same clips, the second taken from the first.
PAIRS = [(name, "better stream") for name in FUSED] + [
    (new, old) for k, new in enumerate(FUSED) for old in FUSED[:k]
]
Found = dict[tuple[int, int], dict[str, np.ndarray]]  # (split, seed): method: which are right


def hits(course: Course, crops: str) -> tuple[dict, dict]:
    """Which test clips each method has right, ``{method: (N,) bool}``, and seconds by method.

    ``crops="single"`` is the middle position as is, cut from the centre: one view of a clip.
    """
    middle = 2 * (course.profile.positions // 2)
    views = {"crops": "centre", "view": middle} if crops == "single" else {"crops": crops}
    methods = course.method_scores(**views)
    right = {m: correct(scores, labels) for m, (scores, labels, _) in methods.items()}
    return right, {m: seconds for m, (*_, seconds) in methods.items()}


def pooled(found: Found) -> dict[str, np.ndarray]:
    """Join the splits of each seed: ``{method: (seeds, clips)}`` float."""
    seeds = dict.fromkeys(seed for _, seed in found)
    by_seed = [[right for (_, s), right in found.items() if s == seed] for seed in seeds]
    rows = {m: [np.concatenate([right[m] for right in each]) for each in by_seed] for m in METHODS}
    return {m: np.array(row, float) for m, row in rows.items()}


def with_interval(values: np.ndarray, name: str = "top1") -> dict:
    """Mean and interval of ``(seeds, clips)``, as they are written to the file."""
    return {name: float(values.mean()), "ci95": list(bootstrap_interval(values))}


def means(values: dict[str, np.ndarray]) -> dict[str, float]:
    return {method: float(right.mean()) for method, right in values.items()}


def report(found: dict[str, Found], own: str) -> dict:
    """All figures from which clips were right; ``own`` are the profile's crops."""
    values = pooled(found[own])
    better = max(("spatial", "temporal"), key=lambda m: values[m].mean())
    differences, by_split = {}, {}
    for new, old in PAIRS:
        change = values[new] - values[better if old == "better stream" else old]
        each = {"each_seed": change.mean(axis=1).tolist()}
        differences[f"{new} − {old}"] = with_interval(change, "gain") | each
    for split in dict.fromkeys(split for split, _ in found[own]):
        alone = pooled({key: right for key, right in found[own].items() if key[0] == split})
        rows = {m: with_interval(right) for m, right in alone.items()}
        by_split[str(split)] = {"clips": alone[better].shape[1]} | rows
    runs, single = (
        {f"split {s} seed {n}": means(right) for (s, n), right in found[crops].items()}
        for crops in (own, "single")
    )
    return {
        "clips": values[better].shape[1],
        "better": better,
        "methods": {m: with_interval(right) for m, right in values.items()},
        "differences": differences,
        "by_split": by_split,
        "views": {crops: means(pooled(right)) for crops, right in found.items()},
        "runs": runs,
        "runs, one view": single,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("profile")
    parser.add_argument("--splits", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path, help="folder of class folders with videos")
    options = parser.parse_args()
    os.environ["TWOSTREAM_PROFILE"] = options.profile
    if options.data:
        os.environ["TWOSTREAM_DATA"] = str(options.data.resolve())

    found: dict[str, Found] = defaultdict(dict)
    seconds = dict.fromkeys(METHODS, 0.0)
    for run in product(options.splits, options.seeds):
        course = setup(options.profile, split=run[0], seed=run[1], quiet=True)
        own = course.profile.crops
        for crops in dict.fromkeys([own, "single", "centre", "five"]):
            found[crops][run], spent = hits(course, crops)
            seconds = {m: seconds[m] + spent[m] * (crops == own) for m in METHODS}
        line = ", ".join(f"{m} {top1:.1%}" for m, top1 in means(found[own][run]).items())
        print(f"split {run[0]} seed {run[1]}: {line}", flush=True)

    if processes()[0]:  # of several, the first one reports
        return
    figures = report(found, own)
    for method, row in figures["methods"].items():
        row["seconds"] = round(seconds[method], 1)
    print(f"\n{options.profile}, {figures['clips']} test clips, "
          f"{course.profile.positions} positions x flip x {own}:")  # fmt: skip
    for name, row in (figures["methods"] | figures["differences"]).items():
        mean = row.get("top1", row.get("gain"))
        print("  {:40s} {:6.1%}  [{:.1%}, {:.1%}]".format(name, mean, *row["ci95"]))
    for crops, row in figures["views"].items():
        print(f"  {crops:7s} views: " + ", ".join(f"{m} {top1:.1%}" for m, top1 in row.items()))
    made = {
        "profile": options.profile, "splits": options.splits, "seeds": options.seeds,
        "torch": torch.__version__, "precision": PRECISIONS[mixed_precision(pick_device())],
        "python": platform.python_version(), "cores": os.cpu_count(), "crops": own,
    }  # fmt: skip
    write_json(ROOT / "notebooks" / "kept" / f"accuracy_{options.profile}.json", made | figures)


if __name__ == "__main__":
    main()
