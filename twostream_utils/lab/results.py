"""results.json: what all methods of a course reach, with intervals, and where it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..course import INPUTS, Course
from ..device import PRECISIONS
from ..evaluation import bootstrap_interval, correct
from ..files import atomic_write
from ..training import load_checkpoint


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
