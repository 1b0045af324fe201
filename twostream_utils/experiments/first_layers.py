"""What a first layer costs where no batch norm follows it: short trainings on real video.

    python -m twostream_utils.experiments.first_layers --weizmann SHARDS --ucf101 SHARDS

A plain VGG-19 at a quarter of its width starts from the shipped weights, batch norm folded in, as
the UCF101 profiles start from ImageNet's. For each way to fit its first layer to a stack, ``STEPS``
steps: loss, gradient norm before clipping, and accuracy on people that Weizmann holds out. UCF101's
few clips have none to hold out, so they tell loss and gradients only. The test clips choose
nothing: the defaults follow from response and loss. One JSON in notebooks/kept.
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
STEPS, BATCH, DROPOUT, CLIP_NORM, RATE, WEIGHTS = 150, 16, 0.5, 5.0, 0.005, "stills"
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
    store: FrameStore, clips: Sequence[str], profile: Profile, stream: str, train: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks ``(N, channels, S, S)`` uint8 and labels: random views, or one of the middle."""
    classes = class_order(store.label(clip) for clip in store.clips)
    data = StackDataset(store, clips, classes, profile, (stream,), train, repeat=VIEWS)
    items = [data[k] for k in range(len(data))]
    labels = torch.tensor([item["label"] for item in items])
    return torch.stack([item[stream][0] for item in items]), labels


@torch.inference_mode()
def at_the_start(model: nn.Module, stacks: torch.Tensor, stream: str, profile: Profile) -> dict:
    """Deviations before training: of the first layer's response, bias included, and of the maps.

    ``one_frame`` are the same of one RGB frame under the weights as they were trained, for which
    the later layers were made.
    """
    found = {}
    x = normalise(stacks.to(pick_device()), stream)
    found["first"], found["maps"] = model.features[0](x).std().item(), model.maps(x).std().item()
    by_clip = model.features[0](x).std(dim=(1, 2, 3))
    found["first_of_clips"] = by_clip.quantile(torch.tensor([0.0, 0.5, 1.0]).to(x)).tolist()
    if stream == "rgb":
        old = vgg19(3, 1, profile.width, weights=profile.weights).to(x.device).eval()
        frame = normalise(stacks[:, :3].to(x.device), "rgb")
        found["one_frame"] = {
            "first": old.features[0](frame).std().item(), "maps": old.maps(frame).std().item()
        }  # fmt: skip
    return found


def train(
    train_set: tuple[torch.Tensor, torch.Tensor], test_set: tuple | None, stream: str,
    how: str, rate: float, profile: Profile, seed: int = 0, steps: int = STEPS,
) -> dict:  # fmt: skip
    """Train one stream for ``steps`` steps; loss and gradient norm of each step, rounded."""
    (stacks, labels), device = train_set, pick_device()
    torch.manual_seed(seed)
    model = vgg19(
        stacks.shape[1], int(labels.max()) + 1, profile.width, profile.batch_norm,
        profile.weights, how, DROPOUT,
    )  # fmt: skip
    to_model_layout(model, device)
    result = {"stream": stream, "how": how, "rate": rate, "seed": seed}
    result |= {"start": at_the_start(model.eval(), stacks[:64], stream, profile)}
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=5e-4)
    losses, norms, right = [], [], []
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * warmup_cosine(step, steps, 0.1)
        rows = torch.randint(len(stacks), (BATCH,))
        logits = model(normalise(stacks[rows].to(device), stream))
        loss = nn.functional.cross_entropy(logits, labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)))
        optimizer.step()
        losses.append(loss.item())
        right.append(float((logits.argmax(1).cpu() == labels[rows]).float().mean()))
    result |= {
        "loss": np.round(losses, 3).tolist(), "gradient_norm": np.round(norms, 3).tolist(),
        "clipped": float(np.mean([not norm <= CLIP_NORM for norm in norms])),
        "last_loss": float(np.mean(losses[-40:])), "last_top1": float(np.mean(right[-40:])),
    }  # fmt: skip
    if test_set is not None:
        model.eval()
        with torch.inference_mode():
            x, y = test_set
            answers = [model(normalise(part.to(device), stream)).argmax(1) for part in x.split(32)]
        result["test_top1"] = float((torch.cat(answers).cpu() == y).float().mean())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for data in SIZES:
        parser.add_argument(f"--{data}", type=Path, metavar="SHARDS")
    asked = {data: shards for data, shards in vars(parser.parse_args()).items() if shards}
    runs = [run for run in load(KEPT).get("runs", []) if run["data"] not in asked]
    for data, shards in asked.items():
        profile, store = get_profile(data, weights=WEIGHTS, **SIZES[data]), FrameStore(shards)
        clips, held_out = sorted(store.clips), []
        if data == "weizmann":
            groups = {clip: store.group(clip) for clip in clips}
            clips, held_out = group_folds(groups, 3, seed=0)[0]
        for stream, ways in WAYS.items():
            train_set = stacks_of(store, clips, profile, stream, train=True)
            test_set = stacks_of(store, held_out, profile, stream, False) if held_out else None
            for how in ways:
                run = train(train_set, test_set, stream, how, RATE, profile)
                runs.append({"data": data, "clips": len(clips), **run})
                print({k: v for k, v in runs[-1].items() if not isinstance(v, list)}, flush=True)
                kept = {
                    "commit": commit(), "torch": str(torch.__version__), "rate": RATE,
                    "weights": WEIGHTS, "steps": STEPS, "batch": BATCH, "dropout": DROPOUT,
                    "clip_norm": CLIP_NORM, "runs": runs,
                }  # fmt: skip
                with atomic_write(KEPT) as part:
                    part.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
