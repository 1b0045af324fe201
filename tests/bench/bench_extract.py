"""Rows of `make bench` on making data: the mini set, and extraction against bare OpenCV calls."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import bare_opencv
import clips
import joblib
from measure import Sizes, row, stopwatch

from twostream_utils.data.extract import extract
from twostream_utils.mini import make_mini


@row("the mini set, generated on all cores", unit="s", goal="≤ 60", rounds=1)
def mini_set(sizes: Sizes) -> Iterator:
    with tempfile.TemporaryDirectory() as folder:
        place = (Path(folder) / str(k) for k in itertools.count())
        make = lambda: make_mini(next(place), progress=False, **(sizes.mini or {}))  # noqa: E731
        yield (stopwatch(make, scale=1.0),)


@contextlib.contextmanager
def videos(sizes: Sizes) -> Iterator[tuple[list[str], Callable]]:
    """Paths of videos, and what extracts them all to a new place with settings of one's own."""
    side, number = min(240, sizes.height), sizes.clips // 2
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "videos"
        paths = [
            str(clips.write_video(source / "JumpRope" / f"v_JumpRope_g{k:02d}_c01.avi", frames))
            for k, frames in enumerate(clips.films(number, sizes.frames, (side * 4 // 3, side)))
        ]
        place = (Path(folder) / str(k) for k in itertools.count())
        yield paths, lambda **how: extract(source, next(place), progress=False, **how)


@row("extraction of 320×240 video, DIS flow", "OpenCV's calls alone in a pool on all cores",
     "ms a frame", goal="≥ 0.95", rounds=5)  # fmt: skip
def extract_dis(sizes: Sizes) -> Iterator:
    with videos(sizes) as (paths, ours):
        count = len(paths) * sizes.frames

        def bare() -> None:
            context = multiprocessing.get_context("spawn")
            with context.Pool(joblib.cpu_count(), bare_opencv.one_thread) as pool:
                pool.map(bare_opencv.encode_video, paths, chunksize=1)

        yield stopwatch(ours, count), stopwatch(bare, count)


@row("extraction, flow made and kept at half size, dis_small", "at full size, dis", "ms a frame",
     rounds=5)  # fmt: skip
def extract_half_flow(sizes: Sizes) -> Iterator:
    with videos(sizes) as (paths, ours):
        half = partial(ours, algorithm="dis_small", flow_scale=0.5)
        yield tuple(stopwatch(work, len(paths) * sizes.frames) for work in (half, ours))
