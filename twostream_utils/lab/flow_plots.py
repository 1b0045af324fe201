"""Figures of optical flow: raw u and v, colour with its wheel, arrows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..flow import decode
from ..store import FrameStore
from .flow_colours import colour_wheel, flow_to_rgb
from .plots import FLOW_MAP, RED, pictures


def liveliest(store: FrameStore, clips: Iterable[str]) -> tuple[str, int]:
    """Return which of ``clips`` has most sideways motion, and one of its lively fields (1-based).

    A field counts by how far the fastest 5 % of its pixels are above its median, so that a moving
    camera does not; a clip by its median field, and of its fields the one at 90 % is taken: the
    very fastest is often a mistake of the estimate. Raises ``ValueError`` if there are no clips.
    """
    found = []
    for clip in clips:
        numbers = store.flow_numbers(clip)
        flow = decode(store.read_flow(clip, numbers))
        low, high = np.quantile(np.abs(flow[..., 0]), (0.5, 0.95), axis=(1, 2))
        order = np.argsort(high - low, kind="stable")
        lively = order[int(0.9 * (len(order) - 1))]
        found.append((float(np.median(high - low)), clip, int(numbers[lively])))
    return max(found)[1:]


def fastest(flow: np.ndarray, share: float = 1.0) -> float:
    """Speed of the fastest pixel of ``flow`` ``(..., 2)`` in px per frame, but at least 1.

    The length of (u, v), not the larger of both: a scale of ``flow_to_rgb`` that darkens nothing.
    With a smaller ``share`` that many of the pixels are no faster, and stray ones do not count.
    """
    return max(float(np.quantile(np.hypot(flow[..., 0], flow[..., 1]), share)), 1.0)


def with_wheel(fig: Figure, max_px: float | None = None) -> Figure:
    """Give ``fig``, pictures of ``flow_to_rgb``, their legend: the colour wheel at its right edge.

    ``max_px`` is the speed at the wheel's rim in px per frame; leave it out where the pictures have
    scales of their own. The figure keeps its width, so the pictures become a little smaller.
    """
    width, height = fig.get_size_inches()
    room = 1 - 0.95 / width  # the wheel takes 0.95 inches
    fig.set_size_inches(width, max(height * room, 1.3))
    fig.get_layout_engine().set(rect=(0, 0, room, 1))
    side = 0.75 / width, 0.75 / fig.get_figheight()
    axis = fig.add_axes((1 - side[0] - 0.06 / width, (1 - side[1]) / 2, *side))
    axis.imshow(colour_wheel(96))
    axis.axis("off")
    axis.set_title("direction", fontsize=9, pad=3)
    if max_px is not None:
        rim = f"rim: {max_px:.1f} px\nper frame"
        axis.text(0.5, -0.06, rim, fontsize=9, ha="center", va="top", transform=axis.transAxes)
    return fig


def flow_stack_grid(q: np.ndarray, indices: Sequence[int], columns: int = 10) -> Figure:
    """Draw a flow stack ``(T, H, W, 2)`` uint8: three rows a line of fields, u, v and colour.

    u and v are the raw grey JPEGs (rest is 128); the colour is that of ``flow_to_rgb`` at one
    scale for the whole stack, with the colour wheel beside it.
    """
    top = fastest(decode(q))
    images, titles = [], []
    for first in range(0, len(q), columns):
        part = slice(first, first + columns)
        blank = [np.full((*q.shape[1:3], 3), 255, np.uint8)] * (columns - len(q[part]))
        for kind in "u", "v", "colour":
            for field in q[part]:
                grey = field[..., "uv".find(kind)]
                colour = kind == "colour"
                images.append(flow_to_rgb(decode(field), top) if colour else np.dstack([grey] * 3))
            images += blank
            titles += [f"{kind} {i}" for i in indices[part]] + [""] * len(blank)
    return with_wheel(pictures(images, titles, columns), top)


def arrows(axis: plt.Axes, flow: np.ndarray, every: int | None = None) -> None:
    """Draw ``flow`` ``(H, W, 2)`` px per frame as arrows on ``axis``, titled with their scale.

    One arrow every ``every`` px (default: 14 rows), enlarged so that the longest spans about two
    rows. Where the motion is under 0.3 px per frame there is none.
    """
    height, width = flow.shape[:2]
    every = every or max(height // 14, 1)
    y, x = np.mgrid[every // 2 : height : every, every // 2 : width : every]
    u, v = flow[y, x, 0], flow[y, x, 1]
    speed = np.hypot(u, v)
    longer = max(1, round(2 * every / max(float(speed.max()), 1.0)))
    seen = speed > 0.3
    style = dict(color=RED, edgecolor="white", linewidth=0.6, width=0.008, headwidth=4)
    scale = dict(angles="xy", scale_units="xy", scale=1 / longer)
    axis.quiver(x[seen], y[seen], u[seen], v[seen], **style, **scale)
    axis.set_title(f"arrows, {longer} × as long as the motion")


def flow_views(frame: np.ndarray, q: np.ndarray) -> Figure:
    """One frame and its flow ``q`` ``(H, W, 2)`` uint8 five ways: frame, u, v, colour, arrows.

    u and v share a map in px per frame, white at rest; the colour wheel stands in its corner.
    """
    flow = decode(q)
    top = max(float(np.abs(flow).max()), 1.0)
    height, width = frame.shape[:2]
    fig, axes = plt.subplots(2, 3, figsize=(9, 5.8 * height / width + 0.6))
    titles = "frame", "u: to the right", "v: downwards", "colour: direction", "", ""
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.axis("off")
        axis.set_title(title)
    for axis in axes[0, 0], axes[1, 1]:
        axis.imshow(frame)
    for axis, component in (axes[0, 1], 0), (axes[0, 2], 1):
        image = axis.imshow(flow[..., component], cmap=FLOW_MAP, vmin=-top, vmax=top)
    bar = fig.colorbar(image, ax=axes[0, 2], fraction=0.04)
    bar.set_label("px per frame")
    axes[1, 0].imshow(flow_to_rgb(flow))
    arrows(axes[1, 1], flow)
    radius = fastest(flow)
    axes[1, 2].imshow(colour_wheel(128))
    axes[1, 2].set_title(f"which way; the rim is {radius:.1f} px per frame", fontsize=10)
    return fig
