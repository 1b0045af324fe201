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
from ..flow_colours import flow_to_rgb
from ..flow_plots import fastest, field_at, with_arrows, with_small_wheel
from ..plots import BLUE, FLOW_MAP, RED, rgb_of
from ..widgets import (
    Canvas,
    Drawing,
    clip_menus,
    explorer,
    follow_clip,
    heat,
    int_slider,
    kept_with_store,
    resize,
)

WIDTH, GAP, TOP = 960, 8, 24


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

    Returns the image, 960 px wide, and a sentence. Raises ``IndexError`` naming the clip and its
    range for a frame that is not there, ``ValueError`` for stacks without frames or of fields that
    were not extracted.
    """
    image = store.rgb(clip, frame)
    field = field_at(store, clip, frame)
    flow = decode(store.flow(clip, field))
    width = (WIDTH - 4 * GAP) // 5
    height = round(width * image.shape[0] / image.shape[1])
    top = _fastest(store, clip)
    colour = resize(flow_to_rgb(flow, top), width, height)
    panels = {
        f"frame {frame}": image,
        "flow: colour": with_small_wheel(colour, height // 4),
        "u: to the right": heat(flow[..., 0], -top, top, FLOW_MAP),
        "v: downwards": heat(flow[..., 1], -top, top, FLOW_MAP),
        "arrows": with_arrows(image, flow, height)[0],
    }
    canvas = Canvas(WIDTH, TOP + height + 84)
    for k, (title, panel) in enumerate(panels.items()):
        canvas.image(panel, k * (width + GAP), TOP, width, height, title)
    length, fields = store.n_frames(clip), store.flow_numbers(clip)
    every = store.flow_every(clip)
    if flow_step % every:
        raise ValueError(
            f"clip {clip} has only one flow field in {every}: a stack takes them a multiple of "
            f"{every} apart, not {flow_step}"
        )
    rgb = stack_positions(length, rgb_frames, rgb_step)
    flows = fields[stack_positions(len(fields), flow_fields, flow_step // every) - 1]
    _timeline(canvas, TOP + height + 14, frame, length, {"RGB": (rgb, BLUE), "flow": (flows, RED)})
    which = "its flow" if field == frame else f"the flow of frame {field}"
    sentence = (
        f"Frame {frame} of {length} of {clip}, and {which} in colour, as u, as v and as arrows. "
        + _reach("RGB stack", "frames", rgb_step, rgb, length)
        + _reach(" flow stack", "fields", flow_step, flows, int(fields[-1]))
    )
    return canvas.pixels(), sentence


@kept_with_store(16)
def _fastest(store: FrameStore, clip: str) -> float:
    """A scale for the flow of a clip in px per frame: 99.8 % of its pixels are slower."""
    places = np.unique(np.linspace(0, store.n_flow(clip) - 1, 12).round().astype(int))
    some = store.read_flow(clip, store.flow_numbers(clip)[places])
    return fastest(decode(some), 0.998)


def _timeline(
    canvas: Canvas, y: int, frame: int, length: int, stacks: dict[str, tuple[np.ndarray, str]]
) -> None:
    """Draw all frames of the clip from left to right, with the members of both stacks marked."""
    left, right, row = 50, WIDTH - 14, 24
    strip = np.full((2 * row, WIDTH - left, 3), 255, np.uint8)
    place = 4 + (np.arange(length) * (right - left) / max(length - 1, 1)).round().astype(int)
    for k, (name, (positions, colour)) in enumerate(stacks.items()):
        middle = k * row + row // 2
        cv2.line(strip, (4, middle), (int(place[-1]), middle), (190, 190, 190), 1)
        again = np.cumsum(np.diff(positions, prepend=0) < 0) > 0
        for number, second in zip(positions.tolist(), again.tolist(), strict=True):
            x, half = int(place[number - 1]), 4 if second else 9
            ends = (x - 1, middle - half), (x + 1, middle + half)
            cv2.rectangle(strip, *ends, rgb_of(colour), -1)
        canvas.text(2, y + middle + 4, name, color=colour)
    x = int(place[frame - 1])
    cv2.line(strip, (x, 0), (x, 2 * row), (34, 34, 34), 1)
    canvas.image(strip, left, y, strip.shape[1], 2 * row)
    at, side = left + x, "center" if 60 < x < right - left - 60 else "left" if x <= 60 else "right"
    canvas.text(at, y + 2 * row + 13, f"frame {frame} of {length}", ha=side)


def _reach(stack: str, what: str, step: int, positions: np.ndarray, have: int) -> str:
    """Say in words which part of the clip a stack covers."""
    words = f"{stack}: {len(positions)} {what}, {step} apart, "
    last = 1 + (len(positions) - 1) * step
    if last <= have:
        return words + f"up to number {last} of {have}."
    fresh = len(np.unique(positions))
    return words + f"longer than the clip: it starts again, and {fresh} different ones remain."


def clip_explorer(
    store: FrameStore, profile: Profile, clips: Iterable[str] | None = None
) -> widgets.VBox:
    """Return the explorer over ``clips`` (default: all); its stacks start as the profile's."""
    clips = list(clips or store.clips)
    class_menu, clip = clip_menus(store, clips)
    frame = int_slider("frame", 1, 1, 2)
    follow_clip(clip, frame, store.n_frames)
    play = widgets.Play(value=1, min=1, max=frame.max, interval=150, description="play")
    widgets.jslink((play, "value"), (frame, "value"))
    widgets.link((frame, "max"), (play, "max"))
    every = max(store.flow_every(name) for name in clips)
    stack = {
        "rgb_frames": int_slider("RGB frames", profile.rgb_frames, 1, 25),
        "rgb_step": int_slider("apart", profile.rgb_step, 1, 20),
        "flow_fields": int_slider("flow fields", profile.flow_fields, 1, 60),
        "flow_step": int_slider("apart", profile.flow_step, every, 10 * every, every),
    }
    rows = [[class_menu, clip], [play, frame], list(stack.values())[:2], list(stack.values())[2:]]
    return explorer(partial(clip_view, store), {"clip": clip, "frame": frame, **stack}, rows)
