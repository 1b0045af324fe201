"""Rows of `make bench`: how one is declared, measured in turns, summed up and kept.

A row compares ours with a baseline. Both are run in turns, A B A B …, so that whatever else the
machine does hits both alike; the ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from twostream_utils.lab.kept import RESULTS, ROOT, commit, load, met, table  # noqa: F401

Sample = Callable[[], float]  # what one run took, in the row's unit: less is better


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
    images: int = 8
    videos: int = 6
    entries: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    mini: Mapping = None  # a part of the mini set; None is all of it

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
    clips=2, frames=12, height=48, batch=2, epoch=8, width=1 / 16, images=2, videos=2,
    entries=(2000, 4000), mini={"classes": ("JumpRope",), "groups": 1},
)  # fmt: skip


class Skip(Exception):
    """A row that cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Row:
    """One row: ``start(sizes)`` is a context that gives what to run.

    That is ``(ours, theirs)``, two samples; ``theirs`` is None where there is no baseline. For a
    curve it is ``{x: sample}``, and a sample may return ``{series: value}``. ``goal`` is that
    of the ratio, or of ours where there is no baseline.
    """

    name: str
    start: Callable
    what: str
    baseline: str
    unit: str
    goal: str
    rounds: int
    one_core: bool
    x: str
    gpu: bool

    @property
    def group(self) -> str:
        return self.start.__module__.removeprefix("bench_")


ROWS: dict[str, Row] = {}


def row(
    what: str, baseline: str = "", unit: str = "ms a clip", *, goal: str = "", rounds: int = 11,
    one_core: bool = False, x: str = "", gpu: bool = False,
) -> Callable:  # fmt: skip
    """Declare the generator below as the row of its name; it yields once, see :class:`Row`.

    ``one_core`` pins the row's process to one core; ``x`` names the axis of a curve; a row for a
    ``gpu`` is skipped without CUDA.
    """

    def declare(generator: Callable[..., Iterator]) -> Callable:
        name = generator.__name__.replace("_", "-")
        start = contextlib.contextmanager(generator)
        start.__module__ = generator.__module__
        ROWS[name] = Row(name, start, what, baseline, unit, goal, rounds, one_core, x, gpu)
        return start

    return declare


def stopwatch(work: Callable[[], object], units: int = 1, scale: float = 1000.0) -> Sample:
    """Return the sample that runs ``work`` and gives its time per unit, in ms by default."""

    def sample() -> float:
        began = time.perf_counter()
        work()
        return scale * (time.perf_counter() - began) / units

    return sample


def pin() -> bool:
    """Leave this process one core and one thread; return whether the system can pin."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return True


def measure(of: Row, sizes: Sizes = FULL, rounds: int | None = None) -> dict:
    """Measure a row in this process and return its entry in results.json.

    Raises :class:`Skip` where it cannot be measured.
    """
    import torch

    if of.gpu and not torch.cuda.is_available():
        raise Skip("there is no CUDA device")
    run = conditions()  # before pinning: the cores are the machine's
    pinned = pin() if of.one_core else False
    rounds, warm = rounds or of.rounds, of.rounds > 1
    entry = {
        "group": of.group, "what": of.what, "unit": of.unit, "one_core": pinned, "rounds": rounds,
    }  # fmt: skip
    with of.start(sizes) as given:
        if of.x:
            entry |= {"x_label": of.x, **curve(given, rounds, warm)}
        else:
            ours, theirs = given
            entry |= {"baseline": of.baseline, "goal": of.goal}
            entry |= compare(*in_turns(ours, theirs, rounds, warm))
    return entry | {"run": run}


def in_turns(
    ours: Sample, theirs: Sample | None, rounds: int, warm: bool = True
) -> tuple[list, list]:
    """Run both once to warm up, then ``rounds`` times in turns; return the samples of each."""
    both = [sample for sample in (ours, theirs) if sample is not None]
    if warm:
        for sample in both:
            sample()
    taken = [[sample() for sample in both] for _ in range(rounds)]
    mine, *others = (list(samples) for samples in zip(*taken))
    return mine, others[0] if others else []


def compare(ours: list[float], theirs: list[float]) -> dict:
    """Sum samples up; less is better, so a ratio above 1 says that ours is that much better.

    ``ours`` and ``theirs`` are medians, ``ratio`` is the median of the rounds' theirs / ours and
    ``quartiles`` are its own; without a baseline they are those of ours.
    """
    entry = {"ours": rounded(statistics.median(ours))}
    ratios = [b / a for a, b in zip(ours, theirs)]
    if ratios:
        entry |= {
            "theirs": rounded(statistics.median(theirs)),
            "ratio": rounded(statistics.median(ratios)),
        }
    return entry | {"quartiles": quartiles(ratios or ours)}


def curve(samples: Mapping[float, Callable], rounds: int, warm: bool = True) -> dict:
    """Run the samples of a curve in turns, as ``in_turns`` does for two.

    Returns ``x`` and ``series``, ``{name: {"y": medians, "quartiles": a pair for each}}``.
    """
    taken: dict[str, list[list[float]]] = {}
    if warm:
        for sample in samples.values():
            sample()
    for _ in range(rounds):
        for place, sample in enumerate(samples.values()):
            found = sample()
            for name, value in (found if isinstance(found, dict) else {"": found}).items():
                taken.setdefault(name, [[] for _ in samples])[place].append(value)
    series = {
        name: {
            "y": [rounded(statistics.median(values)) for values in column],
            "quartiles": [quartiles(values) for values in column],
        }
        for name, column in taken.items()
    }
    return {"x": list(samples), "series": series}


def quartiles(values: list[float]) -> list[float]:
    """The first and the third quartile."""
    return [rounded(q) for q in np.quantile(values, [0.25, 0.75])]


def rounded(value: float) -> float:
    """Four digits: more than any of these figures is good for."""
    return float(f"{value:.4g}")


def conditions() -> dict:
    """Where and when: what must be known to read a figure."""
    import cv2
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": date.today().isoformat(), "commit": commit(), "cores": cores,
        "torch": torch.__version__, "opencv": cv2.__version__,
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }  # fmt: skip


def keep(entries: Mapping[str, dict], path: Path = RESULTS) -> dict:
    """Put ``entries`` into results.json beside those measured before, and return all of them.

    They stand in the order of ``ROWS``; an entry whose row is no longer declared is dropped.
    """
    from twostream_utils.files import atomic_write

    known = load(path) | dict(entries)
    merged = {name: known[name] for name in ROWS if name in known}
    with atomic_write(path) as part:
        part.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return merged


