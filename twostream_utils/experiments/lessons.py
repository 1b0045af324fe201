"""What each lesson of the mini set is about: its own classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
