"""Accuracy over several splits and seeds, with intervals over the clips.

    python benchmarks/accuracy.py mini --seeds 0 1 2
    python benchmarks/accuracy.py weizmann --splits 1 2 3 --data VIDEOS

Trains (or loads) the networks of each split and seed, and pools the test clips: each row is the
top-1 over all test clips of all splits, averaged over the seeds; the interval is a bootstrap over
clips (a clip's value is its mean over the seeds).
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
from twostream_utils.evaluation import bootstrap_interval, correct, write_json

METHODS = ("spatial", "temporal", "average_fusion", "conv_fusion")


def collect(profile: str, splits: list[int], seeds: list[int]) -> tuple[dict, dict, dict]:
    """Return hits ``{method: (seeds, clips)}``, top-1 per run, and seconds per method."""
    hits: dict[str, list] = {method: [] for method in METHODS}
    runs, seconds = {}, dict.fromkeys(METHODS, 0.0)
    for seed in seeds:
        folds = []
        for split in splits:
            course = setup(profile, split=split, seed=seed, quiet=True)
            methods = course.method_scores()
            right = {m: correct(scores, labels) for m, (scores, labels, _) in methods.items()}
            for method, (_, _, spent) in methods.items():
                seconds[method] += spent
            runs[f"split {split} seed {seed}"] = {m: float(r.mean()) for m, r in right.items()}
            print(
                f"split {split} seed {seed}: "
                + ", ".join(f"{m} {100 * r.mean():.1f}" for m, r in right.items()),
                flush=True,
            )
            folds.append(right)
        for method in METHODS:
            hits[method].append(np.concatenate([fold[method] for fold in folds]))
    return {m: np.array(rows, float) for m, rows in hits.items()}, runs, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("profile")
    parser.add_argument("--splits", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path, help="folder of class folders with videos")
    options = parser.parse_args()
    if options.data:
        os.environ["TWOSTREAM_DATA"] = str(options.data.resolve())
    os.environ["TWOSTREAM_PROFILE"] = options.profile

    began = time.perf_counter()
    hits, runs, seconds = collect(options.profile, options.splits, options.seeds)
    clips = hits["spatial"].shape[1]
    better = max(("spatial", "temporal"), key=lambda m: hits[m].mean())
    rows = {}
    print(f"\n{options.profile}: {clips} test clips, splits {options.splits}, "
          f"seeds {options.seeds}")  # fmt: skip
    for method, values in hits.items():
        low, high = bootstrap_interval(values.mean(axis=0))
        rows[method] = {"top1": float(values.mean()), "ci95": [low, high],
                        "seconds": round(seconds[method], 1)}  # fmt: skip
        line = f"  {method:15s} {100 * values.mean():5.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        if method.endswith("fusion"):
            gain = (values - hits[better]).mean(axis=0)
            low, high = bootstrap_interval(gain)
            rows[method] |= {"gain": float(gain.mean()), "gain_ci95": [low, high]}
            line += f"   {100 * gain.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            line += f" over {better}"
        print(line)
    wall = time.perf_counter() - began
    print(
        f"  {wall:.0f} s in this run; training and scoring took {seconds['average_fusion']:.0f} s "
        f"for average fusion, {seconds['conv_fusion']:.0f} s for everything"
    )
    write_json(
        ROOT / "benchmarks" / f"accuracy_{options.profile}.json",
        {
            "profile": options.profile,
            "splits": options.splits,
            "seeds": options.seeds,
            "clips": clips,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "methods": rows,
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
