"""Does the course run on this GPU at full size? `make gpu-check`: the GPU tests, short trainings.

    python tests/bench/gpu_check.py                    two minutes a network, VGG-19 at 224 px
    python tests/bench/gpu_check.py --width 0.1 --crop 64 --seconds 5 --device cpu     a rehearsal

The clips are generated: 340×256 px like UCF101's, textures that move in one of four directions, so
the direction is the class and only the temporal stream can tell it. They stay in data/gpu_check.
The weights are ImageNet's; where these cannot be fetched, random ones of the same shapes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DIRECTIONS = {"Right": (1, 0), "Left": (-1, 0), "Down": (0, 1), "Up": (0, -1)}
GROUPS, CLIPS, FRAMES = (1, 8, 9, 10), 2, 110  # group 1 is a test group of UCF101's first split
# Without the options of pyproject.toml, which want nbval: Colab does not have it.
TESTS = ("-m", "pytest", "-q", "-p", "no:nbval", "--override-ini", "addopts=", "-m", "gpu",
         "tests/core/test_gpu.py")  # fmt: skip
NO_GPU = (
    "skipped: no CUDA device here. Nothing was checked; run `make gpu-check` where there is one"
)


def moving_texture(label: str, seed: int, height: int) -> np.ndarray:
    """A smooth random texture that moves towards ``label``, ``(110, height, width, 3)`` uint8.

    The width is 340/256 of the height as in UCF101; the speed 1 to 3 px a frame.
    """
    width = round(height * 340 / 256)
    rng = np.random.default_rng(seed)
    noise = rng.random((height, width, 3), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3, borderType=cv2.BORDER_REFLECT)
    image = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    speed = int(rng.integers(1, 4))
    dx, dy = (speed * step for step in DIRECTIONS[label])
    return np.stack([np.roll(image, (t * dy, t * dx), axis=(0, 1)) for t in range(FRAMES)])


def encode(job: tuple[str, int, int], height: int) -> tuple[list, dict]:
    """One clip with its flow, as a shard takes it; ``job`` is (label, group, number)."""
    from twostream_utils.data.shards import encode_clip

    label, group, number = job
    name = f"v_{label}_g{group:02d}_c{number:02d}"
    seed = 1000 * list(DIRECTIONS).index(label) + 10 * group + number
    members = encode_clip(name, moving_texture(label, seed, height))
    meta = {"label": label, "group": f"g{group:02d}", "source": "generated", "fps": 25.0,
            "frames": FRAMES, "flow_method": "dis"}  # fmt: skip
    return members, {name: meta}


def make_clips(folder: Path, height: int) -> Path:
    """Write the shards of all directions to ``folder/<height>``, those that are not there yet."""
    from tqdm.auto import tqdm

    from twostream_utils.data.pool import in_order
    from twostream_utils.data.shards import ShardWriter

    root = folder / str(height)
    due = [label for label in DIRECTIONS if not (root / f"{label}.zip").exists()]
    jobs = [(k, g, c) for k in due for g in GROUPS for c in range(1, CLIPS + 1)]
    encoded = iter(tqdm(in_order(partial(encode, height=height), jobs), total=len(jobs),
                        desc="clips", unit="clip", disable=not jobs))  # fmt: skip
    for label in due:
        with ShardWriter(root / f"{label}.zip") as shard:
            for _ in range(len(GROUPS) * CLIPS):
                shard.add(*next(encoded))
    return root


def weights(folder: Path, width: float) -> str:
    """``"imagenet"`` if it can be had at this width, else a file of random weights like them."""
    from safetensors.torch import save_file

    from twostream_utils.files import atomic_write
    from twostream_utils.vgg import load_weights, vgg19

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


def train(course, name: str, model, seconds: float, compiled: bool = False) -> dict:
    """Train ``model`` by the course's own loop until ``seconds`` are over; return what to print."""
    import torch

    from twostream_utils.device import pick_device

    device = pick_device()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    rows: list[dict] = []
    began = time.perf_counter()

    def on_epoch(history: list[dict]) -> None:
        rows[:] = history
        if time.perf_counter() - began >= seconds:
            raise Enough

    try:
        course.fit(name, model, on_epoch, compiled=compiled)
    except Enough:
        pass
    timed = rows[1:] or rows  # the first epoch chooses kernels and starts the loader
    clips = len(course.dataset("train"))
    clips -= clips % course.recipe(name).batch_size
    return {
        "name": name + ", compiled" * compiled,
        "rate": clips * len(timed) / sum(row["seconds"] for row in timed),
        "memory": peak_memory(device),
        "loss": [row["loss"] for row in rows],
    }


def peak_memory(device) -> int:
    """The most bytes that tensors took on a GPU; on the CPU, what the process takes now."""
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss


def check(options: argparse.Namespace) -> None:
    """Make the clips, train both streams and conv fusion, score all, and print a line for each."""
    import torch

    from twostream_utils.conv_fusion import ConvFusion
    from twostream_utils.course import Course
    from twostream_utils.data.pool import cores
    from twostream_utils.device import describe_device, mixed_precision, pick_device
    from twostream_utils.evaluation import score
    from twostream_utils.fusion import late_fusion
    from twostream_utils.profiles import Profile, Recipe
    from twostream_utils.store import FrameStore

    height = round(options.crop * 256 / 224)
    root = make_clips(options.data, height)
    # No warm-up to speak of and no end in sight: the clock ends it.
    recipe = Recipe(10_000, 1e-3, options.batch_size, warmup=1e-4)
    profile = Profile(
        "gpu_check", "moving textures", short_side=height, crop=options.crop, width=options.width,
        weights=weights(options.data, options.width), val_fraction=0.0, positions=1,
        epoch_clips=options.epoch_clips, spatial=recipe, temporal=recipe, conv=recipe,
    )  # fmt: skip
    device = pick_device()
    print(f"torch {torch.__version__}, {describe_device(device)}, {mixed_precision(device)}")
    print(f"VGG-19 at width {options.width:g}, {options.crop} px, batch {options.batch_size}\n")
    print(f"{'network':<18}{'clips/s':>9}{'memory GB':>11}   loss")
    with tempfile.TemporaryDirectory() as runs:
        workers = min(8, cores())
        course = Course(profile, FrameStore(root), Path(runs), workers=workers)
        streams, logits = {}, {}
        for name in ("spatial", "temporal", "conv"):
            model = ConvFusion(**streams) if name == "conv" else course.new(name)
            print_line(train(course, name, model, options.seconds))
            both = ("rgb", "flow")
            inputs = {"spatial": both[:1], "temporal": both[1:], "conv": both}[name]
            began = time.perf_counter()
            scores = score(model, course.dataset("test", inputs), workers=workers)
            if options.compiled and name == "spatial":
                other = replace(course, run_dir=Path(runs) / "compiled")
                print_line(train(other, name, other.new(name), options.seconds, compiled=True))
            streams[name] = model.cpu()
            logits[name] = scores.clip_logits(), len(scores.clips) / (time.perf_counter() - began)
        fused = late_fusion(logits["spatial"][0], logits["temporal"][0])
        rate = 1 / (1 / logits["spatial"][1] + 1 / logits["temporal"][1])
        loss = -np.log(np.maximum(fused[np.arange(len(fused)), scores.labels], 1e-12)).mean()
        print(f"{'average fusion':<18}{rate:>9.1f}{'':>11}   {loss:.3f} (test clips, scoring only)")


def print_line(row: dict) -> None:
    losses = row["loss"]
    print(
        f"{row['name']:<18}{row['rate']:>9.1f}{row['memory'] / 1e9:>11.2f}   "
        f"{losses[0]:.3f} → {losses[-1]:.3f} in {len(losses)} epochs",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=1.0, help="of VGG-19")
    parser.add_argument("--crop", type=int, default=224, metavar="PX")
    parser.add_argument("--batch-size", type=int, default=16, metavar="CLIPS")
    parser.add_argument("--epoch-clips", type=int, default=320, metavar="CLIPS")
    parser.add_argument("--compiled", action="store_true", help="one stream more, compiled")
    parser.add_argument("--seconds", type=float, default=120, help="for each network")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "gpu_check", metavar="DIR")
    options = parser.parse_args(arguments)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks
    import torch

    if options.device == "cuda":
        if not torch.cuda.is_available():
            print(NO_GPU)
            return 0
        if code := subprocess.run([sys.executable, *TESTS], cwd=ROOT).returncode:
            return code
    check(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
