"""Flow as colour: the wheel of Middlebury, and its legend."""

from __future__ import annotations

from functools import cache

import numpy as np


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
