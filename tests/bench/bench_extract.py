"""Rows of `make bench` on making data: the mini set, and extraction against bare OpenCV calls."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bare_opencv
import bench_clips
import cv2
import joblib
from measure import Sizes, Skip, row, stopwatch

from twostream_utils.data.extract import extract
from twostream_utils.mini import make_mini

BARE = "OpenCV's calls alone in a pool on all cores"


@row("the mini set, generated on all cores", unit="s", goal="≤ 60", rounds=3)
def mini_set(sizes: Sizes) -> Iterator:
    with tempfile.TemporaryDirectory() as folder:
        place = (Path(folder) / str(k) for k in itertools.count())
        make = stopwatch(
            lambda: make_mini(next(place), progress=False, **(sizes.mini or {})), scale=1.0
        )
        yield make, None


def extraction(sizes: Sizes, method: str, videos: int, frames: int) -> Iterator:
    """Extract videos of 320×240 px, from 240 px down with ``sizes``, on all cores, ms a frame."""
    side = min(240, sizes.height)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "videos"
        size = (side * 4 // 3, side)
        paths = bench_clips.write_videos(source, videos, frames, size)
        place = (Path(folder) / str(k) for k in itertools.count())
        count = len(paths) * frames

        def ours() -> None:
            extract(source, next(place), algorithm=method, progress=False)

        def bare() -> None:
            bare_opencv.encode_all([str(path) for path in paths], method, joblib.cpu_count())

        yield stopwatch(ours, count), stopwatch(bare, count)


@row("extraction of 320×240 video, DIS flow", BARE, "ms a frame", goal="≥ 0.9", rounds=5)
def extract_dis(sizes: Sizes) -> Iterator:
    yield from extraction(sizes, "dis", sizes.videos, sizes.frames)


@row("extraction of 320×240 video, TV-L1 flow", BARE, "ms a frame", goal="≥ 0.9", rounds=3)
def extract_tvl1(sizes: Sizes) -> Iterator:
    if not hasattr(cv2, "optflow"):
        raise Skip("TV-L1 is in OpenCV's contrib modules, which are not installed")
    yield from extraction(sizes, "tvl1", min(4, sizes.videos), min(8, sizes.frames))
