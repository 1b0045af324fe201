"""Views: which frames of a clip a network sees, and which part of each. One for the whole clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .profiles import Profile


def span(profile: Profile) -> int:
    """Number of consecutive frames that one RGB stack and one flow stack cover together."""
    rgb = (profile.rgb_frames - 1) * profile.rgb_step + 1
    flow = (profile.flow_fields - 1) * profile.flow_step + 2  # a field needs the frame after it
    return max(rgb, flow)


def stack_positions(available: int, count: int, step: int, start: int = 1) -> np.ndarray:
    """Return the 1-based positions of a stack, ``(count,)`` int64.

    ``count`` positions ``step`` apart from ``start``. A clip that is too short loops: position
    ``available`` is followed by position 1. Raises ``ValueError`` for a clip without frames.
    """
    if available < 1 or count < 1 or step < 1 or start < 1:
        raise ValueError(
            f"a stack needs at least one frame, a count, a step and a start from 1 up; got "
            f"{available} frames, count {count}, step {step}, start {start}"
        )
    return (start - 1 + step * np.arange(count)) % available + 1


def view_starts(n_frames: int, covered: int, positions: int) -> list[int]:
    """Return ``positions`` 1-based starts, spread evenly over a clip of ``n_frames`` frames.

    One position is the middle of the clip; several reach from its start to its end
    (Simonyan & Zisserman 2014, §5 "Testing"). A clip shorter than ``covered`` starts at 1.
    """
    slack = max(n_frames - covered, 0)
    if positions == 1:
        return [1 + slack // 2]
    return [1 + round(slack * k / (positions - 1)) for k in range(positions)]


@dataclass(frozen=True)
class View:
    """What is seen of a clip: first frame (1-based), crop corner and side in px, mirrored or not.

    One view holds for every RGB frame and every flow field of the clip, so the two streams stay
    registered pixel by pixel: fusion at a convolutional layer needs that.
    """

    start: int
    top: int
    left: int
    side: int
    flip: bool


def random_view(
    rng: np.random.Generator, n_frames: int, size: tuple[int, int], profile: Profile
) -> View:
    """Draw a training view of a clip of ``n_frames`` frames of ``size`` = (height, width) px.

    Random start, random square of ``min_scale``..1 of the short side at a random place, mirrored
    half of the time (the scale jitter of Feichtenhofer et al. 2016, §4).
    """
    height, width = size
    side = round(min(height, width) * rng.uniform(profile.min_scale, 1.0))
    start = 1 + int(rng.integers(max(n_frames - span(profile), 0) + 1))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return View(start, int(top), int(left), side, bool(rng.random() < 0.5))


def eval_views(
    n_frames: int, size: tuple[int, int], profile: Profile, crops: str = "centre"
) -> list[View]:
    """Return the fixed test views: ``profile.positions`` starts × {as is, flipped} × crops.

    ``"centre"`` is the largest square; ``"five"`` the four corners and the centre, each 7/8 of the
    short side, which is 224 of 256 px (Simonyan & Zisserman 2014, §5). Start by start, as is before
    flipped. ``"single"`` is one view: the middle, as is, the largest square. Raises ``ValueError``
    for other ``crops``.
    """
    if crops not in ("centre", "five", "single"):
        raise ValueError(f"no crops {crops!r}; there are centre, five, single")
    one, (height, width) = crops == "single", size
    side = round(min(size) * 7 / 8) if crops == "five" else min(size)
    down, right = height - side, width - side
    places = [(down // 2, right // 2)]
    if crops == "five":
        places += [(0, 0), (0, right), (down, 0), (down, right)]
    return [
        View(start, top, left, side, flip)
        for start in view_starts(n_frames, span(profile), 1 if one else profile.positions)
        for flip in ((False,) if one else (False, True))
        for top, left in places
    ]
