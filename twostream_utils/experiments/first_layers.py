"""What a first layer costs where no batch norm follows it: short trainings on real video.

    python -m twostream_utils.experiments.first_layers --weizmann SHARDS --ucf101 SHARDS

A plain VGG-19 at a quarter of its width starts from the shipped weights, batch norm folded in, as
the UCF101 profiles start from ImageNet's. For each way to fit its first layer to a stack: loss and
gradient norm before clipping of ``STEPS`` steps. One JSON in notebooks/kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..device import pick_device, to_model_layout
from ..files import atomic_write
from ..lab.kept import ROOT, commit, load
from ..profiles import Profile, get_profile
from ..splits import class_order, group_folds
from ..stacks import StackDataset, normalise
from ..store import FrameStore
from ..training import warmup_cosine
from ..vgg import vgg19

KEPT = ROOT / "notebooks" / "kept" / "first_layers.json"
STEPS, BATCH, DROPOUT, CLIP_NORM, RATE = 150, 16, 0.5, 5.0, 0.005
VIEWS = 4  # random views of each clip, cut once and shown to every network
WAYS = {"rgb": ("mean", "mean_rescaled", "inflate"), "flow": ("mean", "mean_rescaled")}
_PLAIN = {
    "rgb_frames": 10, "flow_fields": 50, "crop": 64, "width": 0.25, "batch_norm": False,
    "positions": 1, "crops": "centre",
}  # fmt: skip
SIZES = {
    "weizmann": _PLAIN | {"rgb_step": 5, "flow_step": 1, "short_side": 80},
    "ucf101": _PLAIN | {"rgb_step": 10, "flow_step": 2, "short_side": 240},
}


def stacks_of(
    store: FrameStore, clips: Sequence[str], profile: Profile, stream: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks ``(N, channels, S, S)`` uint8 of random views, and labels."""
    classes = class_order(store.label(clip) for clip in store.clips)
    data = StackDataset(store, clips, classes, profile, (stream,), train=True, repeat=VIEWS)
    items = [data[k] for k in range(len(data))]
    labels = torch.tensor([item["label"] for item in items])
    return torch.stack([item[stream][0] for item in items]), labels


def train(
    stacks: torch.Tensor, labels: torch.Tensor, stream: str, how: str, profile: Profile
) -> dict:
    """Train one stream for ``STEPS`` steps; loss and gradient norm of each step, rounded."""
    device = pick_device()
    torch.manual_seed(0)
    model = vgg19(
        stacks.shape[1], int(labels.max()) + 1, profile.width, profile.batch_norm,
        profile.weights, how, DROPOUT,
    )  # fmt: skip
    to_model_layout(model, device).train()
    optimizer = torch.optim.SGD(model.parameters(), RATE, 0.9, weight_decay=5e-4)
    losses, norms = [], []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * warmup_cosine(step, STEPS, 0.1)
        rows = torch.randint(len(stacks), (BATCH,))
        logits = model(normalise(stacks[rows].to(device), stream))
        loss = nn.functional.cross_entropy(logits, labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)))
        optimizer.step()
        losses.append(loss.item())
    return {
        "stream": stream, "how": how, "rate": RATE, "loss": np.round(losses, 3).tolist(),
        "gradient_norm": np.round(norms, 3).tolist(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for data in SIZES:
        parser.add_argument(f"--{data}", type=Path, metavar="SHARDS")
    options = parser.parse_args()
    asked = [data for data in SIZES if getattr(options, data)]
    runs = [run for run in load(KEPT).get("runs", ()) if run["data"] not in asked]
    for data in asked:
        profile = get_profile(data, weights="stills", **SIZES[data])
        store = FrameStore(getattr(options, data))
        clips = sorted(store.clips)
        if data == "weizmann":  # the training people of the first fold
            clips, _ = group_folds({clip: store.group(clip) for clip in clips}, 3, seed=0)[0]
        for stream, ways in WAYS.items():
            shown = stacks_of(store, clips, profile, stream)
            for how in ways:
                run = train(*shown, stream, how, profile)
                runs.append({"data": data, "clips": len(clips), **run})
                print(data, stream, how, np.mean(run["loss"][-40:]), flush=True)
    kept = {
        "commit": commit(), "torch": str(torch.__version__), "rate": RATE, "weights": "stills",
        "steps": STEPS, "batch": BATCH, "dropout": DROPOUT, "clip_norm": CLIP_NORM, "runs": runs,
    }  # fmt: skip
    with atomic_write(KEPT) as part:
        part.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
