"""Optical flow: compute it, store it in eight bits, mirror it.

A field is an `(H, W, 2)` array of u, to the right, and v, downwards, in px per frame. On disk it is
uint8, as in the archives of Feichtenhofer et al. (CVPR 2016, arXiv:1604.06573).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

BOUND = 20.0
ALGORITHMS = ("dis", "dis_small", "tvl1", "farneback")


def compute_flow(a: np.ndarray, b: np.ndarray, algorithm: str = "dis") -> np.ndarray:
    """Return the dense flow from `a` to `b`, `(H, W, 2)` float32, (u, v) in px per frame.

    `a` and `b` are grey, `(H, W)` uint8, of one size, 16 px a side or more. `algorithm`: "dis"
    (Kroeger et al., ECCV 2016, arXiv:1603.03590; a few ms a frame); "dis_small", the same up to
    full resolution, for frames under 200 px; "tvl1" (Zach et al., DAGM 2007; what UCF101's archives
    hold, hundreds of times slower); "farneback" (Farnebäck, SCIA 2003). Raises `ValueError` for
    other frames or algorithms, `ImportError` for "tvl1" without OpenCV's contrib modules.
    """
    for frame in (a, b):
        if frame.ndim != 2 or frame.dtype != np.uint8:
            raise ValueError(
                f"flow needs grey (H, W) uint8 frames, got {frame.shape} {frame.dtype}; "
                "convert with cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)"
            )
    if a.shape != b.shape or min(a.shape) < 16:
        raise ValueError(f"flow needs one size, at least 16 px a side, not {a.shape} and {b.shape}")
    if algorithm == "farneback":
        return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 4, 15, 3, 7, 1.5, 0)
    if algorithm == "dis_small":  # at full resolution sensor noise is what the patches would follow
        a, b = (cv2.GaussianBlur(frame, (3, 3), 0.6) for frame in (a, b))
    return _made(algorithm, a.shape).calc(a, b, None)


@lru_cache(maxsize=4)
def _made(algorithm: str, shape: tuple[int, int]):
    """One object per size, whose buffers are reused: 32 px lower DIS's finest scale for good."""
    if algorithm == "tvl1":
        if not hasattr(cv2, "optflow"):
            raise ImportError(
                "TV-L1 is in OpenCV's contrib modules: pip uninstall opencv-python opencv-python"
                "-headless, then pip install opencv-contrib-python-headless; or use 'dis'"
            )
        return cv2.optflow.DualTVL1OpticalFlow_create()
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no flow algorithm {algorithm!r}; there are {', '.join(ALGORITHMS)}")
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if algorithm == "dis_small":
        # The preset stops at half resolution, where an arm of 4 px is 2 px wide. Chosen by the
        # error against known motion: smaller patches lose elsewhere, more take twice the time.
        dis.setFinestScale(0)
        dis.setPatchStride(4)
        dis.setGradientDescentIterations(8)
        dis.setVariationalRefinementIterations(3)
        dis.setVariationalRefinementDelta(10)
    return dis


def quantise(flow: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Flow in px per frame → uint8: clamp to ±bound, then `round(255 * (x + bound) / 2 bound)`.

    Rest becomes 128, +bound 255, -bound 0; one step is 0.157 px at 20 px. One scale for all frames:
    a stretch by each frame's own minimum and maximum would make slow and fast look alike.
    """
    scaled = np.clip(flow, -bound, bound) * (127.5 / bound)
    scaled += 127.5  # in place: a new array for each step took as long as the arithmetic
    return np.rint(scaled, out=scaled).astype(np.uint8)


def decode(q: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """uint8 → flow in px per frame, float32: `x * 2 bound / 255 - bound`. Rest reads as 0.078."""
    return q.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)


def flip_flow(q: np.ndarray) -> np.ndarray:
    """Mirror quantised flow `(..., H, W, 2)` uint8 left to right: in space, and u → 255 - u."""
    if q.dtype != np.uint8 or q.shape[-1] != 2:
        raise ValueError("flip_flow needs quantised (..., H, W, 2) uint8")
    mirrored = q[..., ::-1, :].copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


def subtract_mean(q: np.ndarray) -> np.ndarray:
    """Quantised fields `(..., H, W, 2)` uint8 without the mean motion of each, to half a level.

    A pan moves every pixel alike; what moves against the rest stays (Simonyan & Zisserman 2014,
    §3.1, "mean flow subtraction").
    """
    mean = q.mean(axis=(-3, -2), keepdims=True)
    return np.clip(q - np.rint(mean - 127.5), 0, 255).astype(np.uint8)
