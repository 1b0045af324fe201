"""Optical flow: compute it, store it in eight bits, mirror it, look at it.

A flow field is an `(H, W, 2)` array: channel 0 is u (px per frame to the right), channel 1 is v
(px per frame downwards). On disk it is quantised to uint8 as in the archives of
Feichtenhofer et al., "Convolutional Two-Stream Network Fusion" (CVPR 2016).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

BOUND = 20.0
METHODS = ("dis", "tvl1", "farneback")
_MIN_SIDE = 16
_SMALL_FRAME = 200


def compute_flow(a: np.ndarray, b: np.ndarray, method: str = "dis") -> np.ndarray:
    """Dense flow from grey frame `a` to grey frame `b`.

    Args:
        a, b: `(H, W)` uint8, equal shapes, both sides at least 16 px.
        method: "dis" (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016;
            a few ms per frame), "tvl1" (Zach et al., "A Duality Based Approach for Realtime TV-L1
            Optical Flow", DAGM 2007; what the UCF101 archives hold, hundreds of times slower) or
            "farneback" (Farnebäck, "Two-Frame Motion Estimation", SCIA 2003).

    Returns:
        `(H, W, 2)` float32, (u, v) in px per frame.

    Raises:
        ValueError: unknown method, frames that are not grey uint8, differ in shape or are tiny.
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
    if method == "farneback":
        return cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 4, 15, 3, 7, 1.5, 0)
    return _algorithm(method, max(a.shape) < _SMALL_FRAME).calc(a, b, None)


@cache
def _algorithm(method: str, small: bool):
    """One algorithm object per process: its buffers are reused from frame to frame."""
    if method == "dis":
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        if small:
            # The preset stops at half resolution, where an arm of 4 px is 2 px wide. Full
            # resolution follows thin limbs; fewer steps on it halve the time and cost no warp
            # error at this size.
            dis.setFinestScale(0)
            dis.setGradientDescentIterations(12)
            dis.setVariationalRefinementIterations(2)
            dis.setPatchStride(4)
        return dis
    if method == "tvl1":
        if not hasattr(cv2, "optflow"):
            raise ImportError(
                "TV-L1 flow is in OpenCV's contrib modules: "
                "pip uninstall opencv-python opencv-python-headless, then "
                'pip install opencv-contrib-python-headless; or use method="dis"'
            )
        return cv2.optflow.DualTVL1OpticalFlow_create()
    raise ValueError(f"unknown flow method {method!r}; choose one of {', '.join(METHODS)}")


def quantise(flow: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Flow in px per frame → uint8: clamp to ±bound, then `round(255 * (x + bound) / 2 bound)`.

    Rest becomes 128, +bound 255, -bound 0. One step is 0.157 px at the usual bound of 20 px.
    The scale is the same for every frame: a stretch by each frame's own minimum and maximum would
    make slow and fast movements look alike.
    """
    scaled = np.clip(flow, -bound, bound) * (127.5 / bound) + 127.5
    return np.rint(scaled).astype(np.uint8)


def decode(q: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """uint8 → flow in px per frame, float32: `x * 2 bound / 255 - bound`. Rest reads as 0.078."""
    return q.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)


def flip_flow(q: np.ndarray) -> np.ndarray:
    """Mirror quantised flow `(..., H, W, 2)` uint8 left to right: in space, and u → 255 - u."""
    if q.dtype != np.uint8 or q.shape[-1] != 2:
        raise ValueError(f"flip_flow needs quantised (..., H, W, 2) uint8, got {q.shape} {q.dtype}")
    mirrored = q[..., ::-1, :].copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


@cache
def _hues() -> np.ndarray:
    """The 55 hues of the Middlebury wheel, `(55, 3)` float32 in [0, 1]."""
    red, green, blue = np.eye(3)
    corners = [red, red + green, green, green + blue, blue, blue + red]
    steps = [15, 6, 4, 11, 13, 6]
    parts = []
    for k, n in enumerate(steps):
        along = np.arange(n)[:, None] / n
        parts.append(corners[k] * (1 - along) + corners[(k + 1) % 6] * along)
    return np.concatenate(parts).astype(np.float32)


def flow_to_rgb(flow: np.ndarray, max_px: float | None = None) -> np.ndarray:
    """Flow `(H, W, 2)` in px per frame → picture `(H, W, 3)` uint8; hue = direction.

    The colour wheel of Baker et al., "A Database and Evaluation Methodology for Optical Flow"
    (IJCV 2011), section 4: zero is white, colour grows fuller up to `max_px`, anything faster
    is darkened. `max_px` defaults to the field's fastest motion, but at least 1 px per frame, so
    that a still frame stays white; give a number to compare frames.
    """
    u, v = flow[..., 0].astype(np.float32), flow[..., 1].astype(np.float32)
    speed = np.hypot(u, v)
    if max_px is None:
        max_px = max(float(speed.max(initial=0.0)), 1.0)
    hues = _hues()
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(hues) - 1)
    low = place.astype(int)
    part = (place - low)[..., None]
    colour = hues[low] * (1 - part) + hues[(low + 1) % len(hues)] * part
    radius = (speed / max_px)[..., None]
    colour = np.where(radius <= 1 + 1e-6, 1 - radius * (1 - colour), colour * 0.75)
    return np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8)


def colour_wheel(size: int = 128) -> np.ndarray:
    """Legend of `flow_to_rgb`: `(size, size, 3)` uint8, the colour of a move away from the centre.

    Right of the centre is the colour of motion to the right, below it of motion downwards; the rim
    is `max_px`. White outside the disc.
    """
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    u, v = np.meshgrid(axis, axis)
    wheel = flow_to_rgb(np.stack([u, v], axis=-1), max_px=1.0)
    wheel[np.hypot(u, v) > 1] = 255
    return wheel
