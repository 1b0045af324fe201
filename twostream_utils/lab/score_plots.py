"""Figures of comparisons: intervals side by side, learning curves over seeds, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .plots import BLUE, ORANGE


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
    axis.invert_yaxis()
    axis.set_xlabel(xlabel)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return fig


def seed_curves(
    curves: Mapping[str, np.ndarray], ylabel: str = "top-1 %", top: float = 101
) -> Figure:
    """Draw learning curves ``(seeds, epochs)``, fractions of 1: mean and, of several seeds, range.

    ``top`` is the upper end of the axis in percent.
    """
    fig, axis = plt.subplots(figsize=(8.5, 3.8))
    for (name, values), marker in zip(curves.items(), "osD^vPX*"):
        epochs = np.arange(1, values.shape[1] + 1)
        (line,) = axis.plot(epochs, 100 * values.mean(axis=0), marker=marker, label=name)
        ends = 100 * values.min(axis=0), 100 * values.max(axis=0)
        axis.fill_between(epochs, *ends, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="epoch", ylabel=ylabel, ylim=(0, top))
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return fig


def reliability(methods: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, float]]) -> Figure:
    """Draw results of ``evaluation.calibration`` by method: how sure, against how often right.

    The size of a dot follows the number of its clips.
    """
    width = min(3.3 * len(methods), 10.5)
    fig, axes = plt.subplots(1, len(methods), figsize=(width, 3.4), sharey=True)
    for axis, (name, (sure, right, count, error)) in zip(np.atleast_1d(axes), methods.items()):
        axis.plot([0, 100], [0, 100], color="black", linewidth=1, linestyle=":")
        axis.plot(100 * sure, 100 * right, color=BLUE)
        axis.scatter(100 * sure, 100 * right, 10 + 200 * count / count.sum(), color=BLUE)
        axis.set(xlim=(0, 103), ylim=(0, 103), xlabel="how sure, %")
        axis.set_title(f"{name}:\noff by {100 * error:.1f} points")
    np.atleast_1d(axes)[0].set_ylabel("how often right, %")
    return fig
