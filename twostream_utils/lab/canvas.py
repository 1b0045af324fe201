"""A canvas for pictures that must be drawn in a few ms: pixels for pictures, matplotlib for text.

Six matplotlib axes take longer than a slider can wait. So pictures are resized and pasted as
pixels, and words alone go through matplotlib; a diagram is drawn once, and marks are put on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#222222"
# A finished diagram, and the px across and down at which a value of its axes lies.
Diagram = tuple[np.ndarray, Callable[[float], int], Callable[[float], int]]
_DPI = 100


class Canvas:
    """A white sheet of ``width`` × ``height`` px; places are px from its upper left corner."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        inches = [(side + 1e-6) / _DPI for side in (width, height)]  # 228 px are not to become 227
        self._figure = Figure(inches, dpi=_DPI, layout="none")
        self._figure.patch.set_facecolor("white")
        self._pictures: list[tuple[int, int, np.ndarray]] = []

    def text(self, x: float, y: float, words: str, size: float = 9.5, **style) -> None:
        """Write ``words`` with the left end of their base line at (x, y)."""
        style = {"color": INK, "fontsize": size, **style}
        self._figure.text(x / self.width, 1 - y / self.height, words, **style)

    def picture(
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
        self._pictures.append((x, y, resize(image, width, height, smooth)))

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
        """Return the finished picture with the places of values on ``axes``."""
        picture = self.pixels()
        place = axes.transData.frozen()
        left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
        return (
            picture,
            lambda x: round(place.transform((x, bottom))[0]),
            lambda y: self.height - round(place.transform((left, y))[1]),
        )

    def pixels(self) -> np.ndarray:
        """Return the finished picture, ``(height, width, 3)`` uint8."""
        agg = FigureCanvasAgg(self._figure)
        agg.draw()
        sheet = np.array(agg.buffer_rgba())[..., :3]
        for x, y, picture in self._pictures:
            sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        return np.ascontiguousarray(sheet)


def resize(image: np.ndarray, width: int, height: int, smooth: bool = True) -> np.ndarray:
    """Resize a picture to ``(height, width, …)``, smoothly or with its pixels as squares."""
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how)


def heat(values: np.ndarray, low: float, high: float, cmap: str = "cividis") -> np.ndarray:
    """Map ``(H, W)`` numbers to colours, ``(H, W, 3)`` uint8: ``low`` to ``high``, rest clipped."""
    part = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return matplotlib.colormaps[cmap](part, bytes=True)[..., :3]


def with_mark(
    picture: np.ndarray, x: int, points: Sequence[int], top: int, bottom: int
) -> np.ndarray:
    """Return a copy with a vertical line at ``x`` px and a dot at each height of ``points``."""
    marked = picture.copy()
    cv2.line(marked, (x, top), (x, bottom), (0, 0, 0), 1)
    for y in points:
        cv2.circle(marked, (x, y), 5, (0, 0, 0), -1, cv2.LINE_AA)
    return marked
