"""From controls to an image: what all explorers share.

Only core widgets and the API that ipywidgets 7 (Colab) and 8 share. The drawing is in plain
functions without widgets, in explore/: each returns an image and the sentence that says what it
shows, so ``show(*view(…))`` is the static twin of an explorer.

Six matplotlib axes take longer than a slider can wait. So images are resized and pasted as pixels,
and words alone go through matplotlib; a diagram is drawn once, and marks are put on it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence

import cv2
import ipywidgets as widgets
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..store import FrameStore

Drawing = tuple[np.ndarray, str]  # image (H, W, 3) uint8, and what one sees in it
# A finished diagram, and the px across and down at which a value of its axes lies.
Diagram = tuple[np.ndarray, Callable[[float], int], Callable[[float], int]]
INK = "#222222"
DPI = 100


class Canvas:
    """A white sheet of ``width`` × ``height`` px; places are px from its upper left corner."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        inches = [(side + 1e-6) / DPI for side in (width, height)]  # 228 px are not to become 227
        self._figure = Figure(inches, dpi=DPI, layout="none")
        self._figure.patch.set_facecolor("white")
        self._images: list[tuple[int, int, np.ndarray]] = []

    def text(self, x: float, y: float, words: str, size: float = 9.5, **style) -> None:
        """Write ``words`` with the left end of their base line at (x, y)."""
        style = {"color": INK, "fontsize": size, **style}
        self._figure.text(x / self.width, 1 - y / self.height, words, **style)

    def image(
        self, image: np.ndarray, x: int, y: int, width: int, height: int, title: str = "",
        smooth: bool = True,
    ) -> None:  # fmt: skip
        """Paste ``(H, W, 3)`` uint8, resized, with a title above it; ``smooth=False`` for pixels.

        Raises ``ValueError`` for a place that is not on the sheet.
        """
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise ValueError(
                f"{title!r}: {width}×{height} px at ({x}, {y}) is not on a sheet of "
                f"{self.width}×{self.height} px"
            )
        if title:
            self.text(x, y - 5, title)
        self._images.append((x, y, resize(image, width, height, smooth)))

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Return matplotlib axes whose frame fills the given rectangle."""
        place = (x, self.height - y - height, width, height)
        scale = (self.width, self.height) * 2
        axes = self._figure.add_axes([a / b for a, b in zip(place, scale)])
        axes.tick_params(labelsize=9)
        axes.xaxis.label.set_fontsize(9.5)
        axes.yaxis.label.set_fontsize(9.5)
        return axes

    def diagram(self, axes: Axes) -> Diagram:
        """Return the finished image with the places of values on ``axes``."""
        image, place = self.pixels(), axes.transData.frozen()
        left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
        return (
            image,
            lambda x: round(place.transform((x, bottom))[0]),
            lambda y: self.height - round(place.transform((left, y))[1]),
        )

    def pixels(self) -> np.ndarray:
        """Return the finished image, ``(height, width, 3)`` uint8."""
        agg = FigureCanvasAgg(self._figure)
        agg.draw()
        sheet = np.array(agg.buffer_rgba())[..., :3]
        for x, y, image in self._images:
            sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
        return np.ascontiguousarray(sheet)


def resize(image: np.ndarray, width: int, height: int, smooth: bool = True) -> np.ndarray:
    """Resize an image to ``(height, width, …)``, smoothly or with its pixels as squares."""
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how)


def heat(values: np.ndarray, low: float, high: float, cmap: str = "cividis") -> np.ndarray:
    """Map ``(H, W)`` numbers to colours, ``(H, W, 3)`` uint8: ``low`` to ``high``, rest clipped."""
    part = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return matplotlib.colormaps[cmap](part, bytes=True)[..., :3]


def with_mark(
    diagram: Diagram, x: float, points: Sequence[float], top: int, bottom: int
) -> np.ndarray:
    """A copy of a diagram with a vertical line at the value ``x`` and a dot at each of ``points``.

    The line runs from ``top`` to ``bottom`` px.
    """
    marked, x = diagram[0].copy(), diagram[1](x)
    cv2.line(marked, (x, top), (x, bottom), (0, 0, 0), 1)
    for y in points:
        cv2.circle(marked, (x, diagram[2](y)), 5, (0, 0, 0), -1, cv2.LINE_AA)
    return marked


def explorer(
    draw: Callable[..., Drawing],
    controls: Mapping[str, widgets.Widget],
    rows: Sequence[Sequence[widgets.Widget]] | None = None,
) -> widgets.VBox:
    """Return controls above an image, and below it the sentence that ``draw`` gives.

    ``draw`` is called with the value of every control by name, once for each change that changes
    a value. ``rows`` arranges the controls, others such as a play button among them; by default
    they stand in one row. The box's last two children are the ``Image`` and the ``HTML`` sentence.
    """
    fits = widgets.Layout(max_width="100%", margin="0")  # margins are cut off on a narrow page
    image = widgets.Image(format="png", layout=fits)
    sentence = widgets.HTML()
    drawn: dict = {}

    def redraw(*_) -> None:
        values = {name: control.value for name, control in controls.items()}
        if values == drawn or None in values.values():  # None: a menu between two lists
            return
        pixels, words = draw(**values)
        image.value, sentence.value = png_bytes(pixels), html.escape(words)
        drawn.clear()
        drawn.update(values)

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    wrap = widgets.Layout(flex_flow="row wrap")
    boxes = [widgets.HBox(list(row), layout=wrap) for row in rows or [list(controls.values())]]
    start = widgets.Layout(align_items="flex-start")  # images keep their shape
    return widgets.VBox([*boxes, image, sentence], layout=start)


def clip_menus(
    store: FrameStore, clips: Iterable[str] | None = None
) -> tuple[widgets.Dropdown, widgets.Dropdown]:
    """Return a menu of classes, and one of the ``clips`` (default: all) of the chosen class."""
    by_class: dict[str, list[str]] = {}
    for clip in clips or store.clips:
        by_class.setdefault(store.label(clip), []).append(clip)
    classes = sorted(by_class, key=str.lower)
    class_menu = widgets.Dropdown(options=classes, description="class")
    clip_menu = widgets.Dropdown(
        options=by_class[classes[0]], description="clip", layout=widgets.Layout(width="360px")
    )

    def choose_class(change: dict) -> None:
        clip_menu.options = by_class[change["new"]]

    class_menu.observe(choose_class, names="value")
    return class_menu, clip_menu


def int_slider(name: str, value: int, low: int, high: int, step: int = 1) -> widgets.IntSlider:
    """Return a slider with room for its name."""
    return widgets.IntSlider(
        value=value, min=low, max=high, step=step, description=name,
        style={"description_width": "90px"},
    )  # fmt: skip


def png_bytes(image: np.ndarray) -> bytes:
    """Encode an ``(H, W, 3)`` uint8 RGB image as PNG, fast rather than small."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
