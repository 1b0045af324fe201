"""A video to JPEGs of frames and flow by OpenCV's own calls and nothing else: the floor.

It checks nothing and writes nothing. Light to import, since each process of a pool does.
"""

from __future__ import annotations

import multiprocessing

import cv2
import numpy as np

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


def start() -> None:
    """One thread a process, as in every pool that has a process a core."""
    cv2.setNumThreads(1)


def encode_video(path: str, method: str = "dis") -> int:
    """Decode, compute the flow, quantise and encode one video; return the bytes of all JPEGs."""
    if method == "dis":
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    else:
        flow = cv2.optflow.DualTVL1OpticalFlow_create()
    video, before, size = cv2.VideoCapture(path), None, 0
    while True:
        ok, frame = video.read()
        if not ok:
            return size
        size += len(cv2.imencode(".jpg", frame, QUALITY)[1])
        now = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        if before is not None:
            field = flow.calc(before, now, None)
            stored = np.rint(np.clip(field, -20, 20) * (127.5 / 20) + 127.5).astype(np.uint8)
            for part in cv2.split(stored):
                size += len(cv2.imencode(".jpg", part, QUALITY)[1])
        before = now


def encode_all(paths: list[str], method: str, processes: int) -> int:
    """Encode videos in a pool; return the bytes of all JPEGs."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, start) as pool:
        return sum(pool.starmap(encode_video, [(path, method) for path in paths], chunksize=1))
