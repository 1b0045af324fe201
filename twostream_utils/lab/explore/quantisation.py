"""Quantisation explorer: what eight bits and JPEG leave of a flow field, in px."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import ipywidgets as widgets
import numpy as np

from ...flow import ALGORITHMS, compute_flow, decode, quantise
from ...store import FrameStore
from ..flow_colours import flow_to_rgb
from ..plots import BLUE, RED
from ..widgets import Canvas, Diagram, Drawing, clip_menus, explorer, heat, int_slider, with_mark

BOUNDS = np.geomspace(0.25, 64, 17)  # px, the places of the error curve
# px, those of the control: the lowest are below the fastest pixel of a quiet clip.
STEPS = 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64
RESTING = 0.3  # px per frame; slower pixels count as at rest
FULL = 0.5  # px, the brightest colour of the image of the error


def store_and_read(flow: np.ndarray, bound: float, quality: int) -> tuple[np.ndarray, int]:
    """Send flow ``(H, W, 2)`` px through storage: clamp, eight bits, JPEG, and back.

    ``bound`` in px, above 0; ``quality`` 1 to 100. Returns the flow that is read back, float32,
    and the size of both JPEGs in bytes. This is what a field of the frame store went through, at
    ±20 px (Feichtenhofer et al. 2016).
    """
    q, size = quantise(flow, bound), 0
    for channel in 0, 1:
        plane = np.ascontiguousarray(q[..., channel])
        jpeg = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        q[..., channel] = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
        size += len(jpeg)
    return decode(q, bound), size


def errors(flow: np.ndarray, bound: float, quality: int) -> tuple[float, float]:
    """Mean length of the error in px: of the pixels that move, and of those at rest."""
    gap = np.linalg.norm(store_and_read(flow, bound, quality)[0] - flow, axis=-1)
    moving = np.linalg.norm(flow, axis=-1) > RESTING
    return tuple(float(gap[those].mean()) if those.any() else 0.0 for those in (moving, ~moving))


class Fields:
    """A store's flow fields as they were before storage; what was computed last is kept with it."""

    def __init__(self, store: FrameStore):
        self.store = store
        self.flow, self.diagram = lru_cache(8)(self.flow), lru_cache(64)(self.diagram)

    def flow(self, clip: str, field: int) -> np.ndarray:
        """Compute field ``field`` (1-based) from two frames; ``IndexError`` if it is not there."""
        last = self.store.n_frames(clip) - 1
        if not 1 <= field <= last:
            raise IndexError(f"clip {clip} has no flow field {field}: there are 1 to {last}")
        pair = self.store.read_rgb(clip, [field, field + 1])
        made_by = self.store.flow_algorithm(clip)
        made_by = made_by if made_by in ALGORITHMS else "dis_small"
        return compute_flow(*(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair), made_by)

    def diagram(self, clip: str, field: int, quality: int, height: int) -> Diagram:
        """The mean error over the bound, of moving and of resting pixels: all but the mark."""
        flow = self.flow(clip, field)
        canvas = Canvas(300, height)
        axis = canvas.axes(56, 26, 236, height - 80)
        curves = np.array([errors(flow, bound, quality) for bound in BOUNDS]).T
        for values, label, colour in zip(curves, ("moving pixels", "at rest"), (BLUE, RED)):
            axis.plot(BOUNDS, values, color=colour, label=label)
        axis.set(xscale="log", yscale="log", xlim=(0.25, 64), ylim=(0.01, 10))
        axis.set_xticks([0.3, 1, 3, 10, 20, 60], ["0.3", "1", "3", "10", "20", "60"])
        axis.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
        axis.minorticks_off()
        axis.set_xlabel("bound, px per frame")
        axis.set_ylabel("mean error, px", labelpad=1)
        # Above the frame: the mark of the bound runs through all of it.
        axis.legend(fontsize=9, loc="lower left", bbox_to_anchor=(-0.03, 0.98), ncols=2)
        return canvas.diagram(axis)

    def view(self, clip: str, field: int, bound: float = 20, quality: int = 95) -> Drawing:
        """See :func:`quantisation_view`."""
        flow = self.flow(clip, field)
        back, size = store_and_read(flow, bound, quality)
        fastest = float(np.linalg.norm(flow, axis=-1).max())
        moving, resting = errors(flow, bound, quality)
        clamped = float((np.abs(flow) > bound).any(axis=-1).mean())
        gap = np.linalg.norm(back - flow, axis=-1)
        width = 205
        height = round(width * flow.shape[0] / flow.shape[1])
        tall = max(height, 154) + 74
        canvas = Canvas(960, tall)
        panels = {
            "flow as computed": flow_to_rgb(flow, max(fastest, 1.0)),
            "stored and read": flow_to_rgb(back, max(fastest, 1.0)),
            f"error, yellow: {FULL} px or more": heat(gap, 0, FULL),
        }
        for k, (title, panel) in enumerate(panels.items()):
            canvas.image(panel, k * (width + 8), 26, width, height, title)
        curves, marks = self.diagram(clip, field, quality, tall), np.fmax([moving, resting], 0.01)
        canvas.image(with_mark(curves, bound, marks, 26, tall - 54), 660, 0, 300, tall)
        sentence = (
            f"Flow field {field} of {clip}, fastest pixel {fastest:.1f} px. Bound ±{bound:g} px, "
            f"JPEG quality {quality}: mean error {moving:.2f} px where it moves and {resting:.2f} "
            f"px at rest; {clamped:.1%} of the pixels are clamped; one step of the eight bits is "
            f"{2 * bound / 255:.3f} px; u and v take {size / 1000:.1f} kB."
        )
        return canvas.pixels(), sentence


def quantisation_view(
    store: FrameStore, clip: str, field: int, bound: float = 20, quality: int = 95
) -> Drawing:
    """Draw one flow field before and after storage, the error, and the error for other bounds.

    ``field`` is 1-based, ``bound`` in px per frame above 0, ``quality`` 1 to 100 (JPEG). Returns
    the image and a sentence with the errors in px. Raises ``IndexError`` for a field that is not
    there.
    """
    return Fields(store).view(clip, field, bound, quality)


def quantisation_explorer(
    store: FrameStore, clips: Iterable[str] | None = None, start: tuple[str, int] | None = None
) -> widgets.VBox:
    """Return the explorer over the flow fields of ``clips`` (default: all).

    It opens on the clip and the field of ``start``, or in the middle of the first clip.
    """
    class_menu, clip = clip_menus(store, clips)
    field = int_slider("field", 1, 1, 2)

    def keep_within(*_) -> None:
        if clip.value is not None:  # a menu between two lists
            field.max = store.n_frames(clip.value) - 1

    keep_within()
    clip.observe(keep_within, names="value")
    if start:
        class_menu.value = store.label(start[0])
        clip.value, field.value = start
    else:
        field.value = (1 + field.max) // 2
    bound = widgets.SelectionSlider(
        value=20, options=[(f"{step:g}", step) for step in STEPS], description="bound, px",
        style={"description_width": "90px"},
    )  # fmt: skip
    quality = int_slider("JPEG quality", 95, 5, 100, 5)
    controls = {"clip": clip, "field": field, "bound": bound, "quality": quality}
    rows = [[class_menu, clip, field], [bound, quality]]
    return explorer(Fields(store).view, controls, rows)
