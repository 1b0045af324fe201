"""What each lesson of the mini set is about: its own classes, in every way to fuse two streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..course import INPUTS, Course
from ..evaluation import Scores
from ..fusion import late_fusion, softmax
from ..lab.results import check_same_clips
from .fusions import svm_fusion

LESSONS = {
    "ring": ("FlapOffice", "ClapOffice", "ClapSchool", "CircleSchool", "CirclePark", "FlapPark"),
    "time": ("DrumFaster", "DrumSlower"),
    "where": ("WipeBoard", "WipeWindow"),
}


def columns(lesson: str, classes: Sequence[str]) -> list[int]:
    """Return the numbers of a lesson's classes; empty in data that do not have all of them."""
    names = LESSONS[lesson]
    return [classes.index(name) for name in names] if set(names) <= set(classes) else []


def only(scores: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return ``scores`` ``(N, classes)`` where no class but ``classes`` can win."""
    return np.where(np.isin(np.arange(scores.shape[1]), classes), scores, -np.inf)


def ways(
    spatial: np.ndarray, temporal: np.ndarray, conv: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return ``{way: scores (N, classes)}`` of every way to use the networks' logits.

    ``held_out`` = (spatial, temporal, labels) of clips that neither was trained on: the SVM learns
    from them, and without them there is none.
    """
    found = {
        "spatial": spatial,
        "temporal": temporal,
        "average of softmax": late_fusion(spatial, temporal),
        "average of logits": late_fusion(spatial, temporal, space="logit"),
        "product": softmax(spatial) * softmax(temporal),
    }
    if held_out is not None:
        found["SVM"] = svm_fusion(held_out[:2], held_out[2], spatial, temporal)
    return found | {"conv": conv}


def of_course(course: Course) -> tuple[dict[str, np.ndarray], Scores]:
    """Return :func:`ways` of a course on its test clips, and scores with their labels and names.

    Networks that are missing are trained. The SVM learns from the validation clips.
    """
    scores = {name: course.scores(name) for name in INPUTS}
    for name in scores:
        check_same_clips(scores["spatial"], scores[name])
    held_out = None
    if course.val:
        a, b = course.scores("spatial", "val"), course.scores("temporal", "val")
        held_out = a.clip_logits(), b.clip_logits(), a.labels
    return ways(*(s.clip_logits() for s in scores.values()), held_out), scores["spatial"]
