"""Explorers: controls that redraw a picture. The drawing is in plain functions without widgets.

Only core widgets and the API that ipywidgets 7 (Colab) and 8 share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import cv2
import ipywidgets as widgets
import numpy as np

from .flow import colour_wheel, decode, flow_to_rgb
from .store import FrameStore

# Frames of the RGB stack and fields of the flow stack, 1-based, for a clip of n frames.
Stack = Callable[[int], tuple[Sequence[int], Sequence[int]]]

PANELS = ("RGB", "flow: colour", "u: right", "v: down", "arrows")
INK, BLUE, RED, GREY = (34, 34, 34), (0, 114, 178), (213, 94, 0), (200, 200, 200)
TITLE, TIMELINE, GAP = 22, 56, 6


def clip_view(
    store: FrameStore,
    clip: str,
    frame: int,
    rgb_frames: Collection[int] = (),
    flow_fields: Collection[int] = (),
    height: int = 150,
) -> np.ndarray:
    """Draw frame ``frame`` (1-based) of a clip five ways above a timeline, ``(H, W, 3)`` uint8.

    RGB, flow as colour with the wheel in its corner, raw u, raw v, arrows; panels are ``height``
    px high. The last frame of a clip has no flow of its own and shows that before it. On the
    timeline, the frames in ``rgb_frames`` are blue and the fields in ``flow_fields`` are orange.
    Raises ``IndexError`` naming the clip and its range for a frame that is not there.
    """
    image = store.rgb(clip, frame)
    q = store.flow(clip, min(frame, store.n_flow(clip)))
    flow = decode(q)
    width = round(height * image.shape[1] / image.shape[0])
    colour = _fit(flow_to_rgb(flow), width, height)
    wheel = colour_wheel(height // 4)
    disc = (wheel != 255).any(axis=-1)
    corner = colour[-wheel.shape[0] :, -wheel.shape[1] :]
    corner[disc] = wheel[disc]
    panels = [
        _fit(image, width, height),
        colour,
        *(_fit(np.dstack([q[..., k]] * 3), width, height) for k in (0, 1)),
        _arrows(image, flow, width, height),
    ]
    step = width + GAP
    full = step * len(panels) - GAP
    canvas = np.full((TITLE + height + TIMELINE, full, 3), 255, np.uint8)
    for k, (panel, title) in enumerate(zip(panels, PANELS, strict=True)):
        _write(canvas, title, (k * step + 2, TITLE - 7))
        canvas[TITLE : TITLE + height, k * step : k * step + width] = panel
    _timeline(canvas[TITLE + height :], frame, store.n_frames(clip), rgb_frames, flow_fields)
    return canvas


def _fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def _write(canvas: np.ndarray, text: str, at: tuple[int, int], colour=INK) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def _arrows(image: np.ndarray, flow: np.ndarray, width: int, height: int) -> np.ndarray:
    """The frame with arrows, the longest about two rows; under 0.3 px per frame there is none."""
    panel = _fit(image, width, height)
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
        for colour, thick in ((255, 255, 255), 3), (RED, 1):
            cv2.arrowedLine(panel, *ends, colour, thick, cv2.LINE_AA, tipLength=0.35)
    return panel


def _timeline(
    strip: np.ndarray, frame: int, length: int, rgb: Collection[int], flow: Collection[int]
) -> None:
    """Draw all frames of the clip as ticks into ``strip``, with those of the two stacks marked."""
    left, right = 46, strip.shape[1] - 10
    place = left + (np.arange(length) * (right - left) / max(length - 1, 1)).round().astype(int)
    for label, y, colour, marked in ("RGB", 17, BLUE, set(rgb)), ("flow", 33, RED, set(flow)):
        _write(strip, label, (2, y + 4), colour)
        cv2.line(strip, (left, y), (right, y), GREY, 1)
        for number, x in enumerate(place.tolist(), start=1):
            if number in marked:
                cv2.rectangle(strip, (x - 1, y - 5), (x + 1, y + 5), colour, -1)
    x = int(place[frame - 1])
    cv2.line(strip, (x, 6), (x, 40), INK, 1)
    text = f"{frame} / {length}"
    _write(strip, text, (min(max(x - 20, left), right - 9 * len(text)), 53))


def png_bytes(image: np.ndarray) -> bytes:
    """Encode an ``(H, W, 3)`` uint8 RGB picture as PNG, fast rather than small."""
    ok, data = cv2.imencode(
        ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    if not ok:
        raise ValueError(f"a picture of shape {image.shape} could not be encoded as PNG")
    return data.tobytes()


def clip_walker(store: FrameStore, stack: Stack | None = None, height: int = 150) -> widgets.Widget:
    """Return controls to walk through every clip of ``store``: class, clip, frame, play.

    ``stack`` gives the frames and fields of the two stacks for a clip of n frames; they are
    marked on the timeline.
    """
    by_class: dict[str, list[str]] = {}
    for clip in store.clips:
        by_class.setdefault(store.label(clip), []).append(clip)
    classes = sorted(by_class, key=str.lower)
    class_menu = widgets.Dropdown(options=classes, description="class")
    clip_menu = widgets.Dropdown(options=by_class[classes[0]], description="clip")
    frame = widgets.IntSlider(
        value=1, min=1, max=store.n_frames(clip_menu.value), description="frame"
    )
    play = widgets.Play(value=1, min=1, max=frame.max, interval=150, description="play")
    image = widgets.Image(format="png")
    widgets.jslink((play, "value"), (frame, "value"))

    def draw(*_) -> None:
        rgb, flow = stack(store.n_frames(clip_menu.value)) if stack else ((), ())
        picture = clip_view(store, clip_menu.value, frame.value, rgb, flow, height)
        image.value = png_bytes(picture)

    def choose_class(change: dict) -> None:
        clip_menu.options = by_class[change["new"]]

    def choose_clip(change: dict) -> None:
        if change["new"] is None:
            return
        frame.max = play.max = store.n_frames(change["new"])
        draw()

    class_menu.observe(choose_class, names="value")
    clip_menu.observe(choose_clip, names="value")
    frame.observe(draw, names="value")
    draw()
    return widgets.VBox([widgets.HBox([class_menu, clip_menu]), widgets.HBox([play, frame]), image])
