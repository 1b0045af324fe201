"""Curves of `make bench`: how cost grows with entries, clips, frames in a stack and classes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import archive_index
import bench_clips
import torch
from measure import Sample, Sizes, row, stopwatch
from torch import nn

from twostream_utils.profiles import get_profile
from twostream_utils.splits import UCF101_CLASSES
from twostream_utils.stacks import StackDataset
from twostream_utils.store import FrameStore
from twostream_utils.vgg import vgg19

FIELDS = (5, 10, 20, 35, 50)
CLASSES = (10, 101, 400, 1000)
ENTRIES_A_CLIP = 3 * archive_index.FRAMES - 2


@row("opening a frame archive in a new process", unit="s", x="entries in the archive", rounds=3)
def growth_entries(sizes: Sizes) -> Iterator:
    def opened(entries: int) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            found = archive_index.measure(Path(folder), entries)
        return {"the first time": found["first"]["seconds"],
                "from the cached index": found["cached"]["seconds"]}  # fmt: skip

    yield {entries: lambda n=entries: opened(n) for entries in sizes.entries}


@row("reading the stacks of one clip, tiny pictures", x="clips in the store", one_core=True)
def growth_clips(sizes: Sizes) -> Iterator:
    with tempfile.TemporaryDirectory() as folder:
        samples = {}
        for entries in sizes.entries:
            root = Path(folder) / str(entries)
            root.mkdir()
            archive_index.make_archive(root, entries)
            store = FrameStore(root)
            first = next(archive_index.names()).split("/")[-2]
            profile = get_profile("mini", crop=16, short_side=16)
            dataset = StackDataset(
                store, [first], UCF101_CLASSES, profile, ("rgb", "flow"), train=True
            )
            samples[entries // ENTRIES_A_CLIP] = stopwatch(
                lambda dataset=dataset: [dataset[0] for _ in range(20)], 20
            )
        yield samples


def step(channels: int, classes: int, crop: int, sizes: Sizes) -> Sample:
    """Forward and backward of a quarter-width VGG-19 on a batch of 4, ms a clip."""
    model = vgg19(channels, classes, sizes.width / 4, batch_norm=True)
    x = torch.randn(4, channels, crop, crop)
    labels = torch.zeros(4, dtype=torch.long)

    def work() -> None:
        nn.functional.cross_entropy(model(x), labels).backward()

    return stopwatch(work, 4)


@row("a clip of 10 frames and their flow, 224 px, loaded and trained on",
     x="flow fields in a stack", rounds=5, one_core=True)  # fmt: skip
def growth_frames(sizes: Sizes) -> Iterator:
    samples = {}
    for fields in FIELDS:
        dataset = bench_clips.clips(sizes, flow_fields=fields)
        count = len(dataset)
        load = stopwatch(lambda d=dataset, n=count: [d[i] for i in range(n)], count)
        train = step(2 * fields, 101, sizes.crop, sizes)
        samples[fields] = lambda load=load, train=train: {
            "loading": load(), "the temporal network, ¼ wide": train(),
        }  # fmt: skip
    yield samples


@row("a training step, quarter-width VGG-19, 64 px", x="classes", rounds=5, one_core=True)
def growth_classes(sizes: Sizes) -> Iterator:
    crop = min(64, sizes.crop)
    yield {classes: step(30, classes, crop, sizes) for classes in CLASSES}
