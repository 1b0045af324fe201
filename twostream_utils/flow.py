"""Optical flow: compute it, store it in eight bits, mirror it.

A flow field is an `(H, W, 2)` array: channel 0 is u (px per frame to the right), channel 1 is v
(px per frame downwards). On disk it is quantised to uint8 as in the archives of
Feichtenhofer et al., "Convolutional Two-Stream Network Fusion" (CVPR 2016).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

BOUND = 20.0
ALGORITHMS = ("dis", "dis_small", "tvl1", "farneback")
_MIN_SIDE = 16


def compute_flow(a: np.ndarray, b: np.ndarray, algorithm: str = "dis") -> np.ndarray:
    """Dense flow from grey frame `a` to grey frame `b`.

    Args:
        a, b: `(H, W)` uint8, equal shapes, both sides at least 16 px.
        algorithm: "dis" (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV
            2016; a few ms per frame); "dis_small", the same up to full resolution, for frames under
            200 px; "tvl1" (Zach et al., "A Duality Based Approach for Realtime TV-L1 Optical
            Flow", DAGM 2007; what the UCF101 archives hold, hundreds of times slower); or
            "farneback" (Farnebäck, "Two-Frame Motion Estimation", SCIA 2003).

    Returns:
        `(H, W, 2)` float32, (u, v) in px per frame.

    Raises:
        ValueError: unknown algorithm, frames that are not grey uint8, differ in shape or are tiny.
        ImportError: "tvl1" without OpenCV's contrib modules.
    """
    for frame in (a, b):
        if frame.ndim != 2 or frame.dtype != np.uint8:
            raise ValueError(
                f"flow needs grey (H, W) uint8 frames, got {frame.shape} {frame.dtype}; "
                "convert with cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)"
            )
    if a.shape != b.shape:
        raise ValueError(f"flow needs two frames of one size, got {a.shape} and {b.shape}")
    if min(a.shape) < _MIN_SIDE:
        raise ValueError(f"flow needs frames of at least {_MIN_SIDE} px a side, got {a.shape}")
    if algorithm == "farneback":
        return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 4, 15, 3, 7, 1.5, 0)
    if algorithm == "dis_small":  # at full resolution sensor noise is what the patches would follow
        a, b = (cv2.GaussianBlur(frame, (3, 3), 0.6) for frame in (a, b))
    return _made(algorithm, a.shape).calc(a, b, None)


@lru_cache(maxsize=4)
def _made(algorithm: str, shape: tuple[int, int]):
    """One object per process and size: its buffers are reused from frame to frame.

    Not one for all sizes: a frame of 32 px makes DIS lower its finest scale for good.
    """
    if algorithm == "tvl1":
        if not hasattr(cv2, "optflow"):
            raise ImportError(
                "TV-L1 flow is in OpenCV's contrib modules: "
                "pip uninstall opencv-python opencv-python-headless, then "
                'pip install opencv-contrib-python-headless; or use "dis"'
            )
        return cv2.optflow.DualTVL1OpticalFlow_create()
    if algorithm not in ALGORITHMS:
        raise ValueError(
            f"unknown flow algorithm {algorithm!r}; choose one of {', '.join(ALGORITHMS)}"
        )
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if algorithm == "dis_small":
        # The preset stops at half resolution, where an arm of 4 px is 2 px wide. Chosen by the
        # error against known motion in frames of 72 and 96 rows: smaller patches gain on limbs and
        # lose elsewhere; more patches gain a few hundredths of a px in twice the time.
        dis.setFinestScale(0)
        dis.setPatchStride(4)
        dis.setGradientDescentIterations(8)
        dis.setVariationalRefinementIterations(3)
        dis.setVariationalRefinementDelta(10)
    return dis


def quantise(flow: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Flow in px per frame → uint8: clamp to ±bound, then `round(255 * (x + bound) / 2 bound)`.

    Rest becomes 128, +bound 255, -bound 0. One step is 0.157 px at the usual bound of 20 px.
    The scale is the same for every frame: a stretch by each frame's own minimum and maximum would
    make slow and fast movements look alike.
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
    """Quantised fields ``(..., H, W, 2)`` uint8 without the mean motion of each, to half a level.

    A camera that pans moves every pixel alike. Taking away each field's mean u and v leaves what
    moves against the rest (Simonyan & Zisserman 2014, §3.1, "mean flow subtraction").
    """
    mean = q.mean(axis=(-3, -2), keepdims=True)
    return np.clip(q - np.rint(mean - 127.5), 0, 255).astype(np.uint8)
