"""Figures of optical flow: raw u and v, colour with its wheel; and which field to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from ..flow import decode
from ..stacks import StackDataset
from ..store import FrameStore
from .flow_colours import colour_wheel, flow_to_rgb
from .plots import WIDTH, batch_of_stacks, spread


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
