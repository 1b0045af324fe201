"""Rows of `make bench` on training: `fit` against a bare loop, precisions of the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import bench_clips
import torch
from measure import Sample, Sizes, row, stopwatch
from torch import nn

from twostream_utils.device import mixed_precision, pick_device, to_model_layout
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.stacks import StackDataset, make_loader, normalise
from twostream_utils.store import FrameStore
from twostream_utils.training import fit
from twostream_utils.vgg import vgg19

BARE = "a bare PyTorch loop over the same loader, model, batch and precision"


def spatial(sizes: Sizes, cache_gb: float) -> StackDataset:
    """An epoch of RGB stacks of 64 px, from memory if ``cache_gb`` holds the clips."""
    small = Sizes(sizes.data, sizes.clips, sizes.frames, height=72)
    store = FrameStore(bench_clips.shards(small), cache_gb)
    profile = get_profile("mini", crop=64)
    repeat = -(-sizes.epoch // len(store.clips))
    return StackDataset(
        store, store.clips, ["JumpRope", "PullUps"], profile, ("rgb",), train=True, repeat=repeat
    )


def bare_epoch(model: nn.Module, dataset: StackDataset, recipe: Recipe, workers: int) -> None:
    """What `fit` must do for an epoch and nothing else."""
    device = pick_device()
    precision = mixed_precision(device)
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    model = to_model_layout(model, device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, 0.9, weight_decay=5e-4, fused=device.type in ("cpu", "cuda")
    )
    for batch in make_loader(dataset, recipe.batch_size, workers, 0):
        stack = batch["rgb"].flatten(0, 1).to(device, non_blocking=True)
        label = batch["label"].to(device, non_blocking=True)
        with torch.autocast(device.type, half, enabled=precision != "no"):
            logits = model(normalise(stack, "rgb")).float()
        loss = nn.functional.cross_entropy(logits, label)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()


def two_loops(sizes: Sizes, cache_gb: float, workers: int, folder: str) -> tuple[Sample, Sample]:
    """`fit` for one epoch, checkpoint included, and the bare loop, ms a clip."""
    recipe = Recipe(1, 1e-3, 16 if sizes.epoch > 16 else 4)
    dataset = spatial(sizes, cache_gb)
    model = vgg19(30, 2, sizes.width / 4, batch_norm=True)
    path = Path(folder) / "bench.pt"

    def fitted() -> None:
        path.unlink(missing_ok=True)
        fit(model, dataset, recipe, path, workers=workers)

    def bare() -> None:
        bare_epoch(model, dataset, recipe, workers)

    return stopwatch(fitted, len(dataset)), stopwatch(bare, len(dataset))


@row("fit, clips held in memory", BARE, goal="≥ 0.95")
def fit_memory(sizes: Sizes) -> Iterator:
    with tempfile.TemporaryDirectory() as folder:
        yield two_loops(sizes, 3.0, 0, folder)


@row("fit, clips read from shards by two workers", BARE, goal="≥ 0.95")
def fit_loader(sizes: Sizes) -> Iterator:
    with tempfile.TemporaryDirectory() as folder:
        yield two_loops(sizes, 0.0, 2, folder)


def cpu_step(sizes: Sizes, channels_last: bool, bf16: bool) -> Sample:
    """Forward and backward of VGG-19 on one batch on the CPU, ms an image."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    model = vgg19(30, 101, sizes.width).to(memory_format=layout)
    x = torch.randn(sizes.images, 30, sizes.crop, sizes.crop).to(memory_format=layout)
    labels = torch.zeros(sizes.images, dtype=torch.long)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(x).float()
        nn.functional.cross_entropy(logits, labels).backward()
        model.zero_grad()

    return stopwatch(step, sizes.images)


FLOAT32 = "float32, contiguous"


@row("VGG-19 on the CPU, forward and backward: float32, channels_last", FLOAT32, "ms an image",
     rounds=3)  # fmt: skip
def cpu_channels_last(sizes: Sizes) -> Iterator:
    yield cpu_step(sizes, True, False), cpu_step(sizes, False, False)


@row("VGG-19 on the CPU, forward and backward: bf16 autocast, channels_last", FLOAT32,
     "ms an image", rounds=3)  # fmt: skip
def cpu_bf16(sizes: Sizes) -> Iterator:
    yield cpu_step(sizes, True, True), cpu_step(sizes, False, False)
