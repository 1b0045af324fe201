"""Rows of `make bench` on loading: against the original's recipe, bare decoding, one worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import clips
import cv2
import numpy as np
from measure import Sample, Sizes, row, stopwatch
from torch.utils.data import DataLoader

from twostream_utils.experiments.original_loader import FLOW_FIELDS, RGB_FRAMES, OriginalClips
from twostream_utils.flow import decode
from twostream_utils.stacks import POSITIONS, StackDataset, make_loader
from twostream_utils.store import FrameStore

ORIGINAL = "the original's recipe: PIL, one frame at a time, from folders"
BARE = "cv2.imdecode alone, the same JPEGs already in memory"
PLAIN = "a training clip, 224 px crop out of 340×256"
JITTER = "a training clip, random square resized to 224 px"


def whole_batches(dataset: StackDataset, sizes: Sizes) -> int:
    """Clips in the batches of an epoch: a last one that is not full is left out."""
    return len(dataset) // sizes.batch * sizes.batch


def epoch(dataset: StackDataset, sizes: Sizes) -> Sample:
    """The sample that loads every clip once, ms a clip."""

    def work() -> None:
        dataset.epoch += 1
        for _ in make_loader(dataset, sizes.batch, 0, 0):
            pass

    return stopwatch(work, whole_batches(dataset, sizes))


def original(dataset: StackDataset, sizes: Sizes) -> Sample:
    """The same by the original's recipe."""
    inside = ([n for n in numbers if n < sizes.frames] for numbers in (RGB_FRAMES, FLOW_FIELDS))
    theirs = OriginalClips(clips.folders(sizes), dataset.clips, dataset.labels, sizes.crop, *inside)
    loader = DataLoader(theirs, sizes.batch, shuffle=True, drop_last=True)
    return stopwatch(lambda: list(loader), whole_batches(dataset, sizes))


def jpegs(dataset: StackDataset, folder: Path, index: int) -> Iterator[tuple[np.ndarray, int]]:
    """The files that item ``index`` shows now, as bytes, with the way to decode each."""
    clip, (view,) = dataset.clips[index], dataset.views(index)
    for place, stream, how in (
        ("jpegs_256", "rgb", cv2.IMREAD_COLOR),
        ("tvl1_flow/u", "flow", cv2.IMREAD_GRAYSCALE),
        ("tvl1_flow/v", "flow", cv2.IMREAD_GRAYSCALE),
    ):
        for number in POSITIONS[stream](dataset.store, clip, dataset.profile, view.start):
            path = folder / place / clip / f"frame{number:06d}.jpg"
            yield np.frombuffer(path.read_bytes(), np.uint8), how


def bare(dataset: StackDataset, sizes: Sizes) -> Sample:
    """The sample that only decodes what ``dataset`` shows in its current epoch, ms a clip."""
    count = whole_batches(dataset, sizes)

    def sample() -> float:
        folder = clips.folders(sizes)
        files = [file for index in range(count) for file in jpegs(dataset, folder, index)]
        return stopwatch(lambda: [cv2.imdecode(*file) is None for file in files], count)()

    return sample


def against(theirs: Callable, sizes: Sizes, of: type = StackDataset) -> Iterator:
    dataset = clips.dataset(sizes, of)
    yield epoch(dataset, sizes), theirs(dataset, sizes)


@row(PLAIN, ORIGINAL, goal="≥ 6.3", one_core=True)
def loader_plain(sizes: Sizes) -> Iterator:
    yield from against(original, sizes, clips.PlainCrops)


@row(JITTER, ORIGINAL, goal="≥ 5", one_core=True)
def loader_jitter(sizes: Sizes) -> Iterator:
    yield from against(original, sizes)


@row(PLAIN, BARE, goal="≥ 0.85", one_core=True)
def loader_plain_bare(sizes: Sizes) -> Iterator:
    yield from against(bare, sizes, clips.PlainCrops)


@row(JITTER, BARE, goal="≥ 0.85", one_core=True)
def loader_jitter_bare(sizes: Sizes) -> Iterator:
    yield from against(bare, sizes)


HALF = "flow made and kept at half size, dis_small"


@row(HALF, "kept at full size", one_core=True)
def loader_half_flow(sizes: Sizes) -> Iterator:
    yield epoch(clips.dataset(sizes, flow_scale=0.5), sizes), epoch(clips.dataset(sizes), sizes)


@row(HALF, "kept at full size", "MB a clip", rounds=1)
def bytes_half_flow(sizes: Sizes) -> Iterator:
    def size(flow_scale: float) -> float:
        shard = clips.shards(sizes, flow_scale) / "JumpRope.zip"
        return shard.stat().st_size / 1e6 / sizes.clips

    yield lambda: size(0.5), lambda: size(1.0)


def warp_error(store: FrameStore) -> float:
    """How far the next frame, moved back along the stored flow, is from its frame: grey levels."""
    found = []
    for clip in store.clips:
        for number in range(1, store.n_flow(clip) + 1, 10):
            pair = store.images(clip, [number, number + 1])
            now, later = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair)
            u, v = decode(store.flow(clip, number)).transpose(2, 0, 1)
            rows, columns = np.indices(now.shape, np.float32)
            back = cv2.remap(later, columns + u, rows + v, cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
            found.append(cv2.absdiff(back, now).mean())
    return float(np.mean(found))


@row(f"{HALF}: frames moved along it", "kept at full size", "levels off", rounds=1)
def error_half_flow(sizes: Sizes) -> Iterator:
    stores = [FrameStore(clips.shards(sizes, scale)) for scale in (0.5, 1.0)]
    yield tuple(partial(warp_error, store) for store in stores)


def with_workers(dataset: StackDataset, batch: int, count: int) -> Sample:
    """The sample that loads with ``count`` workers, ms a clip once each has given its first batch.

    What they do at once before that would count as nobody's time.
    """

    def sample() -> float:
        batches = iter(make_loader(dataset, batch, count, 0, reuse=True))
        for _ in range(count):
            next(batches)
        began = time.perf_counter()
        loaded = sum(len(batch["label"]) for batch in batches)
        return 1000 * (time.perf_counter() - began) / loaded

    return sample


@row("two workers, after their first batches", "one worker", goal="≥ 1.9", rounds=7)
def loader_workers(sizes: Sizes) -> Iterator:
    dataset = clips.dataset(sizes, repeat=6)
    yield with_workers(dataset, sizes.batch, 2), with_workers(dataset, sizes.batch, 1)
