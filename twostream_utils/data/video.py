"""Video files → RGB frames, read one by one, upright and scaled down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

# Read with the first video: FFmpeg's own words ("moov atom not found") name no file and no way out,
# and what it means is said by VideoError.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".mpg", ".mpeg", ".m4v", ".webm")


class VideoError(ValueError):
    """A video that cannot be used; the message names file and reason, `.reason` the reason."""

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        super().__init__(str(path), reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.reason}"


def open_video(path: str | os.PathLike, short_side: int) -> tuple[float, Iterator[np.ndarray]]:
    """Frame rate of a video and an iterator over its frames: not all of it has to lie in memory.

    Frames are turned upright (rotation flag) and scaled down while reading so that the short side
    is `short_side` px; smaller videos keep their size, since enlarging adds nothing but bytes.

    Returns frames per second (0.0 where the file does not say), and `(H, W, 3)` uint8 RGB frames.

    Raises FileNotFoundError, and VideoError: not a video, no frames or only one, cut short; by the
    iterator where it is found further in.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no video {path}")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty")
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise VideoError(path, "not a video that OpenCV can open")
    rate = video.get(cv2.CAP_PROP_FPS)
    rate = round(rate, 3) if 0 < rate < np.inf else 0.0
    return rate, _frames(path, video, short_side)


def _frames(path: Path, video: cv2.VideoCapture, short_side: int) -> Iterator[np.ndarray]:
    promised = video.get(cv2.CAP_PROP_FRAME_COUNT)
    size, n = None, 0
    try:
        while (frame := video.read()[1]) is not None:
            if size is None:
                scale = min(1.0, short_side / min(frame.shape[:2]))
                size = tuple(round(side * scale) for side in frame.shape[1::-1])
            if frame.shape[1::-1] != size:
                frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            n += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        video.release()
    if n == 0:
        raise VideoError(path, "no frame can be decoded")
    if n == 1:
        raise VideoError(path, "only one frame: flow needs two")
    # Containers may count a few frames that do not decode; a tenth missing is a cut file.
    if n < 0.9 * promised:
        raise VideoError(path, f"cut short: {n} of {promised:.0f} frames can be decoded")
