"""Pre-train the mini backbone on generated still pictures ("ImageNet in miniature").

    python data_scripts/pretrain.py [--stills 20000] [--epochs 8] [--out FILE]

A quarter-width VGG-19 with batch norm learns scene and pose of stills whose persons and scenes
occur in no mini clip. The convolutional layers are written as float16 safetensors; the printed log
lies beside them. The repository ships the result: running this again is optional.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from tqdm.auto import tqdm

from twostream_utils.data.processes import parallel_map
from twostream_utils.mini.still import STILL_CLASSES, render_still
from twostream_utils.stacks import normalise
from twostream_utils.training import warmup_cosine
from twostream_utils.vgg import MINI_WEIGHTS, vgg19

CROP = 64
CHUNK = 200
GREY = 0.3  # fraction of grey stills: the streams use the mean over RGB of the first filters


def render_chunk(start: int, count: int, seed: int) -> list[tuple[np.ndarray, int]]:
    """Render up to CHUNK stills from number ``start`` on."""
    return [render_still(k, seed) for k in range(start, min(start + CHUNK, count))]


def render(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Render stills on all cores: ``(N, 3, 72, 96)`` uint8 and labels ``(N,)``."""
    starts = range(0, count, CHUNK)
    chunks = parallel_map(partial(render_chunk, count=count, seed=seed), starts)
    bar = tqdm(chunks, "stills", len(starts), unit="chunk")
    stills = [still for chunk in bar for still in chunk]
    images = np.stack([image for image, _ in stills]).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images)), torch.tensor([y for _, y in stills])


def augment(batch: torch.Tensor) -> torch.Tensor:
    """One random crop, half of the stills mirrored, some of them grey: ``(B, 3, 64, 64)``."""
    top = int(torch.randint(batch.shape[2] - CROP + 1, ()))
    left = int(torch.randint(batch.shape[3] - CROP + 1, ()))
    batch = batch[:, :, top : top + CROP, left : left + CROP]
    mirrored = torch.rand(len(batch), 1, 1, 1) < 0.5
    batch = torch.where(mirrored, batch.flip(-1), batch)
    grey = torch.rand(len(batch), 1, 1, 1) < GREY
    mean = batch.float().mean(1, keepdim=True).to(torch.uint8).expand_as(batch)
    return torch.where(grey, mean, batch)


POSES = len({name.split("/")[1] for name in STILL_CLASSES})
SCENES = len(STILL_CLASSES) // POSES


class SceneAndPose(nn.Module):
    """The trunk that is kept, and two linear heads on its mean maps that are thrown away."""

    def __init__(self):
        super().__init__()
        vgg = vgg19(3, 1, width=0.25, batch_norm=True)
        self.features = vgg.features
        self.heads = nn.Linear(vgg.map_channels, SCENES + POSES)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.heads(self.features(x).mean(dim=(2, 3)))
        return scores[:, :SCENES], scores[:, SCENES:]


@torch.inference_mode()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Top-1 over the scenes and over the poses, centre crops."""
    model.eval()
    centre = images[:, :, 4 : 4 + CROP, 16 : 16 + CROP]
    right = torch.zeros(2)
    for x, y in zip(centre.split(128), labels.split(128)):
        scene, pose = model(normalise(x, "rgb"))
        right += torch.stack(
            [(scene.argmax(1) == y // POSES).sum(), (pose.argmax(1) == y % POSES).sum()]
        )
    return tuple((right / len(labels)).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stills", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=MINI_WEIGHTS)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    images, labels = render(options.stills, options.seed)
    held_images, held_labels = render(2000, options.seed + 1)
    model = SceneAndPose().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), options.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    steps = options.epochs * (len(images) // options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, steps, 0.1)
    )
    log = [
        f"torch {torch.__version__}, {options.stills} stills of {len(STILL_CLASSES)} classes, "
        f"seed {options.seed}, {options.epochs} epochs, batch {options.batch_size}, "
        f"peak learning rate {options.lr}"
    ]
    print(log[0])
    for epoch in range(options.epochs):
        model.train()
        total = 0.0
        batches = torch.randperm(len(images)).split(options.batch_size)
        batches = [rows for rows in batches if len(rows) == options.batch_size]
        for rows in tqdm(batches, desc=f"epoch {epoch + 1}", leave=False):
            scene, pose = model(normalise(augment(images[rows]), "rgb"))
            loss = nn.functional.cross_entropy(scene, labels[rows] // POSES)
            loss = loss + nn.functional.cross_entropy(pose, labels[rows] % POSES)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        scene, pose = accuracy(model, held_images, held_labels)
        log.append(
            f"epoch {epoch + 1:2d}: loss {total / len(batches):.3f} - held-out stills: "
            f"scene {scene:.3f}, pose {pose:.3f}"
        )
        print(log[-1], flush=True)
    trunk = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("features.")
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(trunk, options.out, metadata={"log": "\n".join(log)})
    options.out.with_suffix(".log").write_text("\n".join(log) + "\n")
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
