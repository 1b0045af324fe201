"""results.json: what all methods of a course reach, with intervals; are two scores of one test?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from ..course import INPUTS, Course
from ..device import PRECISIONS
from ..evaluation import Scores, bootstrap_interval, correct
from ..files import atomic_write
from ..training import load_checkpoint
from .kept import KEPT, load

SAME = "profile", "split", "seed", "n_train", "n_test"

FEW = 30  # clips of which a percentage would promise more than they can tell


def share(right: Sequence[bool]) -> str:
    """Say how many are right: ``"2 of 3 clips"`` of fewer than :data:`FEW`, else in percent."""
    right = np.asarray(right)
    return f"{right.sum()} of {len(right)} clips" if len(right) < FEW else f"{right.mean():.1%}"


def check_same_clips(a: Scores, b: Scores) -> None:
    """Raise ``ValueError``, naming where two scores' classes, clips or labels part, if they do."""
    for what in "classes", "clips", "labels":
        one, two = getattr(a, what), getattr(b, what)
        for number, (x, y) in enumerate(zip_longest(one, two), 1):
            if x != y:
                raise ValueError(
                    f"scores of different {what}, {len(one)} and {len(two)}: number {number} is "
                    f"{x} in the first and {y} in the second"
                )


def summary(
    scores: np.ndarray, labels: np.ndarray, seconds: float, groups: Sequence | None = None
) -> dict:
    """Return ``{"top1", "ci95", "top5", "seconds"}``, fractions of 1, of one method."""
    hits = correct(scores, labels)
    return {
        "top1": float(hits.mean()),
        "ci95": list(bootstrap_interval(hits, groups)),
        "top5": float(correct(scores, labels, k=5).mean()),
        "seconds": round(float(seconds), 2),
    }


def sessions(checkpoint: Path) -> list[dict[str, str]]:
    """Return ``{"device", "precision", "torch"}`` of each session of a training, like ones once."""
    state = load_checkpoint(checkpoint, mmap=True) if checkpoint.exists() else {}
    return state.get("trained_with", [])  # the weights are not read


def trained_with(course: Course) -> dict[str, str]:
    """Return ``{"device", "precision", "torch"}`` of all trainings, as the checkpoints say."""
    found = [s for name in INPUTS for s in sessions(course.checkpoint(name))]
    found = [s | {"precision": PRECISIONS[s["precision"]]} for s in found]
    return {
        what: " and ".join(dict.fromkeys(s[what] for s in found)) or "not recorded"
        for what in ("device", "precision", "torch")
    }


def results(course: Course) -> dict:
    """Return the content of ``results.json``, computed from the score files."""
    groups = course.groups(course.dataset("test").clips)
    methods = {key: summary(*values, groups) for key, values in course.method_scores().items()}
    made = trained_with(course)  # after them: what is missing was trained just now
    return {
        "profile": course.profile.name, "split": course.split, "n_train": len(course.train),
        "n_val": len(course.val), "n_test": len(course.test), "classes": course.classes,
        "seed": course.seed, "torch": made["torch"],
        "device": f"{made['device']}, {made['precision']}", "methods": methods,
    }  # fmt: skip


def write_results(course: Course) -> Path:
    """Write ``results.json`` to the course's ``run_dir`` and return its path."""
    path = course.run_dir / "results.json"
    with atomic_write(path) as part:
        part.write_text(json.dumps(results(course), indent=2) + "\n")
    return path


def keep_as_elsewhere(course: Course) -> dict:
    """Add what a course comes to with this machine, precision and threads; return the figures."""
    found, path = results(course), KEPT / "elsewhere.json"
    rows = [row for row in load(path).get("runs", []) if row["device"] != found["device"]]
    with atomic_write(path) as part:
        part.write_text(json.dumps({"runs": [*rows, found]}, indent=1) + "\n", encoding="utf-8")
    return found


def elsewhere(found: dict) -> tuple[int, dict[str, tuple[float, float]]]:
    """Number of runs like ``found``, itself included, and each method's lowest and highest top-1.

    Like it are the kept ones of the same split, seed and clips: with other threads, in another
    precision, on another machine. None of them makes another draw, and yet their figures differ.
    """
    kept = [load(KEPT / "readme_results.json"), *load(KEPT / "elsewhere.json").get("runs", [])]
    same = [run for run in (found, *kept) if run and all(run[k] == found[k] for k in SAME)]
    tops = [{key: method["top1"] for key, method in run["methods"].items()} for run in same]
    runs = [run for k, run in enumerate(tops) if run not in tops[:k]]  # here is where it was kept
    every = [key for key in tops[0] if all(key in run for run in runs)]
    return len(runs), {key: (min(r[key] for r in runs), max(r[key] for r in runs)) for key in every}
