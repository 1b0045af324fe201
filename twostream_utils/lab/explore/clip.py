"""Clip explorer: one frame five ways, and which frames of the clip go into the two stacks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import cv2
import ipywidgets as widgets
import numpy as np

from ...flow import decode
from ...profiles import Profile
from ...store import FrameStore
from ...views import stack_positions
from ..canvas import Canvas, heat, resize
from ..flow_colours import colour_wheel, flow_to_rgb
from ..flow_plots import fastest
from ..plots import BLUE, FLOW_MAP, RED
from ..widgets import Drawing, clip_menus, explorer, follow_clip, int_slider, kept_with_store

WIDTH, GAP, TOP = 960, 8, 24
PANELS = ("frame {}", "flow: colour", "u: to the right", "v: downwards", "arrows")
_ARROW = (213, 94, 0)


def clip_view(
    store: FrameStore,
    clip: str,
    frame: int,
    rgb_frames: int = 10,
    rgb_step: int = 5,
    flow_fields: int = 50,
    flow_step: int = 1,
) -> Drawing:
    """Draw frame ``frame`` (1-based) of a clip five ways above a time line.

    RGB, flow as colour with its wheel, u and v (red right or down, blue left or up), arrows. Flow
    has one scale for the whole clip, so that colours can be compared while it plays; a frame
    without a field of its own, as the last one, shows the field before it. The time line marks
    ``rgb_frames`` frames ``rgb_step`` apart and ``flow_fields`` fields ``flow_step`` apart, from
    the first one on; where the stack has come round to the beginning of the clip again, marks are
    half as high.

    Returns the picture, 960 px wide, and a sentence. Raises ``IndexError`` naming the clip and its
    range for a frame that is not there, ``ValueError`` for stacks without frames or of fields that
    were not extracted.
    """
    image = store.rgb(clip, frame)
    field = store.field_at(clip, frame)
    flow = decode(store.flow(clip, field))
    width = (WIDTH - 4 * GAP) // 5
    height = round(width * image.shape[0] / image.shape[1])
    top = _fastest(store, clip)
    colour = resize(flow_to_rgb(flow, top), width, height)
    wheel = colour_wheel(height // 4)
    disc = (wheel != 255).any(axis=-1)
    colour[-wheel.shape[0] :, -wheel.shape[1] :][disc] = wheel[disc]
    u, v = (heat(flow[..., k], -top, top, FLOW_MAP) for k in (0, 1))
    canvas = Canvas(WIDTH, TOP + height + 84)
    for k, panel in enumerate([image, colour, u, v, _arrows(image, flow, width, height)]):
        title = PANELS[k].format(frame)
        canvas.picture(panel, k * (width + GAP), TOP, width, height, title)
    stacks = {
        "RGB": (stack_positions(store.n_frames(clip), rgb_frames, rgb_step), BLUE),
        "flow": (_fields(store, clip, flow_fields, flow_step), RED),
    }
    _timeline(canvas, TOP + height + 14, frame, store.n_frames(clip), stacks)
    parts = [
        _reach("RGB stack", "frames", rgb_frames, rgb_step, stacks["RGB"][0], store.n_frames(clip)),
        _reach("flow stack", "fields", flow_fields, flow_step, stacks["flow"][0],
               int(store.flow_numbers(clip)[-1])),
    ]  # fmt: skip
    which = "its flow" if field == frame else f"the flow of frame {field}"
    sentence = f"Frame {frame} of {store.n_frames(clip)} of {clip}, and {which} in colour, as u, "
    return canvas.pixels(), sentence + f"as v and as arrows. {' '.join(parts)}"


def _fields(store: FrameStore, clip: str, count: int, step: int) -> np.ndarray:
    """Numbers of the fields of a stack, which may hold only what was extracted."""
    every = store.flow_every(clip)
    if step % every:
        raise ValueError(
            f"clip {clip} has only one flow field in {every}: a stack takes them a multiple of "
            f"{every} apart, not {step}"
        )
    return store.flow_numbers(clip)[stack_positions(store.n_flow(clip), count, step // every) - 1]


@kept_with_store(16)
def _fastest(store: FrameStore, clip: str) -> float:
    """A scale for the flow of a clip in px per frame: 99.8 % of its pixels are slower."""
    places = np.unique(np.linspace(0, store.n_flow(clip) - 1, 12).round().astype(int))
    some = store.read_flow(clip, store.flow_numbers(clip)[places])
    return fastest(decode(some), 0.998)


def _arrows(image: np.ndarray, flow: np.ndarray, width: int, height: int) -> np.ndarray:
    """The frame with arrows, the longest about two rows; under 0.3 px per frame there is none."""
    panel = resize(image, width, height)
    scale = height / image.shape[0]
    step = max(image.shape[0] // 12, 1)
    grid = flow[step // 2 :: step, step // 2 :: step]
    speed = np.hypot(grid[..., 0], grid[..., 1])
    longer = 2 * step / max(float(speed.max()), 1.0)
    for row, column in zip(*np.nonzero(speed > 0.3), strict=True):
        start = np.array([column, row]) * step + step // 2
        ends = [tuple((scale * at).round().astype(int).tolist()) for at in (
            start, start + longer * grid[row, column]
        )]  # fmt: skip
        for ink, thick in ((255, 255, 255), 3), (_ARROW, 1):
            cv2.arrowedLine(panel, *ends, ink, thick, cv2.LINE_AA, tipLength=0.35)
    return panel


def _timeline(
    canvas: Canvas, y: int, frame: int, length: int, stacks: dict[str, tuple[np.ndarray, str]]
) -> None:
    """Draw all frames of the clip from left to right, with the members of both stacks marked."""
    left, right, row = 50, WIDTH - 14, 24
    strip = np.full((2 * row, WIDTH - left, 3), 255, np.uint8)
    place = 4 + (np.arange(length) * (right - left) / max(length - 1, 1)).round().astype(int)
    for k, (name, (positions, colour)) in enumerate(stacks.items()):
        middle = k * row + row // 2
        ink = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        cv2.line(strip, (4, middle), (int(place[-1]), middle), (190, 190, 190), 1)
        again = np.cumsum(np.diff(positions, prepend=0) < 0) > 0
        for number, second in zip(positions.tolist(), again.tolist(), strict=True):
            x, half = int(place[number - 1]), 4 if second else 9
            cv2.rectangle(strip, (x - 1, middle - half), (x + 1, middle + half), ink, -1)
        canvas.text(2, y + middle + 4, name, color=colour)
    x = int(place[frame - 1])
    cv2.line(strip, (x, 0), (x, 2 * row), (34, 34, 34), 1)
    canvas.picture(strip, left, y, strip.shape[1], 2 * row)
    at, side = left + x, "center" if 60 < x < right - left - 60 else "left" if x <= 60 else "right"
    canvas.text(at, y + 2 * row + 13, f"frame {frame} of {length}", ha=side)


def _reach(stack: str, what: str, count: int, step: int, positions: np.ndarray, have: int) -> str:
    """Say in words which part of the clip a stack covers."""
    last = 1 + (count - 1) * step
    words = f"{stack}: {count} {what}, {step} apart, "
    if last <= have:
        return words + f"up to number {last} of {have}."
    fresh = len(np.unique(positions))
    return words + f"longer than the clip: it starts again, and {fresh} different ones remain."


def clip_explorer(
    store: FrameStore, profile: Profile, clips: Iterable[str] | None = None
) -> widgets.VBox:
    """Return the explorer over ``clips`` (default: all); its stacks start as the profile's."""
    labels = {clip: store.label(clip) for clip in clips or store.clips}
    class_menu, clip = clip_menus(labels)
    frame = int_slider("frame", 1, 1, 2)
    follow_clip(clip, frame, store.n_frames)
    play = widgets.Play(value=1, min=1, max=frame.max, interval=150, description="play")
    widgets.jslink((play, "value"), (frame, "value"))
    widgets.link((frame, "max"), (play, "max"))
    every = max(store.flow_every(clip) for clip in labels)
    stack = {
        "rgb_frames": int_slider("RGB frames", profile.rgb_frames, 1, 25),
        "rgb_step": int_slider("apart", profile.rgb_step, 1, 20),
        "flow_fields": int_slider("flow fields", profile.flow_fields, 1, 60),
        "flow_step": int_slider("apart", profile.flow_step, every, 10 * every, every),
    }
    rows = [[class_menu, clip], [play, frame], list(stack.values())[:2], list(stack.values())[2:]]
    return explorer(partial(clip_view, store), {"clip": clip, "frame": frame, **stack}, rows)
