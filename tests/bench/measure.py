"""Rows of `make bench`: how one is declared, measured in turns, summed up and kept.

A row compares ours with a baseline. Both are run in turns, A B A B …, so that whatever else the
machine does hits both alike; the ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cv2
import joblib
import numpy as np
import torch

from twostream_utils.files import atomic_write
from twostream_utils.lab.kept import RESULTS, ROOT, commit, load

Sample = Callable[[], object]  # what one run took, in the row's unit: less is better


@dataclass(frozen=True)
class Sizes:
    """How much a row measures. `TINY` is for tests of the rows, not of the machine."""

    data: Path = ROOT / "data" / "bench"
    clips: int = 12
    frames: int = 110
    height: int = 256
    batch: int = 4
    epoch: int = 640  # as in the mini profile
    width: float = 1.0
    mini: Mapping | None = None  # a part of the mini set; None is all of it
    warm: bool = True  # run all once before they are measured

    @property
    def frame(self) -> tuple[int, int]:
        """Width and height of a stored frame in px, in UCF101's proportion."""
        return round(self.height * 340 / 256), self.height

    @property
    def crop(self) -> int:
        """Side in px of what the network sees."""
        return self.height * 7 // 8


FULL = Sizes()
TINY = Sizes(
    clips=2, frames=12, height=48, batch=2, epoch=8, width=1 / 16,
    mini={"classes": ("WipeBoard",), "groups": 1}, warm=False,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row: ``start(sizes)`` is a context that gives the samples to run in turns.

    They are ``(ours, baseline)``, or ``(ours,)`` where there is none. ``goal`` is that of the ratio
    baseline / ours, or of ours where there is no baseline. ``one_core`` pins the row's process.
    """

    start: Callable
    what: str
    baseline: str = ""
    unit: str = "ms a clip"
    goal: str = ""
    rounds: int = 11
    one_core: bool = False

    @property
    def group(self) -> str:
        return self.start.__module__.removeprefix("bench_")


ROWS: dict[str, Row] = {}


def row(*told: str, **more) -> Callable:
    """Declare the generator below, which yields once, as the row of its name; see :class:`Row`."""

    def declare(generator: Callable[..., Iterator]) -> Callable:
        start = contextlib.contextmanager(generator)
        ROWS[generator.__name__.replace("_", "-")] = Row(start, *told, **more)
        return start

    return declare


def stopwatch(work: Callable[[], object], units: int = 1, scale: float = 1000.0) -> Sample:
    """Return the sample that runs ``work`` and gives its time per unit, in ms by default."""

    def sample() -> float:
        began = time.perf_counter()
        work()
        return scale * (time.perf_counter() - began) / units

    return sample


def pin() -> None:
    """Leave this process one thread, and one core where the system can pin."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measure(name: str, sizes: Sizes = FULL, rounds: int | None = None) -> dict:
    """Measure a row in this process and return its entry in bench.json."""
    of, run = ROWS[name], conditions()  # before pinning: the cores are the machine's
    if of.one_core:
        pin()
    entry = {"group": of.group, "what": of.what, "unit": of.unit, "one_core": of.one_core,
             "baseline": of.baseline, "goal": of.goal}  # fmt: skip
    with of.start(sizes) as samples:
        taken = in_turns(samples, rounds or of.rounds, sizes.warm and of.rounds > 1)
    return entry | compare(*taken) | {"rounds": rounds or of.rounds, "run": run}


def in_turns(samples: Sequence[Sample], rounds: int, warm: bool) -> list[tuple]:
    """Run all once if ``warm``, then ``rounds`` times in turns; return what each of them gave."""
    if warm:
        for sample in samples:
            sample()
    return list(zip(*([sample() for sample in samples] for _ in range(rounds))))


def compare(ours: Sequence[float], theirs: Sequence[float] = ()) -> dict:
    """Sum samples up; less is better, so a ratio above 1 says that ours is that much better.

    ``ours`` and ``theirs`` are medians, ``ratio`` is the median of the rounds' theirs / ours and
    ``quartiles`` are its own; without a baseline they are those of ours.
    """
    ratios = [b / a for a, b in zip(ours, theirs)]
    found = {"ours": ours, "theirs": theirs, "ratio": ratios}
    entry = {name: quantiles(values, 0.5)[0] for name, values in found.items() if values}
    return entry | {"quartiles": quantiles(ratios or ours, 0.25, 0.75)}


def quantiles(values: Sequence[float], *places: float) -> list[float]:
    """In four digits: more than any of these figures is good for."""
    return [float(f"{q:.4g}") for q in np.quantile(values, places)]


def conditions() -> dict:
    """Where and when: what must be known to read a figure."""
    return {
        "date": date.today().isoformat(), "commit": commit(), "cores": joblib.cpu_count(),
        "torch": torch.__version__, "opencv": cv2.__version__,
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }  # fmt: skip


def keep(entries: Mapping[str, dict], path: Path = RESULTS) -> dict:
    """Put ``entries`` into bench.json beside those measured before, and return all of them.

    They stand in the order of ``ROWS``; an entry whose row is no longer declared is dropped.
    """
    known = load(path) | dict(entries)
    merged = {name: known[name] for name in ROWS if name in known}
    with atomic_write(path) as part:
        part.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return merged
