"""Accuracy over several splits and seeds, with intervals over seeds and clips.

    python -m twostream_utils.experiments.accuracy mini --splits 1 2 3 --seeds 0 1 2
    python -m twostream_utils.experiments.accuracy weizmann --splits 1 2 3 --data VIDEOS
    torchrun --nproc-per-node 2 -m twostream_utils.experiments.accuracy ucf20    # on two GPUs

Trains (or loads) the networks of each split and seed, and pools the test clips: each row is the
top-1 over all test clips of all splits, averaged over the seeds; "by_split" has each split alone.
Intervals are a bootstrap over seeds and clips (`kept.interval`). Rows are the profile's own
test views; "views" has the same for a single view and for each of `--crops`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from twostream_utils.course import Course
from twostream_utils.device import PRECISIONS, mixed_precision, pick_device, processes
from twostream_utils.evaluation import correct, write_json
from twostream_utils.fusion import METHODS
from twostream_utils.lab.kept import interval
from twostream_utils.lab.start import ROOT, setup

CROPS = "centre", "five"
PAIRS = (  # what is compared on the same clips, the second taken from the first
    ("average_fusion", "better stream"), ("logit_average", "better stream"),
    ("conv_fusion", "better stream"), ("logit_average", "average_fusion"),
    ("conv_fusion", "average_fusion"), ("conv_fusion", "logit_average"),
)  # fmt: skip


def hits(course: Course, crops: str) -> tuple[dict, dict]:
    """Which test clips each method has right, ``{method: (N,) bool}``, and seconds by method.

    ``crops="single"`` is the middle position as is, cut from the centre: one view of a clip.
    """
    if crops == "single":
        middle = 2 * (course.profile.positions // 2)
        methods = course.method_scores("centre", view=middle)
    else:
        methods = course.method_scores(crops)
    right = {m: correct(scores, labels) for m, (scores, labels, _) in methods.items()}
    return right, {m: seconds for m, (*_, seconds) in methods.items()}


def pooled(found: dict[tuple[int, int], dict], seeds: list[int]) -> dict[str, np.ndarray]:
    """Join the splits of each seed: ``{method: (seeds, clips)}`` float."""
    return {
        method: np.array(
            [np.concatenate([h[method] for (_, s), h in found.items() if s == seed])
             for seed in seeds], float,
        )
        for method in METHODS
    }  # fmt: skip


def summary(values: np.ndarray) -> dict:
    """Mean and interval of ``(seeds, clips)``, as they are written to the file."""
    return {"top1": float(values.mean()), "ci95": list(interval(values))}


def report(found: dict[str, dict], own: str, seeds: list[int]) -> dict:
    """All figures from which clips were right, ``{crops: {(split, seed): {method: (N,) bool}}}``.

    ``own`` are the profile's crops. A difference is that of :data:`PAIRS`, paired by clip.
    """
    values = pooled(found[own], seeds)
    better = max(("spatial", "temporal"), key=lambda m: values[m].mean())
    differences = {}
    for new, old in PAIRS:
        change = values[new] - values[better if old == "better stream" else old]
        differences[f"{new} − {old}"] = {"gain": float(change.mean())} | {
            "ci95": list(interval(change)), "each_seed": change.mean(axis=1).tolist(),
        }  # fmt: skip
    splits = dict.fromkeys(split for split, _ in found[own])
    alone = {
        k: pooled({key: h for key, h in found[own].items() if key[0] == k}, seeds) for k in splits
    }
    return {
        "clips": values["spatial"].shape[1],
        "better": better,
        "methods": {m: summary(right) for m, right in values.items()},
        "differences": differences,
        "by_split": {
            str(k): {"clips": rows["spatial"].shape[1]} | {m: summary(r) for m, r in rows.items()}
            for k, rows in alone.items()
        },
        "views": {
            crops: {m: float(r.mean()) for m, r in pooled(h, seeds).items()}
            for crops, h in found.items()
        },
        **{
            title: {
                f"split {split} seed {seed}": {m: float(r.mean()) for m, r in right.items()}
                for (split, seed), right in found[crops].items()
            }
            for title, crops in (("runs", own), ("runs, one view", "single"))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("profile")
    parser.add_argument("--splits", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--crops", nargs="+", default=list(CROPS), help="further views")
    parser.add_argument("--data", type=Path, help="folder of class folders with videos")
    options = parser.parse_args()
    if options.data:
        os.environ["TWOSTREAM_DATA"] = str(options.data.resolve())
    os.environ["TWOSTREAM_PROFILE"] = options.profile

    began = time.perf_counter()
    found: dict[str, dict] = {}
    seconds = dict.fromkeys(METHODS, 0.0)
    for seed in options.seeds:
        for split in options.splits:
            course = setup(options.profile, split=split, seed=seed, quiet=True)
            own = course.profile.crops
            for crops in dict.fromkeys([own, "single", *options.crops]):
                right, spent = hits(course, crops)
                found.setdefault(crops, {})[split, seed] = right
                if crops == own:
                    seconds = {m: seconds[m] + spent[m] for m in METHODS}
            line = ", ".join(
                f"{m} {100 * r.mean():.1f}" for m, r in found[own][split, seed].items()
            )
            print(f"split {split} seed {seed}: {line}", flush=True)

    if processes()[0]:  # of several, the first one reports
        return
    figures = report(found, own, options.seeds)
    for method, row in figures["methods"].items():
        row["seconds"] = round(seconds[method], 1)
    print(
        f"\n{options.profile}: {figures['clips']} test clips, splits {options.splits}, seeds "
        f"{options.seeds}, {course.profile.positions} positions x flip x {own}"
    )
    for method, row in figures["methods"].items():
        low, high = row["ci95"]
        print(f"  {method:15s} {100 * row['top1']:5.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    for name, row in figures["differences"].items():
        low, high = row["ci95"]
        print(f"  {name:40s} {100 * row['gain']:+5.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
    for crops, row in figures["views"].items():
        print(f"  {crops:7s} views: " + ", ".join(f"{m} {100 * v:.1f}" for m, v in row.items()))
    print(
        f"  {time.perf_counter() - began:.0f} s in this run; training and scoring took "
        f"{seconds['average_fusion']:.0f} s for average fusion, {seconds['conv_fusion']:.0f} s for "
        "everything"
    )
    write_json(
        ROOT / "notebooks" / "kept" / f"accuracy_{options.profile}.json",
        {
            "profile": options.profile,
            "splits": options.splits,
            "seeds": options.seeds,
            "torch": torch.__version__,
            "precision": PRECISIONS[mixed_precision(pick_device())],
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "crops": own,
            **figures,
        },
    )


if __name__ == "__main__":
    main()
