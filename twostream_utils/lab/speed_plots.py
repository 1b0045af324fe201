"""Figures of notebook 10: bars for stages, what growth costs, ratios to baselines."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .plots import BLUE, ORANGE

FARTHEST = 16  # ratios beyond it are drawn there, as arrowheads


def stage_bars(times: Mapping[str, Mapping[str, float]], unit: str = "ms a clip") -> Figure:
    """Draw ``{name: {stage: time}}`` as a bar for every stage and name, stages from the top."""
    stages = list(next(iter(times.values())))
    fig, axis = plt.subplots(figsize=(8.5, 0.8 + 0.42 * len(stages)))
    high = 0.8 / len(times)
    for k, (name, taken) in enumerate(times.items()):
        at = np.arange(len(stages)) + (k - (len(times) - 1) / 2) * high
        values = [taken[stage] for stage in stages]
        label = f"{name}: {sum(values):.1f} {unit} in all"
        bars = axis.barh(at, values, high, color=(ORANGE, BLUE)[k % 2], label=label)
        axis.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, fontsize=9)
    axis.set_yticks(range(len(stages)), stages)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(unit)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return fig


def ratios(entries: Mapping[str, Mapping]) -> Figure:
    """Draw rows of results.json that have a baseline: median ratio, quartiles, a line at 1."""
    rows = {name: entry for name, entry in entries.items() if "ratio" in entry}
    fig, axis = plt.subplots(figsize=(8.5, 0.9 + 0.32 * len(rows)))
    for y, entry in enumerate(rows.values()):
        ratio = entry["ratio"]
        at, marker = (FARTHEST, ">") if ratio > FARTHEST else (ratio, "D")
        axis.plot(np.minimum(entry["quartiles"], FARTHEST), [y, y], color=BLUE, linewidth=3)
        axis.plot(at, y, marker, color=BLUE, markersize=7)
        text = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # not struck by the line at 1
        axis.annotate(
            text, (at, y), (0, 7), textcoords="offset points", ha="center", fontsize=8.5, bbox=box
        )
    axis.axvline(1, color="black", linewidth=1, linestyle=":")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(rows)), rows)
    axis.set_ylim(len(rows) - 0.5, -0.7)
    axis.set_xlabel("times as good as the baseline")
    return fig


def growth(entries: Mapping[str, Mapping]) -> Figure:
    """Draw the curves of results.json, medians with quartiles; dotted: in proportion to x."""
    curves = [entry for entry in entries.values() if "series" in entry]
    rows = -(-len(curves) // 2)
    fig, axes = plt.subplots(rows, 2, figsize=(10, 3.4 * rows), squeeze=False)
    for axis, entry in zip(axes.flat, curves):
        x = np.array(entry["x"], float)
        for (name, column), colour, marker in zip(entry["series"].items(), (BLUE, ORANGE), "os"):
            low, high = np.array(column["quartiles"]).T
            axis.plot(x, column["y"], marker=marker, color=colour, label=name or "measured")
            axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(x, column["y"][0] * x / x[0], ":", color=colour, linewidth=1)
        axis.plot([], [], ":", color="black", linewidth=1, label="in proportion")
        axis.set(xscale="log", yscale="log", xlabel=entry["x_label"], ylabel=entry["unit"])
        core = "\n(one CPU core)" if entry.get("one_core") else ""
        axis.set_title(f"{entry['what']}{core}", fontsize=10)
        axis.set_xticks(x, [f"{v:,.0f}" for v in x])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend(fontsize=9)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    return fig
