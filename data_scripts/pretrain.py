"""Pre-train the quarter-width VGG-19 with batch norm, the small course's stand-in for ImageNet's.

    python data_scripts/pretrain.py --photos FOLDER_OR_ZIP   # train/<class>/*, val/<class>/*
    python data_scripts/pretrain.py --stills 20000           # generated scenes and poses

The convolutional layers are written as float16 safetensors with a JSON log beside them: data,
recipe, every epoch, accuracy on held-out images. A run that is cut off goes on where its checkpoint
stands. The repository ships the results: running this again is optional.
"""

from __future__ import annotations

import argparse
import json
import time
import zipfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from tqdm.auto import tqdm

from twostream_utils import vgg
from twostream_utils.data.processes import parallel_map
from twostream_utils.mini.still import STILL_CLASSES, render_still
from twostream_utils.stacks import normalise
from twostream_utils.training import warmup_cosine

CHUNK = 200
SAVE_EVERY = 250  # steps between two checkpoints
GREY = 0.2  # fraction of grey images: a flow stream uses the mean over RGB of the first filters
SIZES = ((0.0, 32), (0.55, 40), (0.85, 48))  # crop in px from this share of the run on
POSES = len({name.split("/")[1] for name in STILL_CLASSES})


# ---- images and labels: (N, H, W, 3) uint8, (N, T) int64 with a column for each of T tasks
def render_chunk(start: int, count: int, seed: int) -> list[tuple[np.ndarray, int]]:
    """Render up to CHUNK stills from number ``start`` on."""
    return [render_still(k, seed) for k in range(start, min(start + CHUNK, count))]


def stills(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Render stills on all cores; their tasks are the scene and the pose."""
    starts = range(0, count, CHUNK)
    chunks = parallel_map(partial(render_chunk, count=count, seed=seed), starts)
    drawn = [still for chunk in tqdm(chunks, "stills", len(starts)) for still in chunk]
    labels = np.array([(label // POSES, label % POSES) for _, label in drawn])
    return np.stack([image for image, _ in drawn]), labels


def decode(data: bytes, side: int = 64) -> np.ndarray:
    """Decode one photograph and cut its centre to a square of ``side`` px."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    height, width = image.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = np.ascontiguousarray(image[top : top + short, left : left + short])
    return square if short == side else cv2.resize(square, (side, side), None, 0, 0, cv2.INTER_AREA)


def photographs(source: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the photographs of ``part``, ``train`` or ``val``; their one task is the class."""
    root = zipfile.Path(source) if source.suffix == ".zip" else source
    folders = sorted((root / part).iterdir(), key=lambda folder: folder.name)
    images, labels = [], []
    for label, folder in enumerate(tqdm(folders, part)):
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            images.append(decode(file.read_bytes()))
            labels.append([label])
    return np.stack(images), np.array(labels)


# ---- views
def random_view(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut 35 to 100 % of an image at a side ratio of 3/4 to 4/3, half of the times mirrored."""
    height, width = image.shape[:2]
    area = height * width * rng.uniform(0.35, 1.0)
    ratio = np.exp(rng.uniform(-0.288, 0.288))
    h, w = min(height, round((area / ratio) ** 0.5)), min(width, round((area * ratio) ** 0.5))
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    view = cv2.resize(image[top : top + h, left : left + w], (size, size))
    return view[:, ::-1] if rng.random() < 0.5 else view


def jitter_colours(batch: torch.Tensor) -> torch.Tensor:
    """Jitter brightness, contrast and saturation by up to 30 %, and make some images grey."""
    light, contrast, saturation = torch.empty(3, len(batch), 1, 1, 1).uniform_(0.7, 1.3)
    saturation = torch.where(torch.rand_like(saturation) < GREY, 0.0, saturation)
    grey = batch.mean(1, keepdim=True)
    batch = grey + saturation * (batch - grey)
    middle = grey.mean((2, 3), keepdim=True)
    return (light * (middle + contrast * (batch - middle))).clamp(0, 255)


class Heads(nn.Module):
    """The trunk that is kept, and on its mean maps one linear head a task, thrown away later."""

    def __init__(self, sizes: list[int]):
        super().__init__()
        trunk = vgg.vgg19(3, 1, width=0.25, batch_norm=True)
        self.features = trunk.features[:-1]  # without the last pool: small crops keep a few maps
        self.heads = nn.Linear(trunk.map_channels, sum(sizes))
        self.sizes = sizes

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.heads(self.features(x).mean(dim=(2, 3))).split(self.sizes, dim=1)


@torch.inference_mode()
def accuracy(model: Heads, images: np.ndarray, labels: np.ndarray, device: str) -> list[float]:
    """Top-1 for each task on whole images, shrunk to squares of 64 px."""
    model.eval()
    right = np.zeros(labels.shape[1])
    for start in range(0, len(images), 128):
        shown = [cv2.resize(image, (64, 64)) for image in images[start : start + 128]]
        x = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2)
        for task, scores in enumerate(model(normalise(x, "rgb").to(device))):
            wanted = labels[start : start + 128, task]
            right[task] += (scores.argmax(1).cpu().numpy() == wanted).sum()
    return (right / len(labels)).round(4).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder or zip; without it stills are drawn")
    parser.add_argument("--terms", default="", help="terms of the photographs, for the log")
    parser.add_argument("--stills", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=8)
    clock = "end by the clock, schedule and all, if the epochs take longer"
    parser.add_argument("--minutes", type=float, default=float("inf"), help=clock)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--start", help="go on from this small network: stills, or a file")
    parser.add_argument("--crop", type=int, help="crops of one size, in px, from start to end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: beside the shipped weights")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/pretrain.pt"))
    o = parser.parse_args()  # fmt: skip

    name = "photos" if o.photos else "stills"
    out = o.out or Path(vgg.__file__).parent / f"weights/vgg19_bn_quarter_{name}.safetensors"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(o.seed)
    if o.photos:
        images, labels = photographs(o.photos, "train")
        held_images, held_labels = photographs(o.photos, "val")
    else:
        images, labels = stills(o.stills, o.seed)
        held_images, held_labels = stills(2000, o.seed + 1)
    model = Heads((labels.max(0) + 1).tolist()).to(device, memory_format=torch.channels_last)
    if o.start:  # a plain network of 16 layers takes epochs to leave chance behind otherwise
        model.load_state_dict(vgg.load_weights(o.start, batch_norm=True), strict=False)
    optimizer = torch.optim.SGD(
        model.parameters(), o.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    per_epoch = len(images) // o.batch_size
    steps = o.epochs * per_epoch
    log = {
        "images": f"{len(images)} photographs of {model.sizes[0]} classes" if o.photos
        else f"{len(images)} generated stills, tasks scene and pose",
        "held_out_images": len(held_images), "terms": o.terms, "epochs_planned": o.epochs,
        "crops": o.crop or SIZES, "batch_size": o.batch_size, "peak_learning_rate": o.lr,
        "label_smoothing": 0.1, "start": o.start and Path(o.start).name, "seed": o.seed,
        "torch": str(torch.__version__), "epochs": [],
    }  # fmt: skip
    if o.start and (earlier := Path(o.start).with_suffix(".json")).is_file():
        log["before"] = json.loads(earlier.read_text())
    step, elapsed = 0, 0.0
    if o.checkpoint.is_file():
        saved = torch.load(o.checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, elapsed, log = saved["step"], saved["elapsed"], saved["log"]
    begun = time.monotonic() - elapsed

    def save() -> None:
        o.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                 "elapsed": time.monotonic() - begun, "log": log}  # fmt: skip
        torch.save(state, o.checkpoint.with_suffix(".new"))
        o.checkpoint.with_suffix(".new").replace(o.checkpoint)

    sizes = ((0.0, o.crop),) if o.crop else SIZES
    done, losses, size = step >= steps, [], sizes[0][1]
    while not done:
        epoch = step // per_epoch
        rng = np.random.default_rng((o.seed, epoch, step))
        order = np.random.default_rng((o.seed, epoch)).permutation(len(images))
        model.train()
        for first in range(step % per_epoch, per_epoch):
            share = max(step / steps, (time.monotonic() - begun) / 60 / o.minutes)
            done = share >= 1
            if done:
                break
            size = [size for start, size in sizes if share >= start][-1]
            for group in optimizer.param_groups:
                group["lr"] = o.lr * warmup_cosine(int(share * steps), steps, 0.05)
            rows = order[first * o.batch_size : (first + 1) * o.batch_size]
            views = np.stack([random_view(images[row], size, rng) for row in rows])
            x = jitter_colours(torch.from_numpy(views).permute(0, 3, 1, 2).float())
            y = torch.from_numpy(labels[rows]).to(device)
            with torch.autocast(device, torch.bfloat16):
                answers = model(normalise(x, "rgb").to(device))
            loss = sum(
                nn.functional.cross_entropy(scores.float(), y[:, task], label_smoothing=0.1)
                for task, scores in enumerate(answers)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
            if step % SAVE_EVERY == 0:
                save()
        log["epochs"].append({
            "steps": step, "share": round(share, 3), "crop": size,
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "loss": round(float(np.mean(losses)), 4),
            "held_out_top1": accuracy(model, held_images, held_labels, device),
        })  # fmt: skip
        losses = []
        done = done or step >= steps
        print(json.dumps(log["epochs"][-1]), flush=True)
        save()
    log["held_out_top1"] = log["epochs"][-1]["held_out_top1"]
    trunk = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("features.")
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(trunk, out, metadata={"terms": o.terms})
    out.with_suffix(".json").write_text(json.dumps(log, indent=1) + "\n")
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
