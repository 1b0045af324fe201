"""Who waits for whom: a loader of several workers and a GPU, as a sum and as a time line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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

    The slower side sets the pace. It assumes a worker a core, batches
    fetched ahead, and workers that have nothing else to do. Raises ``ValueError`` for a number that
    is not above 0.
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
