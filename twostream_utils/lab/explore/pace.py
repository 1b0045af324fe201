"""Pace explorer: cores, time to load a clip, speed of the GPU, and who waits for whom."""

from __future__ import annotations

import ipywidgets as widgets

from ..plots import BLUE, GREEN, ORANGE
from ..speed import pace, timeline
from ..widgets import Canvas, Drawing, explorer, int_slider

SHOWN = 6  # workers drawn; more would be thin lines
STEPS = 16  # clips of the GPU that the time line has room for, at its own speed


def pace_view(cores: int = 1, decode_ms: float = 16.0, gpu_clips: float = 100.0) -> Drawing:
    """Draw workers and GPU at work, and the pace of both by number of cores.

    ``cores`` workers, one a core, each ``decode_ms`` ms a clip; a GPU of ``gpu_clips`` clips a
    second. On the left a time line: a box is one clip, a gap is waiting. On the right clips a
    second over the number of cores. Returns the image and a sentence.
    """
    now = pace(cores, decode_ms, gpu_clips)
    canvas = Canvas(960, 300)
    _time_line(canvas, cores, decode_ms, gpu_clips)
    axis = canvas.axes(700, 36, 245, 214)
    most = max(8, cores + 2)
    counts = range(1, most + 1)
    rates = [pace(n, decode_ms, gpu_clips) for n in counts]
    top = 1.6 * max(gpu_clips, now.together)
    label = "loader" if rates[0].loader < top else "loader ↑"  # above the image
    axis.plot(counts, [r.loader for r in rates], "--", color=BLUE, linewidth=1.5, label=label)
    axis.axhline(gpu_clips, color=GREEN, linestyle=":", linewidth=1.5, label="GPU")
    axis.plot(counts, [r.together for r in rates], color="black", label="together")
    axis.plot(cores, now.together, "o", color="black", markersize=8)
    axis.set(xlabel="cores", xlim=(0.5, most + 0.5), ylim=(0, top))
    axis.set_title("clips a second", fontsize=9.5, loc="left")
    axis.locator_params(nbins=4)
    legend = axis.legend(fontsize=8.5, loc="upper left", ncols=3, handlelength=1.5, columnspacing=1)
    legend.set(frame_on=True)
    legend.get_frame().set(edgecolor="none")  # a steep line runs behind its words
    sentence = (
        f"{cores} core{'s' * (cores > 1)} at {decode_ms:g} ms a clip load {now.loader:.1f} clips a "
        f"second, the GPU could take {now.gpu:g}: together {now.together:.1f}. The {now.waits} "
        f"waits {now.idle:.0%} of its time."
    )
    return canvas.pixels(), sentence


def _time_line(canvas: Canvas, cores: int, decode_ms: float, gpu_clips: float) -> None:
    """Draw a box for every clip in a row for every worker, and one for the GPU below them."""
    span = max(4 * decode_ms, STEPS * 1000 / gpu_clips)
    jobs = timeline(cores, decode_ms, gpu_clips, int(span * gpu_clips / 1000) + 4 * cores)
    drawn = min(cores, SHOWN)
    rows = [f"worker {k + 1}" for k in range(drawn)] + ["GPU"]
    axis = canvas.axes(75, 36, 560, 214)
    for row, who in enumerate(rows):
        own = [job for job in jobs if job[0] == who and job[2] < span]
        two = (GREEN,) * 2 if who == "GPU" else (BLUE, ORANGE)
        colours = [two[clip // cores % 2] for _, clip, *_ in own]
        boxes = [(start, end - start) for *_, start, end in own]
        axis.broken_barh(boxes, (row - 0.35, 0.7), color=colours, edgecolor="white", linewidth=0.8)
    axis.locator_params("x", nbins=5)
    axis.set_yticks(range(len(rows)), rows)
    axis.invert_yaxis()
    axis.set(xlim=(0, span), xlabel="ms from the start")
    axis.grid(False)
    more = f", {drawn} of {cores} workers drawn" if drawn < cores else ""
    axis.set_title(f"a box is one clip, a gap is waiting{more}", fontsize=9.5, loc="left")


def pace_explorer() -> widgets.VBox:
    """Return the explorer: sliders for cores, ms a clip and the GPU's clips a second."""
    controls = {
        "cores": int_slider("cores", 1, 1, 16),
        "decode_ms": int_slider("ms a clip", 16, 2, 100),
        "gpu_clips": int_slider("GPU clips/s", 100, 10, 1000, 10),
    }
    return explorer(pace_view, controls)
