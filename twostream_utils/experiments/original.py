"""The original's defects, one by one or all together, on the course's own clips and networks."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import nn

from .. import stacks
from ..course import INPUTS, Course
from ..device import Prepared, mixed_precision, pick_device, to_model_layout
from ..flow import flip_flow, subtract_mean
from ..training import train_epoch
from ..vgg import VGG, load_weights, transform_first_layer
from ..views import View, random_view

DEFECTS = {
    "jitter": "a crop and a flip of its own for every RGB frame of a stack",
    "own crops": "RGB and flow of a clip each with a crop and a flip of their own",
    "unregistered": "flow is resized only; RGB is cropped and flipped",
    "rotated": "the first flow field stands at the end of the stack",
    "unflipped u": "a mirrored flow field keeps the sign of u",
    "min-max flow": "each flow field is stretched to its own range",
    "fixed frames": "the same frames of a clip in every epoch",
    "backwards": "the film runs backwards: the last field first, u and v negated",
    "shuffled": "the fields of a stack stand in random order",
}
ORIGINAL = ("jitter", "unregistered", "rotated", "fixed frames")
EPOCHS = {"spatial": 25, "temporal": 25, "conv": 20}  # as its two scripts say


class DefectiveClips(stacks.StackDataset):
    """The clips of a dataset with some of ``DEFECTS``; shapes and types stay as they are."""

    def __init__(self, clips: stacks.StackDataset, defects: Iterable[str]):
        self.__dict__.update(clips.__dict__)
        self.defects = set(defects)
        if strangers := self.defects - set(DEFECTS):
            raise ValueError(f"no defects {sorted(strangers)}; there are {', '.join(DEFECTS)}")

    def views(self, index: int) -> list[View]:
        views = super().views(index)
        return [replace(v, start=1) for v in views] if "fixed frames" in self.defects else views

    def __getitem__(self, index: int) -> dict:
        place = index % len(self.clips)
        clip, item = self.clips[place], {"label": self.labels[place]}
        rng = np.random.default_rng((self.seed, self.epoch, index, 1))
        read = {"rgb": self._rgb, "flow": self._flow}
        for stream in self.streams:
            item[stream] = torch.stack([read[stream](clip, v, rng) for v in self.views(index)])
        return item

    def _own(self, clip: str, view: View, rng: np.random.Generator) -> View:
        """Another crop and flip of the same frames."""
        size = self.store.size(clip)
        return replace(random_view(rng, self.store.n_frames(clip), size, self.profile),
                       start=view.start, seed=view.seed)  # fmt: skip

    def _rgb(self, clip: str, view: View, rng: np.random.Generator) -> torch.Tensor:
        if not (self.train and "jitter" in self.defects):
            return stacks.read_stacks(self.store, clip, [view], self.profile, "rgb")[0]
        p, frames = self.profile, []
        where = stacks.rgb_positions(self.store, clip, p, view.start, view.seed)
        for frame in self.store.read_rgb(clip, where):
            own = self._own(clip, view, rng)
            cut = stacks.crop_frames(frame[None], own, self.profile.crop)
            frames.append(cut[:, :, ::-1] if own.flip else cut)
        return stacks.to_channels(np.concatenate(frames))

    def _flow(self, clip: str, view: View, rng: np.random.Generator) -> torch.Tensor:
        p = self.profile
        where = stacks.flow_positions(self.store, clip, p, view.start, view.seed)
        fields = self.store.read_flow(clip, where)
        if self.train and "own crops" in self.defects:
            view = self._own(clip, view, rng)
        if "unregistered" in self.defects:
            fields = np.stack([cv2.resize(f, (p.crop, p.crop)) for f in fields])
        else:
            fields = stacks.crop_frames(fields, view, p.crop)
            if p.subtract_mean:
                fields = subtract_mean(fields)
            if view.flip:
                keep_sign = "unflipped u" in self.defects
                fields = fields[:, :, ::-1] if keep_sign else flip_flow(fields)
        if "min-max flow" in self.defects:
            low = fields.min(axis=(1, 2), keepdims=True).astype(np.float32)
            high = fields.max(axis=(1, 2), keepdims=True)
            fields = ((fields - low) * 255 / np.maximum(high - low, 1)).round().astype(np.uint8)
        if "backwards" in self.defects:
            fields = 255 - fields[::-1]
        if "shuffled" in self.defects:
            fields = fields[rng.permutation(len(fields))]
        channels = stacks.to_channels(fields)
        return channels.roll(-2, dims=0) if "rotated" in self.defects else channels


def original_first_layer(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """``(O, 3, kH, kW)`` to ``(O, in_channels, kH, kW)``: the mean of filter 0 for all."""
    mean = weight.sum(dim=1)[0] / 3
    return mean.expand(weight.shape[0], in_channels, -1, -1).clone()


FIRST_LAYERS = {
    "random": "He initialisation, as if there were no weights",
    "original": "the mean of filter 0 for every filter, a random bias",
    "mean": "the mean of each filter, repeated; the bias is kept",
    "mean_rescaled": "the same times 3/N",
    "inflate": "each colour repeated for every frame, divided by their number (RGB only)",
}


def with_first_layer(model: VGG, rgb: torch.Tensor, which: str) -> VGG:
    """Start a stream's first layer as one of ``FIRST_LAYERS``, from ``rgb`` ``(O, 3, 3, 3)``.

    Raises ``ValueError`` for any other.
    """
    layer = model.features[0]
    fresh = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    if which == "random":
        weight, bias = fresh.weight, torch.zeros_like(layer.bias)
    elif which == "original":
        weight, bias = original_first_layer(rgb, layer.in_channels), fresh.bias
    else:
        weight, bias = transform_first_layer(rgb, layer.in_channels, which), layer.bias
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return model


def original_stream(course: Course, name: str) -> VGG:
    """The original's stream on the course's backbone: its first layer, torchvision's dropout.

    It keeps the pre-trained fc6 and fc7 and replaces the last layer alone, as the course does. The
    small weights of ``mini`` have no fc6 and fc7, so there these start at random.
    """
    model = course.new_stream(name)
    rgb = load_weights(course.profile.weights, course.profile.batch_norm)["features.0.weight"]
    with_first_layer(model, rgb, "original")
    for layer in model.classifier:
        if isinstance(layer, nn.Dropout):
            layer.p = 0.5
    return model


class OriginalFusion(nn.Module):
    """The original's conv fusion, mended only as far as it takes to run.

    Maps after the last pool, a Conv3d of size 1 with padding 1 at depth 1, a 3D pool, and a head
    from random weights behind a dropout of 0.85, twice: 8192→2048→512→classes at full width. It
    starts from ImageNet and not from trained streams, and trains all of it.
    """

    def __init__(self, spatial: VGG, temporal: VGG):
        super().__init__()
        self.spatial, self.temporal = copy.deepcopy(spatial), copy.deepcopy(temporal)
        maps, classes = spatial.map_channels, spatial.classifier[-1].out_features
        self.fuse = nn.Conv3d(2 * maps, maps, kernel_size=1, padding=1)
        self.classifier = nn.Sequential(
            nn.Linear(16 * maps, 4 * maps), nn.ReLU(), nn.Dropout(0.85),
            nn.Linear(4 * maps, maps), nn.ReLU(), nn.Dropout(0.85),
            nn.Linear(maps, classes),
        )  # fmt: skip

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        a = self.spatial.avgpool(self.spatial.features(rgb))
        b = self.temporal.avgpool(self.temporal.features(flow))
        maps = torch.relu(self.fuse(torch.cat([a, b], dim=1).unsqueeze(2)))
        return self.classifier(nn.functional.max_pool3d(maps, 2).flatten(1))


def precision() -> str:
    """bfloat16 where the course trains in it, so that both take the same time; else float32."""
    return "bf16" if mixed_precision(pick_device()) == "bf16" else "no"


def train_as_original(model: nn.Module, course: Course, name: str) -> None:
    """Train as the original: SGD, 1e-3 divided by 10 every 10 epochs, no weight decay, no warm-up.

    As many epochs as it has, on the batches of the course.
    """
    clips = DefectiveClips(course.dataset("train", INPUTS[name]), ORIGINAL)
    recipe, device = course.recipe(name), pick_device()
    network = Prepared(to_model_layout(model, device), device, precision())
    loader = stacks.make_loader(clips, recipe.batch_size, course.workers, course.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10 * len(loader), gamma=0.1)
    for epoch in range(EPOCHS[name]):
        clips.epoch = epoch
        torch.manual_seed(course.seed * 100_003 + epoch)
        batches = stacks.inputs(loader, device, clips.streams, f"epoch {epoch + 1}/{EPOCHS[name]}")
        train_epoch(network, batches, optimizer, schedule, nn.functional.cross_entropy)
