"""Curves of `make bench`: how cost grows with stored clips, fields in a stack, and classes."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import clips
import cv2
import numpy as np
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


def write_archive(root: Path, count: int) -> FrameStore:
    """The store of an archive with ``count`` clips of 7 frames of 16×16 px and their flow."""
    colour, grey = (
        cv2.imencode(".jpg", np.full(shape, 90, np.uint8))[1].tobytes()
        for shape in ((16, 16, 3), (16, 16))
    )
    root.mkdir()
    with zipfile.ZipFile(root / "bench.zip", "w") as archive:
        for k in range(count):
            group, number = divmod(k // len(UCF101_CLASSES), 99)
            label = UCF101_CLASSES[k % len(UCF101_CLASSES)]
            clip = f"v_{label}_g{group + 1:02d}_c{number + 1:02d}"
            for folder, last in ("jpegs_256", 7), ("tvl1_flow/u", 6), ("tvl1_flow/v", 6):
                for frame in range(1, last + 1):
                    data = colour if last == 7 else grey
                    archive.writestr(f"{folder}/{clip}/frame{frame:06d}.jpg", data)
    return FrameStore(root)


@row("opening an archive, and reading one clip in it", unit="ms",
     x="clips in the archive", rounds=7, one_core=True)  # fmt: skip
def growth_clips(sizes: Sizes) -> Iterator:
    profile = get_profile("mini", crop=16, short_side=16)
    with tempfile.TemporaryDirectory() as folder:
        samples = {}
        for count in sizes.stored:
            store = write_archive(Path(folder) / str(count), count)
            first = store.clips[:1]
            dataset = StackDataset(
                store, first, UCF101_CLASSES, profile, ("rgb", "flow"), train=True
            )
            opening = stopwatch(lambda root=store.root: FrameStore(root))
            reading = stopwatch(lambda clip=dataset: [clip[0] for _ in range(20)], 20)
            samples[count] = lambda opening=opening, reading=reading: {
                "opening": opening(), "reading": reading(),
            }  # fmt: skip
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
        dataset = clips.dataset(sizes, flow_fields=fields)
        load = stopwatch(lambda d=dataset: [d[i] for i in range(len(d))], len(dataset))
        train = step(2 * fields, 101, sizes.crop, sizes)
        samples[fields] = lambda load=load, train=train: {
            "loading": load(), "the temporal network, ¼ wide": train(),
        }  # fmt: skip
    yield samples


@row("a training step, quarter-width VGG-19, 64 px", x="classes", rounds=5, one_core=True)
def growth_classes(sizes: Sizes) -> Iterator:
    samples = {n: step(30, n, min(64, sizes.crop), sizes) for n in CLASSES}
    yield {n: lambda sample=sample: {"": sample()} for n, sample in samples.items()}
