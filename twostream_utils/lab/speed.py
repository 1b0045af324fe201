"""Notebook 11: who waits for whom, which stage takes the time, and the figures of both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch.profiler import profile, record_function

from .plots import BLUE, ORANGE

Place = tuple[object, str]  # a module or class, and the name of a function in it


@dataclass(frozen=True)
class Pace:
    """Clips a second of the loader, of the GPU, and of both together; who waits, how much.

    ``waits`` is ``"GPU"`` or ``"loader"``, ``idle`` the share of its time that it waits, 0 to 1.
    """

    loader: float
    gpu: float
    together: float
    waits: str
    idle: float


def pace(cores: int, decode_ms: float, gpu_clips: float) -> Pace:
    """Say who waits: ``cores`` workers of ``decode_ms`` a clip, or a GPU of ``gpu_clips`` a second.

    The slower side sets the pace. It assumes a worker a core, batches fetched ahead, and workers
    that have nothing else to do. Raises ``ValueError`` for a number that is not above 0.
    """
    if min(cores, decode_ms, gpu_clips) <= 0:
        raise ValueError(
            f"cores, ms a clip and clips/s must be above 0, got {cores}, {decode_ms}, {gpu_clips}"
        )
    loader = 1000 * cores / decode_ms
    together = min(loader, gpu_clips)
    waits = "GPU" if loader < gpu_clips else "loader"
    return Pace(loader, gpu_clips, together, waits, 1 - together / max(loader, gpu_clips))


def cores_needed(decode_ms: float, gpu_clips: float) -> int:
    """The fewest cores with which a GPU of ``gpu_clips`` clips a second does not wait."""
    return int(np.ceil(gpu_clips * decode_ms / 1000 - 1e-9))


def timeline(
    cores: int, decode_ms: float, gpu_clips: float, clips: int, ahead: int = 2
) -> list[tuple[str, int, float, float]]:
    """Follow ``clips`` clips through workers and GPU: ``(who, clip, from, to)``, in ms.

    ``who`` is ``"worker 1"`` … or ``"GPU"``. A worker loads every ``cores``-th
    clip, and up to ``ahead`` of them before the GPU has taken the first, as a DataLoader does whose
    prefetch factor is 2; the GPU takes clips in order, one at a time.
    """
    gpu_ms = 1000 / gpu_clips
    jobs, free, gpu_free = [], [0.0] * cores, 0.0
    taken: list[float] = []  # when the GPU took each clip
    for clip in range(clips):
        worker = clip % cores
        before = clip - ahead * cores  # the clip whose place in the queue this one gets
        start = max(free[worker], taken[before] if before >= 0 else 0.0)
        free[worker] = start + decode_ms
        jobs.append((f"worker {worker + 1}", clip, start, free[worker]))
        taken.append(max(free[worker], gpu_free))
        gpu_free = taken[-1] + gpu_ms
        jobs.append(("GPU", clip, taken[-1], gpu_free))
    return jobs


# --- stages: labels put around functions from outside, and their own times ------------------------


@contextlib.contextmanager
def labelled(places: Mapping[str, Sequence[Place]]) -> Iterator[None]:
    """Within the block, ``record_function(label)`` surrounds every call of the functions named.

    ``labelled({"decode": [(cv2, "imdecode")]})`` shows ``cv2.imdecode`` to the profiler under that
    name, whoever calls it in this process. Raises ``AttributeError`` for a function that is not
    there.
    """
    with contextlib.ExitStack() as stack:
        for label, functions in places.items():
            for owner, name in functions:
                wrapped = record_function(label)(getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield


def own_times(profiled: profile, labels: Sequence[str]) -> dict[str, float]:
    """Return ms of each label, in the order of ``labels``, without what lies in labels inside it.

    Every moment counts once, so the times add up. They are those of the CPU: let a stage that
    starts work on a GPU wait for it (``torch.cuda.synchronize``). A label that did not occur has 0.
    """
    times = dict.fromkeys(labels, 0.0)
    for event in profiled.events():
        if event.name in times:
            times[event.name] += event.cpu_time_total / 1000
            outer = event.cpu_parent
            while outer is not None and outer.name not in times:
                outer = outer.cpu_parent
            if outer is not None:
                times[outer.name] -= event.cpu_time_total / 1000
    return times


# --- figures --------------------------------------------------------------------------------------


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
