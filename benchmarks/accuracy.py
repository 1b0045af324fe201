"""Accuracy over several splits and seeds, with intervals over the clips.

    python benchmarks/accuracy.py mini --seeds 0 1 2
    python benchmarks/accuracy.py weizmann --splits 1 2 3 --crops centre five whole --data VIDEOS
    torchrun --nproc-per-node 2 benchmarks/accuracy.py ucf20    # on two GPUs

Trains (or loads) the networks of each split and seed, and pools the test clips: each row is the
top-1 over all test clips of all splits, averaged over the seeds; the interval is a bootstrap over
clips (a clip's value is its mean over the seeds). Rows are the profile's own test views; "views"
has the same for a single view and for each of `--crops`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from twostream_utils.course import ROOT, setup
from twostream_utils.device import PRECISIONS, mixed_precision, pick_device, processes
from twostream_utils.evaluation import bootstrap_interval, correct, write_json
from twostream_utils.pipeline import Course

METHODS = ("spatial", "temporal", "average_fusion", "conv_fusion")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("profile")
    parser.add_argument("--splits", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--crops", nargs="+", default=[], help="further views: centre five whole")
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
    views = {crops: pooled(h, options.seeds) for crops, h in found.items()}
    values = views[own]
    clips = values["spatial"].shape[1]
    both = seconds["spatial"] + seconds["temporal"]
    spent = dict(
        zip(METHODS, (seconds["spatial"], seconds["temporal"], both, sum(seconds.values())))
    )
    better = max(("spatial", "temporal"), key=lambda m: values[m].mean())
    print(
        f"\n{options.profile}: {clips} test clips, splits {options.splits}, seeds {options.seeds}, "
        f"{course.profile.positions} positions x flip x {own}"
    )
    rows = {}
    for method, right in values.items():
        low, high = bootstrap_interval(right.mean(axis=0))
        rows[method] = {
            "top1": float(right.mean()), "ci95": [low, high], "seconds": round(seconds[method], 1),
        }  # fmt: skip
        line = f"  {method:15s} {100 * right.mean():5.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        if method.endswith("fusion"):
            gain = (right - values[better]).mean(axis=0)
            low, high = bootstrap_interval(gain)
            rows[method] |= {"gain": float(gain.mean()), "gain_ci95": [low, high]}
            line += f"   {100 * gain.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            line += f" over {better}"
        print(line)
    top1 = {crops: {m: float(r.mean()) for m, r in rs.items()} for crops, rs in views.items()}
    for crops, row in top1.items():
        print(f"  {crops:7s} views: " + ", ".join(f"{m} {100 * v:.1f}" for m, v in row.items()))
    print(
        f"  {time.perf_counter() - began:.0f} s in this run; training and scoring took "
        f"{seconds['average_fusion']:.0f} s for average fusion, {seconds['conv_fusion']:.0f} s for "
        "everything"
    )
    runs = {
        f"split {split} seed {seed}": {m: float(r.mean()) for m, r in right.items()}
        for (split, seed), right in found[own].items()
    }
    write_json(
        ROOT / "benchmarks" / f"accuracy_{options.profile}.json",
        {
            "profile": options.profile,
            "splits": options.splits,
            "seeds": options.seeds,
            "clips": clips,
            "torch": torch.__version__,
            "precision": PRECISIONS[mixed_precision(pick_device())],
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "crops": own,
            "methods": rows,
            "views": top1,
            "runs": runs,
        },  # fmt: skip
    )


if __name__ == "__main__":
    main()
