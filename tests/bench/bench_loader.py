"""Rows of `make bench` on loading: against the original's recipe, bare decoding, one worker."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bench_clips
import cv2
import numpy as np
from measure import Sample, Sizes, Skip, row, stopwatch
from torch.utils.data import DataLoader

from twostream_utils.experiments.original_loader import FLOW_FIELDS, RGB_FRAMES, OriginalClips
from twostream_utils.stacks import StackDataset, flow_positions, make_loader, normalise
from twostream_utils.store import FrameStore
from twostream_utils.views import stack_positions

ORIGINAL = "the original's recipe: PIL, one frame at a time, from folders"
FLOOR = "cv2.imdecode alone, the same JPEGs already in memory"
PLAIN = "a training clip, 224 px crop out of 340×256"
JITTER = "a training clip, random square resized to 224 px"


def epoch(dataset: StackDataset, sizes: Sizes, each: Callable | None = None) -> Sample:
    """The sample that loads every clip once, ms a clip; ``each`` is called with every batch."""

    def work() -> None:
        dataset.epoch += 1
        for batch in make_loader(dataset, sizes.batch, 0, 0):
            if each is not None:
                each(batch)

    return stopwatch(work, len(dataset) // sizes.batch * sizes.batch)


def original(sizes: Sizes) -> Sample:
    """The same by the original's recipe."""
    root = bench_clips.folders(sizes)
    names = FrameStore(bench_clips.shards(sizes)).clips
    inside = ([n for n in numbers if n < sizes.frames] for numbers in (RGB_FRAMES, FLOW_FIELDS))
    dataset = OriginalClips(root, names, [0] * len(names), sizes.crop, *inside)
    loader = DataLoader(dataset, sizes.batch, shuffle=True, drop_last=True)
    return stopwatch(lambda: list(loader), len(names) // sizes.batch * sizes.batch)


def jpegs(dataset: StackDataset, folder: Path, index: int) -> Iterator[tuple[np.ndarray, int]]:
    """The files that item ``index`` shows now, as bytes, with the way to decode each."""
    clip, p, (view,) = dataset.clips[index], dataset.profile, dataset.views(index)
    n = dataset.store.n_frames(clip)
    frames = stack_positions(n, p.rgb_frames, p.rgb_step, view.start)
    fields = flow_positions(dataset.store, clip, p, view.start)
    for place, numbers, how in (
        ("jpegs_256", frames, cv2.IMREAD_COLOR),
        ("tvl1_flow/u", fields, cv2.IMREAD_GRAYSCALE),
        ("tvl1_flow/v", fields, cv2.IMREAD_GRAYSCALE),
    ):
        for number in numbers:
            path = folder / place / clip / f"frame{number:06d}.jpg"
            yield np.frombuffer(path.read_bytes(), np.uint8), how


def floor(dataset: StackDataset, sizes: Sizes) -> Sample:
    """The sample that only decodes what ``dataset`` shows in its current epoch, ms a clip."""
    folder = bench_clips.folders(sizes)
    count = len(dataset) // sizes.batch * sizes.batch

    def sample() -> float:
        files = [file for index in range(count) for file in jpegs(dataset, folder, index)]
        began = time.perf_counter()
        for data, how in files:
            cv2.imdecode(data, how)
        return 1000 * (time.perf_counter() - began) / count

    return sample


@row(PLAIN, ORIGINAL, goal="≥ 5", one_core=True)
def loader_plain(sizes: Sizes) -> Iterator:
    yield epoch(bench_clips.clips(sizes, bench_clips.PlainCrops), sizes), original(sizes)


@row(JITTER, ORIGINAL, goal="≥ 5", one_core=True)
def loader_jitter(sizes: Sizes) -> Iterator:
    yield epoch(bench_clips.clips(sizes), sizes), original(sizes)


@row(f"{PLAIN}, normalised on the same core", ORIGINAL, one_core=True)
def loader_normalised(sizes: Sizes) -> Iterator:
    dataset = bench_clips.clips(sizes, bench_clips.PlainCrops)

    def scale(batch: dict) -> None:
        for stream in dataset.streams:
            normalise(batch[stream].flatten(0, 1), stream)

    yield epoch(dataset, sizes, scale), original(sizes)


@row(PLAIN, FLOOR, goal="≥ 0.85", one_core=True)
def loader_plain_floor(sizes: Sizes) -> Iterator:
    dataset = bench_clips.clips(sizes, bench_clips.PlainCrops)
    yield epoch(dataset, sizes), floor(dataset, sizes)


@row(JITTER, FLOOR, goal="≥ 0.85", one_core=True)
def loader_jitter_floor(sizes: Sizes) -> Iterator:
    dataset = bench_clips.clips(sizes)
    yield epoch(dataset, sizes), floor(dataset, sizes)


def many(sizes: Sizes, times: int) -> StackDataset:
    """The clips, each of them ``times`` times in an epoch."""
    dataset = bench_clips.clips(sizes)
    dataset.repeat = times
    return dataset


def with_workers(dataset: StackDataset, batch: int, count: int) -> Sample:
    """The sample that loads with ``count`` workers, ms a clip once each has given its first batch.

    What they do at once before that would count as nobody's time.
    """

    def sample() -> float:
        batches = iter(make_loader(dataset, batch, count, 0))
        for _ in range(count):
            next(batches)
        began = time.perf_counter()
        clips = sum(len(batch["label"]) for batch in batches)
        return 1000 * (time.perf_counter() - began) / clips

    return sample


@row("two workers, after their first batches", "one worker", goal="≥ 1.8", rounds=5)
def loader_workers(sizes: Sizes) -> Iterator:
    dataset = many(sizes, 6)
    yield with_workers(dataset, sizes.batch, 2), with_workers(dataset, sizes.batch, 1)


@row("the first batch from two workers, archive indexed", unit="s", goal="≤ 2", rounds=5)
def loader_first_batch(sizes: Sizes) -> Iterator:
    bench_clips.clips(sizes)  # makes the index

    def first() -> None:
        next(iter(make_loader(bench_clips.clips(sizes), sizes.batch, 2, 0)))

    yield stopwatch(first, scale=1.0), None


def memory(pid: int) -> float:
    """Memory of a process, its share of shared pages with it, but without files, MB.

    Taken once it has stopped changing: a worker then waits for its batches to be fetched. Raises
    ``Skip`` where there is no /proc that knows.
    """
    before, now = -1.0, 0.0
    while now != before:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError as error:
            raise Skip("the memory of a worker is read from /proc, not there here") from error
        kinds = dict(line.split()[:2] for line in text.splitlines()[1:])
        before, now = now, (int(kinds["Anonymous:"]) + int(kinds.get("Pss_Shmem:", 0))) / 1000
        time.sleep(0.2)
    return now


@row("memory of a worker at the end of an epoch", "after a third of it", "MB", goal="≥ 0.95",
     rounds=3)  # fmt: skip
def loader_memory(sizes: Sizes) -> Iterator:
    dataset = many(sizes, 20)
    early: list[float] = []

    def at_the_end() -> float:
        before = set(multiprocessing.active_children())
        batches = iter(make_loader(dataset, sizes.batch, 2, 0))
        worker, *_ = set(multiprocessing.active_children()) - before
        total = len(dataset) // sizes.batch
        for number in range(total):
            next(batches)
            if number == total // 3:
                early.append(memory(worker.pid))
        return memory(worker.pid)

    yield at_the_end, lambda: early[-1]


@row("scoring views of a clip: 5 positions, mirrored, five crops", "each view loaded by itself",
     rounds=5, one_core=True)  # fmt: skip
def loader_views(sizes: Sizes) -> Iterator:
    together, single = (bench_clips.clips(sizes, train=False) for _ in range(2))
    together.crops = "five"
    count = min(2, len(together))

    def one_by_one() -> None:
        for index in range(count):
            for view in together.views(index):
                single.views = lambda _, view=view: [view]
                single[index]

    yield stopwatch(lambda: [together[i] for i in range(count)], count), stopwatch(
        one_by_one, count
    )
