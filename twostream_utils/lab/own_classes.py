"""Train on your own classes: a folder of videos → a course of its own, and a look at groups."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from ..course import Course
from ..data.extract import make_shards
from ..profiles import get_profile
from ..store import FrameStore


def own_classes(
    videos: str | os.PathLike, folder: str | os.PathLike, *, seed: int = 0, **changes
) -> Course:
    """Make a course of ``<videos>/<class>/<clip>.mp4``, ready to train.

    The sizes are those of the profile ``"folder"`` with ``changes`` to them, e.g.
    ``group_pattern="^([a-z]+)_"``. Frames and flow go to ``<folder>/shards`` and networks to
    ``<folder>/runs``; both are used again if nothing has changed. Prints what was left out and
    every warning of :func:`group_warnings`.

    Raises ``FileNotFoundError`` for no videos and ``ValueError`` for fewer than three groups.
    """
    profile = get_profile("folder", **changes)
    folder = Path(folder)
    make_shards(videos, folder / "shards", profile)
    store = FrameStore(folder / "shards", cache_gb=profile.cache_gb)
    course = Course(profile, store, folder / "runs", seed=seed)
    for warning in group_warnings(course):
        print(f"warning: {warning}")
    return course


def group_warnings(course: Course) -> list[str]:
    """Say what makes the figures of a course untrustworthy: missing groups, classes in one part.

    A group is what must not be torn apart: clips of one person, one place, one afternoon. Without
    groups, twins of training clips are in the test, and the figure says how well the network
    remembers.
    """
    store = course.store
    parts = {"training": course.train, "test": course.test}
    clips = [clip for part in parts.values() for clip in part]
    alone = sum(store.group(clip) == clip for clip in clips)
    found = []
    if alone:
        found.append(
            f"no group is known for {alone} of {len(clips)} clips, so each of these is its own. If "
            "two show the same person or place, one may be in training and the other in the test, "
            "and the test flatters. Put the group into the name (wave_g01_c02.mp4), or give "
            "group_pattern (with make: GROUPS)"
        )
    for name, part in parts.items():
        if missing := sorted(set(course.classes) - {store.label(clip) for clip in part}):
            found.append(
                f"no {name} clip of {', '.join(missing)}: film it in more groups (persons, places)"
            )
    if len(course.test) < 30:
        share = 1 / max(len(course.test), 1)
        found.append(f"only {len(course.test)} test clips: one clip more or less is {share:.0%}")
    return found


def export_videos(store: FrameStore, clips: Iterable[str], folder: str | os.PathLike) -> Path:
    """Write clips as ``<folder>/<class>/<clip>.avi`` (Motion JPEG, 25 per second); return folder.

    Files that are there are left alone. Raises ``OSError`` if OpenCV cannot write the file.
    """
    folder = Path(folder)
    for clip in clips:
        path = folder / store.label(clip) / f"{clip}.avi"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{clip}.partial.avi")
        height, width = store.size(clip)
        video = cv2.VideoWriter(str(aside), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (width, height))
        if not video.isOpened():
            raise OSError(f"OpenCV cannot write {path}: is the folder writable, the disk full?")
        for frame in store.read_rgb(clip, range(1, store.n_frames(clip) + 1)):
            video.write(np.ascontiguousarray(frame[..., ::-1]))
        video.release()
        os.replace(aside, path)
    return folder
