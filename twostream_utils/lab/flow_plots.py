"""Figures of optical flow: raw u and v, colour with its wheel, arrows; and which field to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from ..flow import decode
from ..stacks import StackDataset
from ..store import FrameStore
from .flow_colours import colour_wheel, flow_to_rgb
from .plots import FLOW_MAP, RED, WIDTH, batch_of_stacks, contact_sheet, rgb_of, spread


def liveliest_field(flow: np.ndarray) -> tuple[int, float]:
    """Return the place of a lively field of ``flow`` ``(T, H, W, C)``, and how lively the clip is.

    A field counts by how far the fastest 1 % of its pixels, an arm in a small frame, are above its
    median, so that a moving camera does not; a clip by its median field, and of its fields the one
    at 90 % is taken: the very fastest is often a mistake of the estimate.
    """
    low, high = np.quantile(np.linalg.norm(flow, axis=-1), (0.5, 0.99), axis=(1, 2))
    order = np.argsort(high - low, kind="stable")
    return int(order[round(0.9 * (len(order) - 1))]), float(np.median(high - low))


def liveliest(store: FrameStore, clips: Iterable[str]) -> tuple[str, int]:
    """Return which of ``clips`` has most motion, and one of its lively fields (1-based).

    Raises ``ValueError`` if there are no clips.
    """
    found = []
    for clip in clips:
        numbers = store.flow_numbers(clip)
        place, lively = liveliest_field(decode(store.read_flow(clip, numbers)))
        found.append((lively, clip, int(numbers[place])))
    return max(found)[1:]


def field_at(store: FrameStore, clip: str, frame: int) -> int:
    """Return the number of the field to show with ``frame``: its own, or the last before it."""
    return max(number for number in store.flow_numbers(clip).tolist() if number <= frame)


def first_view(dataset: StackDataset, clip: str) -> dict[str, torch.Tensor]:
    """Return the stacks of one view of ``clip`` by stream, each ``(channels, S, S)`` uint8."""
    item = dataset[dataset.clips.index(clip)]
    return {stream: item[stream][0] for stream in dataset.streams}


def fastest(flow: np.ndarray, share: float = 1.0) -> float:
    """Speed of the fastest pixel of ``flow`` ``(..., 2)`` in px per frame, but at least 1.

    The length of (u, v), not the larger of both: a scale of ``flow_to_rgb`` that darkens nothing.
    With a smaller ``share`` that many of the pixels are no faster, and stray ones do not count.
    """
    return max(float(np.quantile(np.hypot(flow[..., 0], flow[..., 1]), share)), 1.0)


def with_wheel(fig: Figure, max_px: float | None = None) -> Figure:
    """Give ``fig``, images of ``flow_to_rgb``, their legend: the colour wheel at its right edge.

    ``max_px`` is the speed at the wheel's rim in px per frame; leave it out where the images have
    scales of their own. The figure keeps its width, so the images become a little smaller.
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


def with_small_wheel(image: np.ndarray, side: int) -> np.ndarray:
    """A copy of ``(H, W, 3)`` uint8 with the colour wheel, ``side`` px, in its lower right."""
    wheel, image = colour_wheel(side), image.copy()
    across = np.linspace(-1, 1, len(wheel))
    disc = np.hypot(across, across[:, None]) <= 1
    image[-len(wheel) :, -len(wheel) :][disc] = wheel[disc]
    return image


def flow_stack_grid(q: np.ndarray, indices: Sequence[int], columns: int = 10) -> Figure:
    """Draw a flow stack ``(T, H, W, 2)`` uint8: three rows a line of fields, u, v and colour.

    u and v are the raw grey JPEGs (rest is 128); the colour is that of ``flow_to_rgb`` at one
    scale for the whole stack, with the colour wheel beside it; the fastest 0.5 % are darker.
    """
    top = fastest(decode(q), 0.995)
    images, titles = [], []
    for first in range(0, len(q), columns):
        part = slice(first, first + columns)
        empty = columns - len(q[part])
        rows = {"u": q[part, ..., :1].repeat(3, -1), "v": q[part, ..., 1:].repeat(3, -1)}
        rows["colour"] = [flow_to_rgb(field, top) for field in decode(q[part])]
        for kind, row in rows.items():
            images += [*row, *[np.full((*q.shape[1:3], 3), 255, np.uint8)] * empty]
            titles += [f"{kind} {i}" for i in indices[part]] + [""] * empty
    return with_wheel(contact_sheet(images, titles, columns), top)


def batch_of_flow(
    q: np.ndarray, titles: Sequence[str], columns: int = 10, width: float = WIDTH
) -> Figure:
    """Draw a batch of flow stacks ``(N, L, H, W, 2)`` uint8 in colour, with the colour wheel.

    One clip a row, its fields as :func:`batch_of_stacks` spreads them. One scale for the figure,
    taken from what it shows: 99 % of the pixels are within the wheel's rim, and what is faster is
    drawn darker. The very fastest pixel would leave the others nearly white.
    """
    flow = decode(q)
    rim = fastest(flow[:, spread(q.shape[1], columns)], 0.99)
    colours = np.array([[flow_to_rgb(field, rim) for field in stack] for stack in flow])
    return with_wheel(batch_of_stacks(colours, titles, columns, width), rim)


def with_arrows(
    image: np.ndarray, flow: np.ndarray, height: int, every: int | None = None
) -> tuple[np.ndarray, float]:
    """Return ``image`` enlarged to ``height`` px with its ``flow`` ``(H, W, 2)`` as arrows.

    One arrow every ``every`` px (default: 14 rows), enlarged so that the longest spans about two
    rows; the second value says how many times. Where the motion is under 0.3 px per frame there is
    none.
    """
    scale = height / len(image)
    out = cv2.resize(np.ascontiguousarray(image), None, fx=scale, fy=scale)
    every = every or max(len(image) // 14, 1)
    grid = flow[every // 2 :: every, every // 2 :: every]
    speed = np.hypot(grid[..., 0], grid[..., 1])
    longer = max(1, round(2 * every / max(float(speed.max()), 1.0)))
    for row, column in zip(*np.nonzero(speed > 0.3), strict=True):
        start = np.array([column, row]) * every + every // 2
        ends = (scale * np.array([start, start + longer * grid[row, column]])).round()
        (x, y), tip = ends.astype(int).tolist()
        for ink, thick in ((255, 255, 255), 3), (rgb_of(RED), 1):
            cv2.arrowedLine(out, (x, y), tip, ink, thick, cv2.LINE_AA, tipLength=0.35)
    return out, longer


def flow_views(frame: np.ndarray, q: np.ndarray) -> Figure:
    """One frame and its flow ``q`` ``(H, W, 2)`` uint8 five ways: frame, u, v, colour, arrows.

    u and v share a map in px per frame, white at rest; the colour wheel stands in its corner.
    """
    flow = decode(q)
    top = max(float(np.abs(flow).max()), 1.0)
    height, width = frame.shape[:2]
    fig, axes = plt.subplots(2, 3, figsize=(WIDTH, 5.8 * height / width + 0.6))
    drawn, longer = with_arrows(frame, flow, 400)
    panels = {
        "frame": frame,
        "u: to the right": flow[..., 0],
        "v: downwards": flow[..., 1],
        "colour: direction": flow_to_rgb(flow),
        f"arrows, {longer} × as long as the motion": drawn,
        f"which way; the rim is {fastest(flow):.1f} px per frame": colour_wheel(128),
    }
    for axis, (title, panel) in zip(axes.flat, panels.items()):
        axis.axis("off")
        axis.set_title(title, fontsize=10)
        image = axis.imshow(panel, cmap=FLOW_MAP, vmin=-top, vmax=top)
        if panel.ndim == 2:
            bar = image
    fig.colorbar(bar, ax=axes[0, 2], fraction=0.04).set_label("px per frame")
    return fig
