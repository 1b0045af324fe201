"""What the stored flow looks like, class by class, and whether that can be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from ..splits import class_order
from ..store import FrameStore

CLIPS, FIELDS = 8, 8  # of each class, of each clip: enough for these numbers
REST = 128


@dataclass
class ClassStats:
    """Flow of a class in stored values (0 to 255, rest is 128; one step is 0.157 px).

    `mean` of u and of v, each the median of the clips' means; `spread`, the standard deviation of
    both; shares of values that are `clipped` at ±20 px and that are at rest (`zero`), each 0 to 1;
    `constant`, the share of RGB frames of one colour all over. `fields` were looked at, 0 if there
    is no flow.
    """

    label: str
    clips: int
    fields: int
    mean: tuple[float, float]
    spread: float
    clipped: float
    zero: float
    constant: float


def class_stats(
    store: FrameStore, clips: Iterable[str] | None = None, progress: bool = True
) -> list[ClassStats]:
    """Numbers of each class, from at most 8 clips with at most 8 fields each, evenly spread.

    Raises:
        StoreError: a clip that cannot be read.
    """
    by_label: dict[str, list[str]] = {}
    for clip in store.clips if clips is None else clips:
        by_label.setdefault(store.labels.get(clip, "without a label"), []).append(clip)
    bar = tqdm(class_order(by_label), desc="looking at the flow", unit="class",
               disable=not progress, delay=5)  # fmt: skip
    return [_stats(store, label, by_label[label]) for label in bar]


def _stats(store: FrameStore, label: str, clips: list[str]) -> ClassStats:
    counts = np.zeros((2, 256), np.int64)  # how often u and v have each value
    frames = constant = fields = 0
    means = []
    for clip in _spread(clips, CLIPS):
        if n := store.n_frames(clip):
            rgb = store.read_rgb(clip, _spread(range(1, n + 1), 3))
            frames += len(rgb)
            constant += int((rgb.std(axis=(1, 2)).max(axis=1) < 1).sum())
        if store.n_flow(clip):
            flow = store.read_flow(clip, _spread(store.flow_numbers(clip), FIELDS))
            fields += len(flow)
            means.append(flow.mean(axis=(0, 1, 2)))
            for axis in (0, 1):
                counts[axis] += np.bincount(flow[..., axis].ravel(), minlength=256)
    total = max(counts.sum(), 1)
    values = np.arange(256)
    # A camera that pans moves the mean of its own clip; a wrong quantisation that of every clip.
    mean = np.median(means, axis=0) if means else (0.0, 0.0)
    both = counts.sum(axis=0)
    spread = np.sqrt((both * (values - both @ values / total) ** 2).sum() / total)
    # JPEG moves a value by a step, so 254 may have been 255; rest, 127.5, is stored as 127 or 128.
    return ClassStats(
        label=label,
        clips=len(clips),
        fields=fields,
        mean=(float(mean[0]), float(mean[1])),
        spread=float(spread),
        clipped=float(both[[0, 1, 254, 255]].sum() / total),
        zero=float(both[127:129].sum() / total),
        constant=constant / max(frames, 1),
    )


def _spread(items, count: int) -> list:
    """At most `count` of `items`, evenly spread from the first to the last."""
    at = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[k] for k in at]


def table(stats: list[ClassStats]) -> list[str]:
    """Lines of a table for printing, the last one says how to read it."""
    width = max([5, *(len(row.label) for row in stats)])
    lines = [f"{'flow':{width}} {'clips':>6} {'mean u':>7} {'mean v':>7} {'spread':>7} "
             f"{'clipped':>8} {'zero':>7}"]  # fmt: skip
    for row in stats:
        u, v = row.mean
        numbers = f"{u:7.1f} {v:7.1f} {row.spread:7.1f} {row.clipped:8.1%} {row.zero:7.1%}"
        lines.append(f"{row.label:{width}} {row.clips:6} {numbers if row.fields else 'no flow'}")
    return [*lines, f"(stored values, 0 to 255; zero: at rest, {REST}; clipped: at ±20 px)"]


def warnings(stats: list[ClassStats]) -> list[str]:
    """A line for whatever no real video should look like; empty if all is well."""
    lines = []
    for row in stats:
        reasons = []
        if row.constant > 0:
            reasons.append(f"{row.constant:.0%} of the frames have one colour all over")
        if row.fields:
            for axis, mean in zip("uv", row.mean):
                if abs(mean - REST) > (12 if row.clips >= 5 else 40):  # two or three may all pan
                    reasons.append(
                        f"the mean of {axis} is {mean:.0f}, far from rest, {REST}: is it "
                        "quantised to ±20 px, or does every camera pan the same way?"
                    )
            if row.zero > 0.999:
                reasons.append("nothing moves in any field: are the frames of a clip all the same?")
            if row.clipped > 0.1:
                reasons.append(f"{row.clipped:.0%} of the flow is faster than ±20 px")
            if row.spread > 50:
                reasons.append(
                    f"a spread of {row.spread:.0f} is {row.spread * 40 / 255:.0f} px per frame: "
                    "was each field stretched by its own minimum and maximum?"
                )
        lines.extend(f"warning: {row.label}: {reason}" for reason in reasons)
    return lines
