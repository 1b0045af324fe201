"""A video to JPEGs of frames and flow by OpenCV's own calls and nothing else: the floor.

It checks nothing and writes nothing. Light to import, since each process of a pool does.
"""

from __future__ import annotations

import cv2
import numpy as np

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


def one_thread() -> None:
    """One thread a process, as in every pool that has a process a core."""
    cv2.setNumThreads(1)


def encode_video(path: str) -> int:
    """Decode, compute DIS flow, quantise and encode one video; return the bytes of all JPEGs."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
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
