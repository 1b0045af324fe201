"""Figures of the course: every function takes arrays and returns a ``Figure``; ``show`` shows it.

Importing this module applies ``course.mplstyle`` to the figures that a notebook draws itself.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure
from PIL import Image

plt.style.use(Path(__file__).with_name("course.mplstyle"))
TIGHT = {"w_pad": 0.02, "h_pad": 0.02, "wspace": 0, "hspace": 0}  # inches between images
WIDTH = 9.0  # inches of a wide figure: what JupyterLab shows whole beside its file browser
FLOW_MAP = "RdBu_r"  # red: right or down, white: rest, blue: left or up
BLUE, RED, GREEN, _, ORANGE, *_ = plt.rcParams["axes.prop_cycle"].by_key()["color"]


def rgb_of(colour: str) -> tuple[int, int, int]:
    """``"#D55E00"`` as three numbers from 0 to 255, for drawing into images."""
    return tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))


def check_alt(alt: str, what: str) -> None:
    """Raise ``ValueError`` for an alt text that says nothing about a ``what``."""
    if len(alt.split()) < 4:
        raise ValueError(f"alt text {alt!r} is too short: say what a reader sees in the {what}")


def picture(fig: Figure | np.ndarray, alt: str) -> tuple[dict, dict]:
    """Return the display bundle and metadata of a figure or an ``(H, W, 3)`` uint8 image.

    The alt text stands where nbconvert, Colab and Jupyter Book look for it (metadata of the PNG),
    and in an ``<img>`` for JupyterLab, which knows no other way; it is also the text for consoles.
    Raises ``ValueError`` for an alt text that says nothing.
    """
    check_alt(alt, "figure")
    out = io.BytesIO()
    if isinstance(fig, Figure):
        fig.savefig(out, format="png", facecolor="white")
        plt.close(fig)
    else:
        Image.fromarray(fig).save(out, format="PNG")
    png = base64.b64encode(out.getvalue()).decode()
    source, fits = f'src="data:image/png;base64,{png}"', 'style="max-width:100%"'
    image = f'<img {source} alt="{html.escape(alt)}" {fits}>'
    bundle = {"image/png": png, "text/html": image, "text/plain": alt}
    return bundle, {"image/png": {"alt": alt}}


def show(fig: Figure | np.ndarray, alt: str) -> None:
    """Show a figure, or an ``(H, W, 3)`` uint8 image, with a text for those who cannot see it.

    ``alt`` says in a sentence what one sees. The figure is closed afterwards.
    """
    bundle, metadata = picture(fig, alt)
    display(bundle, metadata=metadata, raw=True)


class LivePlot:
    """Loss and accuracy curves that redraw in place: give an instance to ``fit`` as ``on_epoch``.

    Outside a notebook it does nothing.
    """

    def __init__(self, title: str):
        self.title = title
        self._handle: DisplayHandle | None = None

    def __call__(self, history: Sequence[Mapping[str, float]]) -> None:
        if get_ipython() is None:
            return
        last = history[-1]
        alt = f"{self.title}: loss and top-1 by epoch. After epoch {last['epoch']}: loss "
        alt += f"{last['loss']:.2f}, training top-1 {100 * last['top1']:.0f} %"
        if "val_top1" in last:
            alt += f", validation top-1 {100 * last['val_top1']:.0f} %"
        bundle, metadata = picture(training_curves(history, self.title), alt)
        if self._handle is None:
            self._handle = display(bundle, metadata=metadata, raw=True, display_id=True)
        else:
            self._handle.update(bundle, metadata=metadata, raw=True)


# --- images and filters -------------------------------------------------------------------------


def contact_sheet(
    images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 5,
    width: float = WIDTH, **imshow,
) -> Figure:  # fmt: skip
    """A grid of images of one size with a short title each, ``width`` inches wide.

    ``images`` are ``(H, W, 3)`` uint8, or ``(H, W)`` numbers with ``imshow``'s ``cmap`` and range.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, image_width = np.shape(images[0])[:2]
    cell = width / columns
    title_room = 0.22 if len(titles) else 0.04
    size = (width, rows * (cell * height / image_width + title_room))
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    fig.get_layout_engine().set(**TIGHT)
    for axis in axes.flat:
        axis.axis("off")
    for k, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image, **imshow)
        if len(titles):
            axis.set_title(titles[k], fontsize=min(11, 5 + 4.5 * cell), pad=2)
    return fig


def spread(length: int, count: int) -> np.ndarray:
    """``count`` of ``length`` places, evenly spread from the first to the last; all if fewer."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int)


def batch_of_stacks(
    stacks: np.ndarray, titles: Sequence[str], columns: int = 10, width: float = WIDTH
) -> Figure:
    """Draw a batch ``(N, T, H, W, 3)`` uint8: one clip a row, its frames from left to right.

    Of more than ``columns`` frames, ``columns`` evenly spread ones are drawn, in a figure ``width``
    inches wide. For flow stacks see ``batch_of_flow``.
    """
    n, length, height, across = stacks.shape[:4]
    chosen = spread(length, columns)
    size = (width, n * width / (len(chosen) + 1) * height / across + 0.3)
    fig, axes = plt.subplots(n, len(chosen), figsize=size, squeeze=False)
    fig.get_layout_engine().set(**TIGHT)
    for row, (stack, title) in enumerate(zip(stacks, titles, strict=True)):
        for axis, t in zip(axes[row], chosen):
            axis.imshow(stack[t])
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if row == 0:
                axis.set_title(f"{t + 1}", fontsize=10, pad=2)
        axes[row, 0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    return fig


def filters(
    weight: np.ndarray, titles: Sequence[str] = (), columns: int = 0, top: float | None = None
) -> Figure:
    """Draw first-layer filters ``(N, 3, k, k)`` in colour or ``(N, 1, k, k)`` from blue to red.

    By default eight stand in a row, sixteen if there are more than two rows. ``top`` is the weight
    drawn in full strength: give one number to several figures, and they can be compared. Zero is
    mid-grey in colour filters and white in the others. Without ``top``, colour filters are
    stretched one by one to 0…1, and the others to their largest weight.
    """
    weight = np.asarray(weight, dtype=np.float32).transpose(0, 2, 3, 1)
    columns = columns or (8 if len(weight) <= 16 else 16)
    if weight.shape[-1] == 1:
        top = top or float(np.abs(weight).max())
        return contact_sheet(weight[..., 0], titles, columns, cmap=FLOW_MAP, vmin=-top, vmax=top)
    low, high = -top if top else weight.min((1, 2, 3), keepdims=True), top
    high = high or weight.max((1, 2, 3), keepdims=True)
    return contact_sheet(np.clip((weight - low) / (high - low + 1e-9), 0, 1), titles, columns)


# --- training and scores ------------------------------------------------------------------------


def training_curves(history: Sequence[Mapping[str, float]], title: str = "") -> Figure:
    """Draw the history of ``fit``: loss on the left, top-1 in % on the right, by epoch."""
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for axis, key, scale in (axes[0], "loss", 1), (axes[1], "top1", 100):
        lines = (key, "training", BLUE, "o-"), (f"val_{key}", "validation", RED, "s--")
        for name, label, colour, style in lines:
            found = [row for row in history if name in row]  # validation may be every few epochs
            if found:
                epochs = [row["epoch"] for row in found]
                values = [scale * row[name] for row in found]
                axis.plot(epochs, values, style, color=colour, markersize=4, label=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("epoch")
        axis.legend()
    axes[0].set(ylabel="loss", ylim=(0, None))
    axes[1].set(ylabel="top-1 %", ylim=(0, 101))
    fig.suptitle(title)
    return fig


def predictions(
    frame: np.ndarray, scores: Mapping[str, np.ndarray], classes: Sequence[str], truth: int
) -> Figure:
    """Draw a frame beside the ``scores`` ``(C,)`` of each stream or method, probabilities.

    The classes that any of them puts among its three best, one panel a score; the true class is
    green.
    """
    best = np.concatenate([np.argsort(-s)[:3] for s in scores.values()])
    shown = sorted({*best.tolist(), truth}, reverse=True)
    size = (WIDTH, 1.2 + 0.24 * max(len(shown), 6))
    widths = [1.5] + [1] * len(scores)
    fig, axes = plt.subplots(1, len(widths), figsize=size, width_ratios=widths)
    axes[0].imshow(frame)
    axes[0].axis("off")
    axes[0].set_title(classes[truth])
    for axis, (name, values) in zip(axes[1:], scores.items(), strict=True):
        colours = [GREEN if k == truth else BLUE for k in shown]
        bars = axis.barh(range(len(shown)), 100 * values[shown], color=colours)
        axis.bar_label(bars, [f"{100 * v:.0f}" for v in values[shown]], fontsize=9, padding=2)
        axis.set(title=name, xlim=(0, 118), xticks=(0, 50, 100), xlabel="%")
        axis.set_yticks(range(len(shown)), [classes[k] for k in shown] if axis is axes[1] else [])
    return fig


def intervals(
    rows: Sequence[tuple[str, float, tuple[float, float], Sequence[float]]],
    xlabel: str = "top-1 %",
    mark: float | None = None,
) -> Figure:
    """Draw rows of (name, mean, interval, value of each seed), fractions of 1, as dots with bars.

    ``mark`` is a vertical line to compare with, such as 0 for differences.
    """
    fig, axis = plt.subplots(figsize=(8.5, 0.9 + 0.36 * len(rows)))
    for y, (_, mean, (low, high), each) in enumerate(rows):
        axis.plot([100 * low, 100 * high], [y, y], color=BLUE, linewidth=2)
        if len(each) > 1:  # one would lie under the mean
            axis.plot(100 * np.asarray(each), [y] * len(each), "o", color=ORANGE, markersize=4)
        axis.plot(100 * mean, y, "D", color=BLUE, markersize=7)
    if mark is not None:
        axis.axvline(100 * mark, color="black", linewidth=1, linestyle=":")
    axis.plot([], [], "D-", color=BLUE, label="mean and 95 % interval")
    if any(len(each) > 1 for *_, each in rows):
        axis.plot([], [], "o", color=ORANGE, markersize=4, label="each seed")
    axis.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axis.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return fig
