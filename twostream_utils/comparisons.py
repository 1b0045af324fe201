"""Kept comparisons: the scores and learning curves of many trainings, read back and compared."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from .evaluation import bootstrap_interval, correct

KEPT = Path(__file__).resolve().parents[1] / "benchmarks" / "ablations"


def load_run(path: str | Path) -> dict:
    """Return ``clips``, ``labels``, ``logits`` ``(N, classes)`` float32, ``classes``, ``history``
    and ``meta`` (variant, seed, split, commit, versions) of one training. The file holds no code.
    """
    with np.load(path, allow_pickle=False) as f:
        content = {key: f[key] for key in f.files}
    return content | {
        "logits": content["logits"].astype(np.float32),
        "history": json.loads(str(content["history"])),
        "meta": json.loads(str(content["meta"])),
    }


def load_group(group: str, profile: str | None = None) -> dict[str, list[dict]]:
    """Return the runs of a group by variant, each list by seed and split.

    Raises ``FileNotFoundError`` naming the folder and the command that makes it.
    """
    runs = [load_run(path) for path in sorted((KEPT / group).glob("*.npz"))]
    runs = [run for run in runs if profile in (None, run["meta"]["profile"])]
    if not runs:
        raise FileNotFoundError(f"no kept runs in {KEPT / group}; make them with: make ablations")
    variants = defaultdict(list)
    for run in sorted(runs, key=lambda r: (r["meta"]["seed"], r["meta"]["split"])):
        variants[run["meta"]["variant"]].append(run)
    return dict(variants)


def hits_by_seed(runs: list[dict]) -> np.ndarray:
    """Return ``(seeds, clips)`` bool: which clips were right; the clips of all splits in a row."""
    seeds = defaultdict(list)
    for run in runs:
        seeds[run["meta"]["seed"]].append(correct(run["logits"], run["labels"]))
    return np.array([np.concatenate(rows) for rows in seeds.values()])


def top1(runs: list[dict]) -> tuple[float, tuple[float, float], list[float]]:
    """Return the mean top-1 over seeds, its interval over clips, and the top-1 of each seed.

    A clip's value is its mean over the seeds (bootstrap, 95 %).
    """
    hits = hits_by_seed(runs)
    return float(hits.mean()), bootstrap_interval(hits.mean(axis=0)), hits.mean(axis=1).tolist()


def gain(runs: list[dict], baseline: list[dict]) -> tuple[float, tuple[float, float]]:
    """Return the top-1 of ``runs`` minus that of ``baseline``, seeds and clips paired.

    Only seeds that both have count. Raises ``ValueError`` for other test clips or no common seed.
    """
    common = {r["meta"]["seed"] for r in runs} & {r["meta"]["seed"] for r in baseline}
    a, b = ([r for r in side if r["meta"]["seed"] in common] for side in (runs, baseline))
    names = [[(r["meta"]["seed"], *r["clips"]) for r in side] for side in (a, b)]
    if not common or names[0] != names[1]:
        raise ValueError(
            f"{runs[0]['meta']['variant']!r} and {baseline[0]['meta']['variant']!r} were not "
            f"tested on the same clips with the same seeds"
        )
    difference = (hits_by_seed(a).astype(float) - hits_by_seed(b)).mean(axis=0)
    return float(difference.mean()), bootstrap_interval(difference)


def curves(runs: list[dict], key: str = "val_top1") -> np.ndarray:
    """Return one value of the learning curve for each seed and epoch, ``(seeds, epochs)``."""
    return np.array([[row[key] for row in run["history"]] for run in runs])
