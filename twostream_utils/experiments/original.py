"""The original's defects, one by one or all together, on the course's own clips and networks.

Nothing in twostream_utils knows of them. Notebook 11 explains each and `make ablations` measures
what it costs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import default_collate

from twostream_utils.course import INPUTS, Course
from twostream_utils.device import pick_device, to_model_layout
from twostream_utils.flow import flip_flow
from twostream_utils.stacks import (
    Batch,
    SharedRing,
    StackDataset,
    crop_frames,
    make_loader,
    network_input,
    progress,
    read_stacks,
    to_channels,
)
from twostream_utils.vgg import VGG, load_weights, transform_first_layer, vgg19
from twostream_utils.views import View, random_view, stack_positions

DEFECTS = {
    "jitter": "a crop and a flip of its own for every RGB frame of a stack",
    "unregistered": "flow is resized only; RGB is cropped and flipped",
    "rotated": "the first flow field stands at the end of the stack",
    "unflipped u": "a mirrored flow field keeps the sign of u",
    "min-max flow": "each flow field is stretched to its own range",
    "fixed frames": "the same frames of a clip in every epoch",
}
ORIGINAL = ("jitter", "unregistered", "rotated", "fixed frames")


class DefectiveClips(StackDataset):
    """The clips of a dataset with some of ``DEFECTS``; shapes and types stay as they are."""

    def __init__(self, clips: StackDataset, defects: Iterable[str]):
        self.__dict__.update(clips.__dict__)
        self.defects = set(defects)
        if strangers := self.defects - set(DEFECTS):
            raise ValueError(f"no defects {sorted(strangers)}; there are {', '.join(DEFECTS)}")

    def views(self, index: int) -> list[View]:
        views = super().views(index)
        return [replace(v, start=1) for v in views] if "fixed frames" in self.defects else views

    def __getitem__(self, index: int) -> dict:
        clip = self.clips[index % len(self.clips)]
        rng = np.random.default_rng((self.seed, self.epoch, index, 1))
        item = {"label": self.labels[index % len(self.clips)]}
        read = {"rgb": self._rgb, "flow": self._flow}
        for stream in self.streams:
            item[stream] = torch.stack([read[stream](clip, v, rng) for v in self.views(index)])
        return item

    def batch(self, indices: list[int], room: SharedRing | None = None) -> Batch:
        return default_collate([self[index] for index in indices])

    def _rgb(self, clip: str, view: View, rng: np.random.Generator) -> torch.Tensor:
        if not (self.train and "jitter" in self.defects):
            return read_stacks(self.store, clip, [view], self.profile, "rgb")[0]
        p, size = self.profile, self.store.size(clip)
        n_frames = self.store.n_frames(clip)
        where = stack_positions(n_frames, p.rgb_frames, p.rgb_step, view.start)
        frames = []
        for frame in self.store.read_rgb(clip, where):
            own = random_view(rng, n_frames, size, p)
            cut = crop_frames(frame[None], own, p.crop)
            frames.append(cut[:, :, ::-1] if own.flip else cut)
        return to_channels(np.concatenate(frames))

    def _flow(self, clip: str, view: View, rng: np.random.Generator) -> torch.Tensor:
        if not self.defects & {"unregistered", "rotated", "unflipped u", "min-max flow"}:
            return read_stacks(self.store, clip, [view], self.profile, "flow")[0]
        p = self.profile
        n_fields = self.store.n_flow(clip)
        where = stack_positions(n_fields, p.flow_fields, p.flow_step, view.start)
        fields = self.store.read_flow(clip, where)
        if "unregistered" in self.defects:
            fields = np.stack([cv2.resize(f, (p.crop, p.crop)) for f in fields])
        else:
            fields = crop_frames(fields, view, p.crop)
            if view.flip:
                keep_sign = "unflipped u" in self.defects
                fields = fields[:, :, ::-1] if keep_sign else flip_flow(fields)
        if "min-max flow" in self.defects:
            low = fields.min(axis=(1, 2), keepdims=True).astype(np.float32)
            high = fields.max(axis=(1, 2), keepdims=True)
            fields = ((fields - low) * 255 / np.maximum(high - low, 1)).round().astype(np.uint8)
        channels = to_channels(fields)
        return channels.roll(-2, dims=0) if "rotated" in self.defects else channels


def original_first_layer(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """``(O, 3, kH, kW)`` to ``(O, in_channels, kH, kW)``: the mean of filter 0 for all."""
    mean = weight.sum(dim=1)[0] / 3
    return mean.expand(weight.shape[0], in_channels, -1, -1).clone()


FIRST_LAYERS = {
    "random": "He initialisation, as if there were no weights",
    "original": "the mean of filter 0 for every filter, a random bias",
    "mean": "the mean of each filter, repeated; the bias is kept",
    "mean, rescaled": "the same times 3/N",
    "mean, no bias": "the mean of each filter, repeated; the bias is 0",
}


def with_first_layer(model: VGG, rgb_weight: torch.Tensor, which: str) -> VGG:
    """Replace the first layer of a pre-trained stream by one of ``FIRST_LAYERS``, in place."""
    layer = model.features[0]
    fresh = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    with torch.no_grad():
        if which == "random":
            layer.weight.copy_(fresh.weight)
            layer.bias.zero_()
        elif which == "original":
            layer.weight.copy_(original_first_layer(rgb_weight, layer.in_channels))
            layer.bias.copy_(fresh.bias)
        elif which in FIRST_LAYERS:
            rescale = which == "mean, rescaled"
            layer.weight.copy_(transform_first_layer(rgb_weight, layer.in_channels, rescale))
            if which == "mean, no bias":
                layer.bias.zero_()
        else:
            raise ValueError(f"no first layer {which!r}; there are {', '.join(FIRST_LAYERS)}")
    return model


def without_batch_norm(state: dict[str, torch.Tensor], width: float) -> dict[str, torch.Tensor]:
    """Fold the batch norm of RGB weights into the convolutions: the same function, plain VGG-19.

    In the original there is no batch norm. Where there is, it takes out any common factor that the
    first layer puts in.
    """
    with_norm = vgg19(3, width=width, batch_norm=True, weights=state).eval()
    plain: dict[str, torch.Tensor] = {}
    layers, place = list(with_norm.features), 0
    for k, layer in enumerate(layers):
        if isinstance(layer, nn.BatchNorm2d):
            continue
        if isinstance(layer, nn.Conv2d):
            fused = torch.nn.utils.fuse_conv_bn_eval(layer, layers[k + 1])
            plain |= {f"features.{place}.{n}": p.detach() for n, p in fused.named_parameters()}
        place += 1
    return plain | {n: p for n, p in state.items() if n.startswith("classifier")}


def original_stream(course: Course, name: str) -> VGG:
    """The original's stream on the course's backbone: its first layer, its head, its dropout."""
    torch.manual_seed(course.seed)
    model = course.new_stream(name)
    rgb = load_weights(course.profile.weights, course.profile.batch_norm)["features.0.weight"]
    with_first_layer(model, rgb, "original")
    return _fresh_head(model)


def _fresh_head(model: VGG) -> VGG:
    for layer in model.classifier:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
        elif isinstance(layer, nn.Dropout):
            layer.p = 0.85
    return model


class OriginalFusion(nn.Module):
    """The original's conv fusion, mended only as far as it takes to run.

    Maps after the last pool, concatenated; Conv3d of size 1 with padding 1 at depth 1, from random
    weights; a 3D pool; a head from random weights. ``forward(rgb, flow)`` gives ``(B, classes)``.
    """

    def __init__(self, spatial: VGG, temporal: VGG):
        super().__init__()
        self.spatial, self.temporal = copy.deepcopy(spatial), copy.deepcopy(temporal)
        channels, hidden = spatial.map_channels, spatial.classifier[3].out_features
        self.fuse = nn.Conv3d(2 * channels, channels, kernel_size=1, padding=1)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 16, hidden), nn.ReLU(), nn.Dropout(0.85),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.85),
            nn.Linear(hidden, spatial.classifier[6].out_features),
        )  # fmt: skip

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        a = self.spatial.avgpool(self.spatial.features(rgb))
        b = self.temporal.avgpool(self.temporal.features(flow))
        maps = torch.relu(self.fuse(torch.cat([a, b], dim=1).unsqueeze(2)))
        return self.classifier(nn.functional.max_pool3d(maps, 2).flatten(1))


def train_as_original(model: nn.Module, course: Course, name: str) -> list[dict]:
    """The original's loop: SGD at a constant 1e-3, no warm-up, no schedule, for as many epochs.

    Returns a history with ``epoch``, ``loss`` and ``top1``. The scoring is ours, with dropout off
    and the views of one position: kinder than the original, which never left training mode.
    """
    clips = DefectiveClips(course.dataset("train", INPUTS[name]), ORIGINAL)
    recipe, device = course.recipe(name), pick_device()
    model = to_model_layout(model, device)
    loader = make_loader(clips, recipe.batch_size, course.workers, course.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    history = []
    for epoch in range(recipe.epochs):
        clips.epoch = epoch
        torch.manual_seed(course.seed * 100_003 + epoch)
        model.train()
        loss_sum, right, seen = 0.0, 0, 0
        for batch in progress(loader, device, f"epoch {epoch + 1}/{recipe.epochs}"):
            logits = model(*network_input(batch, clips.streams))
            loss = nn.functional.cross_entropy(logits, batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(logits)
            right += int((logits.argmax(1) == batch["label"]).sum())
            seen += len(logits)
        history.append({"epoch": epoch + 1, "loss": loss_sum / seen, "top1": right / seen})
    return history
