"""Does the course run on this GPU at full size? `make gpu-check`: short trainings, the GPU's tests.

    python tests/bench/gpu_check.py        a minute a network, VGG-19 at 224 px: ten minutes in all
    python tests/bench/gpu_check.py --width 0.1 --crop 64 --seconds 5 --device cpu     a rehearsal

The clips are generated: 340×256 px like UCF101's, textures that move in one of four directions, so
the direction is the class and only the temporal stream can tell it. They stay in data/gpu_check.
The weights are ImageNet's; where these cannot be fetched, random ones of the same shapes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import clips
import numpy as np
import psutil
import torch
from joblib import cpu_count
from measure import ROOT
from safetensors.torch import save_file
from torch import nn

from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.course import Course
from twostream_utils.device import describe_device, mixed_precision, pick_device
from twostream_utils.evaluation import score
from twostream_utils.files import atomic_write
from twostream_utils.fusion import late_fusion
from twostream_utils.profiles import INPUTS, Profile, Recipe
from twostream_utils.store import FrameStore
from twostream_utils.vgg import load_weights, vgg19

GROUPS, NUMBERS = (1, 8, 9, 10), (1, 2)  # group 1 is a test group of UCF101's first split
# Without the options of pyproject.toml, which want nbval: Colab does not have it.
TESTS = ("-m", "pytest", "-q", "-p", "no:nbval", "--override-ini", "addopts=", "-m", "gpu",
         "tests/core/test_gpu.py")  # fmt: skip


def make_clips(root: Path, height: int) -> FrameStore:
    """Write the shards of all directions to ``root``, unless they are there."""
    if not all((root / f"{label}.zip").exists() for label in clips.DIRECTIONS):
        films = product(clips.DIRECTIONS, GROUPS, NUMBERS)
        clips.write_shards(
            root,
            ((*film, clips.moving_texture(film[0], k, height)) for k, film in enumerate(films)),
        )
    return FrameStore(root)


def weights(folder: Path, width: float) -> str:
    """``"imagenet"`` if it can be had at this width, else a file of random weights like them."""
    if width == 1:
        try:
            load_weights("imagenet", batch_norm=False)
            return "imagenet"
        except OSError as error:
            print(f"ImageNet weights cannot be fetched ({error}): random ones instead")
    path = folder / f"vgg19_random_{width}.safetensors"
    if not path.exists():
        with atomic_write(path) as part:
            save_file(vgg19(3, 1000, width).state_dict(), part)
    return str(path)


class Enough(Exception):
    """The time of one network is up."""


def train(course: Course, name: str, model: nn.Module, seconds: float, compiled: bool) -> None:
    """Train ``model`` by the course's own loop until ``seconds`` are over, and print a line."""
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
    print(
        f"{name + ', compiled' * compiled:<18}{rate:>9.1f}{used / 1e9:>11.2f}   "
        f"{rows[0]['loss']:.3f} → {rows[-1]['loss']:.3f} in {len(rows)} epochs",
        flush=True,
    )


def check(options: argparse.Namespace) -> None:
    """Make the clips, train both streams and conv fusion, score all, and print a line for each."""
    height = round(options.crop * 256 / 224)
    # No warm-up to speak of and no end in sight: the clock ends it.
    recipe = Recipe(10**7, 1e-3, options.batch_size, warmup=1e-4)
    profile = Profile(
        "gpu_check", "moving textures", short_side=height, crop=options.crop, width=options.width,
        weights=weights(options.data, options.width), val_fraction=0.0, positions=1,
        epoch_clips=options.epoch_clips, spatial=recipe, temporal=recipe, conv=recipe,
    )  # fmt: skip
    device, workers = pick_device(), min(8, cpu_count())
    print(f"torch {torch.__version__}, {describe_device(device)}, {mixed_precision(device)}")
    print(f"VGG-19 at width {options.width:g}, {options.crop} px, batch {options.batch_size}\n")
    print(f"{'network':<18}{'clips/s':>9}{'memory GB':>11}   loss")
    with tempfile.TemporaryDirectory() as runs:
        store = make_clips(options.data / str(height), height)
        course = Course(profile, store, Path(runs), workers=workers)
        networks, logits, spent = {}, {}, {}
        for name, inputs in INPUTS.items():
            model = course.new(name) if name != "conv" else ConvFusion(*networks.values())
            train(course, name, model, options.seconds, compiled=False)
            began = time.perf_counter()
            scores = score(model, course.dataset("test", inputs), workers=workers)
            logits[name], spent[name] = scores.clip_logits(), time.perf_counter() - began
            networks[name] = model.cpu()
        fused = late_fusion(logits["spatial"], logits["temporal"])
        loss = -np.log(np.maximum(fused[np.arange(len(fused)), scores.labels], 1e-12)).mean()
        rate = len(fused) / (spent["spatial"] + spent["temporal"])
        print(f"{'average fusion':<18}{rate:>9.1f}{'':>11}   {loss:.3f} (test clips, scoring only)")
        if options.compiled:
            other = replace(course, run_dir=Path(runs) / "compiled")
            train(other, "spatial", other.new("spatial"), options.seconds, compiled=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=1.0, help="of VGG-19")
    parser.add_argument("--crop", type=int, default=224, metavar="PX")
    parser.add_argument("--batch-size", type=int, default=16, metavar="CLIPS")
    parser.add_argument("--epoch-clips", type=int, default=320, metavar="CLIPS")
    parser.add_argument("--compiled", action="store_true", help="one stream more, compiled")
    parser.add_argument("--seconds", type=float, default=60, help="for each network")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "gpu_check", metavar="DIR")
    options = parser.parse_args(arguments)
    if options.device == "cpu":
        os.environ["TWOSTREAM_DEVICE"] = "cpu"
        check(options)
        return 0
    if not torch.cuda.is_available():
        print("skipped: no CUDA device here, nothing was checked; run it where there is one")
        return 0
    check(options)  # first, as it matters most where a GPU is lent for minutes
    return subprocess.run([sys.executable, *TESTS], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
