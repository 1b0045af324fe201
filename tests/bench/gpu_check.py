"""What does the course at full size take on this GPU? `make gpu-check`: figures, then long tests.

    python tests/bench/gpu_check.py        VGG-19 at 224 px: ten minutes, then the GPU's tests
    python tests/bench/gpu_check.py --tiny --device cpu     a rehearsal, its figures mean nothing

Part by part, each kept in notebooks/kept/gpu_check.json as soon as it is there, for a GPU may be
lent for minutes: first layers, networks, precisions, loader, decoding. The clips are generated:
340×256 px like UCF101's, textures that move in one of four directions, so the direction is the
class and only the temporal stream can tell it; `--shards data/ucf101` takes real ones for what
depends on them, the first layers. The weights are ImageNet's; where these cannot be fetched, random
ones of the same shapes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest.mock import patch

import clips
import cv2
import numpy as np
import psutil
import torch
from joblib import cpu_count
from measure import ROOT, conditions
from safetensors.torch import save_file
from torch import nn

from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.course import Course
from twostream_utils.device import PRECISIONS, autocast, describe_device, pick_device
from twostream_utils.experiments import first_layers
from twostream_utils.files import atomic_write
from twostream_utils.lab import kept
from twostream_utils.profiles import INPUTS, Profile, Recipe
from twostream_utils.stacks import make_loader, network_input
from twostream_utils.store import FrameStore
from twostream_utils.vgg import load_weights, vgg19

FOUND = kept.KEPT / "gpu_check.json"
GROUPS, NUMBERS = (1, 8, 9, 10), (1, 2)  # group 1 is a test group of UCF101's first split
FULL = {"width": 1, "crop": 224, "batch_size": 16, "epoch_clips": 320, "seconds": 45,
        "steps": 100, "frames": 110}  # fmt: skip
TINY = {"width": 0.1, "crop": 32, "batch_size": 8, "epoch_clips": 16, "seconds": 0.2,
        "steps": 3, "frames": 12}  # fmt: skip
# Without the options of pyproject.toml, which want nbval: Colab does not have it.
TESTS = ("-m", "pytest", "-q", "-p", "no:nbval", "--override-ini", "addopts=", "-m", "gpu",
         "tests/core/test_gpu.py")  # fmt: skip


def make_clips(root: Path, height: int, count: int) -> FrameStore:
    """Write the shards of all directions, ``count`` frames a clip, unless they are there."""
    if not all((root / f"{label}.zip").exists() for label in clips.DIRECTIONS):
        films = product(clips.DIRECTIONS, GROUPS, NUMBERS)
        clips.write_shards(
            root,
            ((*film, clips.moving_texture(film[0], k, height, count))
             for k, film in enumerate(films)),
        )
    return FrameStore(root)


def weights(folder: Path, width: float) -> str:
    """``"imagenet"`` if it can be had at this width, else a file of random weights like them."""
    if width == 1:
        try:
            load_weights("imagenet", batch_norm=False)
            return "imagenet"
        except RuntimeError as error:
            print(f"random weights: {error}")
    path = folder / f"vgg19_random_{width}.safetensors"
    if not path.exists():
        with atomic_write(path) as part:
            save_file(vgg19(3, 1000, width).state_dict(), part)
    return str(path)


class Enough(Exception):
    """The time of one network is up."""


def train(
    course: Course, name: str, model: nn.Module, seconds: float, compiled: bool = False
) -> dict:
    """Train by the course's own loop until ``seconds`` are over: clips/s, memory, losses."""
    cuda = pick_device().type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    rows: list[dict] = []
    began = time.perf_counter()

    def on_epoch(history: list[dict]) -> None:
        rows[:] = history
        if time.perf_counter() - began >= seconds:
            raise Enough

    with contextlib.suppress(Enough):
        course.fit(name, model, on_epoch, compiled=compiled)
    # On the CPU there is no peak to read on every system: what the process takes now.
    used = torch.cuda.max_memory_allocated() if cuda else psutil.Process().memory_info().rss
    timed = rows[1:] or rows  # the first epoch chooses kernels and starts the loader
    count, batch = len(course.dataset("train")), course.recipe(name).batch_size
    rate = count // batch * batch * len(timed) / sum(row["seconds"] for row in timed)
    return {
        "clips_per_second": round(rate, 2), "memory_gb": round(used / 1e9, 2),
        "losses": [round(rows[place]["loss"], 3) for place in (0, -1)], "epochs": len(rows),
    }  # fmt: skip


def of_first_layers(course: Course, options: argparse.Namespace) -> dict:
    """The first steps of both streams from each first layer: do any of them fail?"""
    found, profile = {}, course.profile
    store = FrameStore(options.shards) if options.shards else course.store
    names = sorted(store.clips)[:: len(store.clips) // 64 or 1]
    for stream, ways in first_layers.WAYS.items():
        data = first_layers.stacks_of(store, names, profile, stream, train=True)
        for how in ways:
            rate, steps = profile.spatial.lr, options.steps
            run = first_layers.train(data, None, stream, how, rate, profile, steps=steps)
            row = {what: run[what] for what in ("start", "last_loss", "last_top1", "clipped")}
            row |= {what: run[what][::10] for what in ("loss", "gradient_norm")}
            found[f"{stream}, {how}"] = row
    return found


def of_networks(course: Course, options: argparse.Namespace) -> dict:
    """Both streams and conv fusion, in the precision that the course takes here."""
    networks, found = {}, {}
    for name in INPUTS:
        model = course.new(name) if name != "conv" else ConvFusion(*networks.values())
        found[name] = train(course, name, model, options.seconds)
        networks[name] = model.cpu()
    return found


def of_precisions(course: Course, options: argparse.Namespace) -> dict:
    """The spatial stream in each precision, and how far its logits are from those of float32."""
    device, found, exact = pick_device(), {}, None
    batch = next(iter(make_loader(course.dataset("test", ("rgb",)), options.batch_size, 0, 0)))
    stacks = network_input({"rgb": batch["rgb"].to(device)}, ("rgb",))
    for precision, word in PRECISIONS.items():
        if precision == "fp16" and device.type != "cuda":
            found[word] = "skipped: no CUDA device"
            continue
        other = replace(course, run_dir=course.run_dir / precision)
        model = other.new("spatial").to(device).eval()
        with torch.no_grad(), autocast(device, precision):
            logits = model(*stacks).float()
        exact = logits if exact is None else exact  # float32 is the first
        found[word] = {"logits_off": ((logits - exact).abs().max() / exact.std()).item()}
        with patch.dict(os.environ, TWOSTREAM_PRECISION=precision):
            found[word] |= train(other, "spatial", model, options.seconds / 2)
    return found


def of_loader(course: Course, options: argparse.Namespace) -> dict:
    """Clips a second of the loader alone, for each network's stacks."""
    found = {"workers": course.workers}
    for name, streams in INPUTS.items():
        data = course.dataset("train", streams)
        batches = iter(make_loader(data, options.batch_size, course.workers, 0, reuse=True))
        next(batches)  # with which the workers have started
        began = time.perf_counter()
        loaded = sum(len(batch["label"]) for batch in batches)
        found[name] = round(loaded / (time.perf_counter() - began), 1)
    return found


def of_decoding(course: Course, options: argparse.Namespace) -> dict | str:
    """JPEGs a second of torchvision on the device and of OpenCV, and how far they are apart."""
    try:  # deprecated since torchvision 0.29
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:
        return "skipped: this torchvision no longer decodes"
    device, clip = pick_device(), course.train[0]
    frames = range(1, course.store.n_frames(clip) + 1)
    found: dict[str, object] = {"device": device.type}
    rgb = [cv2.cvtColor(i, cv2.COLOR_RGB2BGR) for i in course.store.images(clip, frames)]
    u = course.store.read_flow(clip, frames[:-1])[..., 0]
    for what, images, mode, flag in (
        ("rgb", rgb, ImageReadMode.RGB, cv2.IMREAD_COLOR_RGB),
        ("flow", u, ImageReadMode.GRAY, cv2.IMREAD_GRAYSCALE),
    ):
        files = [cv2.imencode(".jpg", np.ascontiguousarray(image))[1] for image in images]
        tensors = [torch.from_numpy(file) for file in files]
        decode_jpeg(tensors, mode, device=device.type)  # starts the decoder
        began = time.perf_counter()
        theirs = [image.cpu() for image in decode_jpeg(tensors, mode, device=device.type)]
        halfway = time.perf_counter()
        ours = [cv2.imdecode(file, flag) for file in files]
        spent = halfway - began, time.perf_counter() - halfway
        theirs = torch.stack(theirs).permute(0, 2, 3, 1).numpy().reshape(np.shape(ours))
        off = np.abs(theirs.astype(int) - ours)
        rates = (round(len(files) / seconds) for seconds in spent)
        found[what] = dict(zip(("device_per_second", "opencv_per_second"), rates))
        found[what] |= {"levels_off": int(off.max()), "mean_off": round(float(off.mean()), 3)}
    return found


def of_compiled(course: Course, options: argparse.Namespace) -> dict | str:
    """The spatial stream through ``torch.compile``."""
    if pick_device().type != "cuda":
        return "skipped: no CUDA device"
    other = replace(course, run_dir=course.run_dir / "compiled")
    return train(other, "spatial", other.new("spatial"), options.seconds, compiled=True)


# In this order: what matters most comes first, where a GPU is lent for minutes.
PARTS: dict[str, Callable] = {
    "first_layers": of_first_layers, "networks": of_networks, "precisions": of_precisions,
    "loader": of_loader, "decoding": of_decoding, "compiled": of_compiled,
}  # fmt: skip


def check(options: argparse.Namespace) -> dict:
    """Measure part after part; print each and keep it in ``options.results``."""
    height = round(options.crop * 256 / 224)
    # No warm-up to speak of and no end in sight: the clock ends it.
    recipe = Recipe(10**7, 1e-3, options.batch_size, warmup=1e-4)
    profile = Profile(
        "gpu_check", "moving textures", short_side=height, crop=options.crop, width=options.width,
        weights=weights(options.data, options.width), val_fraction=0.0, positions=1,
        crops="centre", epoch_clips=options.epoch_clips, spatial=recipe, temporal=recipe,
        conv=recipe,
    )  # fmt: skip
    found = {"run": conditions() | {
        "device": describe_device(pick_device()), "weights": Path(profile.weights).name,
        "clips": str(options.shards or "textures"),
        **{name: getattr(options, name) for name in TINY},
    }}  # fmt: skip
    print(json.dumps(found["run"]), flush=True)
    with tempfile.TemporaryDirectory() as runs:
        store = make_clips(options.data / str(height), height, options.frames)
        course = Course(profile, store, Path(runs), workers=min(8, cpu_count()))
        for name, part in PARTS.items():
            began = time.perf_counter()
            found[name] = part(course, options)
            spent = time.perf_counter() - began
            print(f"{name}, {spent:.0f} s: {json.dumps(found[name])}", flush=True)
            with atomic_write(options.results) as file:
                file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="sizes that any CPU can do in seconds")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shards", type=Path, help="real clips for the first layers")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "gpu_check", metavar="DIR")
    parser.add_argument("--results", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    vars(options).update(TINY if options.tiny else FULL)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("skipped: no CUDA device here, nothing was checked; run it where there is one")
        return 0
    # Only a GPU's figures at full size are worth a chapter's line.
    real = options.device == "cuda" and not options.tiny
    options.results = options.results or (FOUND if real else options.data / FOUND.name)
    os.environ["TWOSTREAM_DEVICE"] = options.device
    check(options)
    if options.device == "cpu":
        print("the GPU's tests: skipped, no CUDA device")
        return 0
    return subprocess.run([sys.executable, *TESTS], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
