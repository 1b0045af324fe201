"""Views: which frames of a clip a network sees, and which part of each. One for the whole clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .profiles import Profile

Size = tuple[int, int]  # height and width of a frame, px


def span(profile: Profile) -> int:
    """Number of consecutive frames that one RGB stack and one flow stack cover together."""
    rgb = (profile.rgb_frames - 1) * profile.rgb_step + 1
    flow = (profile.flow_fields - 1) * profile.flow_step + 2  # a field needs the frame after it
    return max(rgb, flow)


def stack_positions(available: int, count: int, step: int, start: int = 1) -> np.ndarray:
    """Return 1-based positions ``step`` apart from ``start``, ``(count,)`` int64.

    A short clip loops: ``available`` is followed by 1. Raises ``ValueError`` for anything below 1.
    """
    if min(available, count, step, start) < 1:
        given = f"{available} frames, count {count}, step {step}, start {start}"
        raise ValueError(f"a stack needs 1 or more of each: {given}")
    return (start - 1 + step * np.arange(count)) % available + 1


def view_starts(n_frames: int, covered: int, positions: int) -> list[int]:
    """Return 1-based starts: one in the middle of a clip, or several evenly from end to end.

    (Simonyan & Zisserman 2014, §5 "Testing"). A clip shorter than ``covered`` starts at 1.
    """
    slack = max(n_frames - covered, 0)
    if positions == 1:
        return [1 + slack // 2]
    return [1 + round(slack * k / (positions - 1)) for k in range(positions)]


def sampled_positions(
    available: int, count: int, step: int, sampling: str, start: int = 1, seed: int | None = None
) -> np.ndarray:
    """Return the 1-based positions of a stack as ``sampling`` chooses them, ``(count,)`` int64.

    ``"spaced"``: ``step`` apart from ``start``. ``"random"``: as many, in order, drawn from what
    those cover. ``"segments"``: one of each of ``count`` equal parts of the whole clip (Wang et al.
    2016, arXiv:1608.00859). Without a ``seed``, in tests: spaced, or the middle of each part.
    """
    if sampling == "segments":
        part = available / count
        inside = 0.5 if seed is None else np.random.default_rng(seed).random(count)
        return (part * (np.arange(count) + inside)).astype(np.int64) + 1
    positions = stack_positions(available, count, step, start)
    if sampling == "spaced" or seed is None:
        return positions
    drawn = np.random.default_rng(seed).choice(step * (count - 1) + 1, count, replace=False)
    return (start - 1 + np.sort(drawn)) % available + 1


@dataclass(frozen=True)
class View:
    """What all frames and fields show of a clip, so that the streams lie on each other.

    First frame (1-based), corner, height (and width, if no square) of the crop in px, mirrored or
    not, and the seed of :func:`sampled_positions`.
    """

    start: int
    top: int
    left: int
    side: int
    flip: bool
    width: int = 0
    seed: int | None = None

    @property
    def box(self) -> tuple[slice, slice]:
        """The rows and the columns of the crop."""
        right = self.left + (self.width or self.side)
        return slice(self.top, self.top + self.side), slice(self.left, right)


def corners_and_centre(size: Size, side: int, width: int) -> list[tuple[int, int]]:
    """Return the five places (top, left) of a crop: the centre, then the four corners."""
    down, right = size[0] - side, size[1] - width
    return [(down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right)]


def random_view(rng: np.random.Generator, n_frames: int, size: Size, profile: Profile) -> View:
    """Draw a training view: anywhere in the clip's time, mirrored half of the time.

    ``"squares"`` are ``min_scale``..1 of the short side, anywhere. ``"corners"`` or the centre are
    1, 7/8, 3/4 or 2/3 of it, not below ``min_scale``, high and wide, at most one step apart (Wang
    et al. 2015, arXiv:1507.02159).
    """
    height, width = size
    short = min(height, width)
    start = 1 + int(rng.integers(max(n_frames - span(profile), 0) + 1))
    if profile.train_crops == "corners":
        sides = [s for s in (1, 7 / 8, 3 / 4, 2 / 3) if s >= profile.min_scale]
        first = int(rng.integers(len(sides)))
        other = int(np.clip(first + rng.integers(-1, 2), 0, len(sides) - 1))
        side, wide = round(short * sides[first]), round(short * sides[other])
        top, left = corners_and_centre(size, side, wide)[rng.integers(5)]
    else:
        side, wide = round(short * rng.uniform(profile.min_scale, 1.0)), 0
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    flip = bool(rng.random() < 0.5)
    seed = None if profile.sampling == "spaced" else int(rng.integers(2**31))
    return View(start, int(top), int(left), side, flip, wide, seed)


def eval_views(n_frames: int, size: Size, profile: Profile, crops: str = "centre") -> list[View]:
    """Return test views: ``profile.positions`` starts (segments: one) × {as is, flipped} × crops.

    ``"centre"`` is the largest square; ``"five"`` the centre and the corners, 7/8 of the short
    side, 224 of 256 px (Simonyan & Zisserman 2014, §5); ``"single"`` one view: the middle, as is,
    the largest square. Raises ``ValueError`` for other ``crops``.
    """
    if crops not in ("centre", "five", "single"):
        raise ValueError(f"no crops {crops!r}; there are centre, five, single")
    side, count = (round(min(size) * 7 / 8), 5) if crops == "five" else (min(size), 1)
    one = crops == "single" or profile.sampling == "segments"
    return [
        View(start, top, left, side, flip)
        for start in view_starts(n_frames, span(profile), 1 if one else profile.positions)
        for flip in ((False,) if crops == "single" else (False, True))
        for top, left in corners_and_centre(size, side, side)[:count]
    ]
