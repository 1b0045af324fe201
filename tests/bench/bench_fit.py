"""Rows of `make bench` on training: `fit` against a bare loop over the same batches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import clips
import torch
from measure import Sizes, row, stopwatch
from torch import nn

from twostream_utils.device import mixed_precision, pick_device, to_model_layout
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.stacks import StackDataset, make_loader, normalise
from twostream_utils.store import FrameStore
from twostream_utils.training import fit
from twostream_utils.vgg import vgg19

BARE = "a bare PyTorch loop over the same loader, model, batch and precision"


def bare_epoch(model: nn.Module, dataset: StackDataset, recipe: Recipe, workers: int) -> None:
    """What `fit` must do for an epoch and nothing else."""
    device = pick_device()
    precision = mixed_precision(device)
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    model = to_model_layout(model, device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, 0.9, weight_decay=5e-4, fused=device.type in ("cpu", "cuda")
    )
    for batch in make_loader(dataset, recipe.batch_size, workers, 0, reuse=True):
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


def two_loops(sizes: Sizes, cache_gb: float, workers: int) -> Iterator:
    """`fit` for an epoch of RGB stacks of 64 px, checkpoint included, and the bare loop, ms a clip.

    ``cache_gb`` above 0 holds the clips in memory.
    """
    store = FrameStore(clips.shards(replace(sizes, height=72)), cache_gb)
    dataset = StackDataset(
        store, store.clips, ["JumpRope", "PullUps"], get_profile("mini", crop=64), ("rgb",),
        train=True, repeat=-(-sizes.epoch // len(store.clips)),
    )  # fmt: skip
    recipe = Recipe(1, 1e-3, min(16, sizes.epoch // 2))
    model = vgg19(30, 2, sizes.width / 4, batch_norm=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.pt"

        def ours() -> None:
            path.unlink(missing_ok=True)
            fit(model, dataset, recipe, path, workers=workers)

        def bare() -> None:
            bare_epoch(model, dataset, recipe, workers)

        yield stopwatch(ours, len(dataset)), stopwatch(bare, len(dataset))


@row("fit, clips held in memory", BARE, goal="≥ 0.96", rounds=9)
def fit_memory(sizes: Sizes) -> Iterator:
    yield from two_loops(sizes, 3.0, 0)


@row("fit, clips read from shards by two workers", BARE, goal="≥ 0.96", rounds=9)
def fit_loader(sizes: Sizes) -> Iterator:
    yield from two_loops(sizes, 0.0, 2)
