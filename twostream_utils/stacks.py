"""Stacks of a clip, as views show them, and the Dataset that draws them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from .device import processes
from .profiles import Profile
from .store import FrameStore
from .views import View, eval_views, random_view, stack_positions

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)
FLOW_REST = 127.5  # the middle of 0..255, which ±20 px is quantised to
FLOW_STD = 0.226 * 255.0  # flow gets the scale that RGB has, so that ImageNet filters fit both


def crop_frames(frames: np.ndarray, view: View, size: int) -> np.ndarray:
    """Cut one view out of ``(T, H, W, C)`` uint8 and resize it to ``(T, size, size, C)``.

    The same square for every frame. Mirroring is left to the caller, since it means something
    else for flow than for RGB. A view of the whole frame keeps its stored size.
    """
    if view.side is None:
        return frames
    square = frames[:, view.top : view.top + view.side, view.left : view.left + view.side]
    if view.side == size:
        return square
    out = np.empty((len(frames), size, size, frames.shape[3]), np.uint8)
    for source, target in zip(square, out):
        cv2.resize(source, (size, size), dst=target, interpolation=cv2.INTER_LINEAR)
    return out


def to_channels(frames: np.ndarray) -> torch.Tensor:
    """Turn ``(T, H, W, C)`` into channels ``(T·C, H, W)`` uint8, frame by frame.

    For RGB the order is r1 g1 b1 r2 g2 b2 …, for flow u1 v1 u2 v2 … (Simonyan & Zisserman 2014,
    §3.1, eq. 1).
    """
    channels = frames.transpose(0, 3, 1, 2).reshape(-1, *frames.shape[1:3])
    return torch.from_numpy(np.ascontiguousarray(channels))


def rgb_positions(store: FrameStore, clip: str, profile: Profile, start: int) -> np.ndarray:
    """Return the numbers of the frames of an RGB stack, ``(rgb_frames,)`` int64."""
    return stack_positions(store.n_frames(clip), profile.rgb_frames, profile.rgb_step, start)


def flow_positions(store: FrameStore, clip: str, profile: Profile, start: int) -> np.ndarray:
    """Return the numbers of the fields of a flow stack, ``(flow_fields,)`` int64.

    Where only every Nth field was extracted, the stack begins at the last such field up to
    ``start``, so less than N frames before the RGB stack. Raises ``ValueError`` if ``flow_step``
    asks for fields between them.
    """
    every = store.flow_every(clip)
    if profile.flow_step % every:
        raise ValueError(
            f"clip {clip} has only one flow field in {every}, and profile {profile.name} takes "
            f"fields {profile.flow_step} apart: extract all of them (extract.py without --every), "
            f"or set flow_step to a multiple of {every}"
        )
    step, first = profile.flow_step // every, (start - 1) // every
    places = stack_positions(store.n_flow(clip), profile.flow_fields, step, first + 1)
    return (places - 1) * every + 1


POSITIONS = {"rgb": rgb_positions, "flow": flow_positions}


def read_stacks(
    store: FrameStore,
    clip: str,
    views: Sequence[View],
    profile: Profile,
    stream: str,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the stacks of all ``views`` of a clip, ``(V, channels, S, S)`` uint8, in ``out``.

    Every picture is decoded once, however many views show it, and its squares are written where
    they belong. Channels go frame by frame: r1 g1 b1 r2 g2 b2 … for ``"rgb"``, u1 v1 u2 v2 … for
    ``"flow"`` (Simonyan & Zisserman 2014, §3.1, eq. 1). A mirrored view has u negated as well,
    since what moved right now moves left. S is ``profile.crop``; whole frames are ``(…, H, W)``.
    """
    if out is None:
        (out,) = empty_stacks(1, store, clip, views, profile, stream)
    each = 2 if stream == "flow" else 3
    places: dict[int, list[tuple[View, np.ndarray]]] = {}
    for view, stack in zip(views, out.numpy()):
        numbers = POSITIONS[stream](store, clip, profile, view.start).tolist()
        for number, planes in zip(numbers, stack.reshape(-1, each, *stack.shape[1:])):
            places.setdefault(number, []).append((view, planes))
    numbers = sorted(places)
    write = _write_flow if stream == "flow" else _write_rgb
    for number, picture in zip(numbers, store.images(clip, numbers, stream == "flow")):
        for view, planes in places[number]:
            write(picture, view, planes)
    return out


def empty_stacks(
    batch: int, store: FrameStore, clip: str, views: Sequence[View], profile: Profile, stream: str
) -> torch.Tensor:
    """Return room for the stacks of ``batch`` clips like this one, ``(B, V, channels, S, S)``."""
    size = store.size(clip) if views[0].side is None else (profile.crop, profile.crop)
    shape = batch, len(views), profile.channels[stream], *size
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    # Where the other process reads it, as in torch's own default_collate: else the queue copies the
    # batch there. Not in the worker's heap either, which would break up and grow in an epoch.
    shared = torch.UntypedStorage._new_shared(math.prod(shape))
    return torch.empty(0, dtype=torch.uint8).set_(shared, 0, shape)


def _square(image: np.ndarray, view: View) -> np.ndarray:
    if view.side is None:
        return image
    return image[view.top : view.top + view.side, view.left : view.left + view.side]


def _write_rgb(frame: np.ndarray, view: View, planes: np.ndarray) -> None:
    """Cut, resize and mirror a frame ``(H, W, 3)`` into its planes ``(3, S, S)``."""
    square, size = _square(frame, view), planes.shape[:0:-1]
    if square.shape[1::-1] != size:
        square = cv2.resize(square, size)
    cv2.split(cv2.flip(square, 1) if view.flip else square, list(planes))


def _write_flow(field: Sequence[np.ndarray], view: View, planes: np.ndarray) -> None:
    """The same for u and v, each ``(H, W)``, and their planes ``(2, S, S)``."""
    size = planes.shape[:0:-1]
    for image, plane in zip(field, planes):
        square = _square(image, view)
        if square.shape[1::-1] != size:
            square = cv2.resize(square, size, dst=plane)
        if view.flip:
            cv2.flip(square, 1, dst=plane)
        elif square is not plane:
            np.copyto(plane, square)
    if view.flip:
        cv2.bitwise_not(planes[0], dst=planes[0])  # 255 - u


class StackDataset(Dataset):
    """Labelled stacks of clips, uint8, for one stream or both.

    Item ``i`` is a dict: ``"rgb"`` ``(V, 3·rgb_frames, S, S)`` and/or ``"flow"``
    ``(V, 2·flow_fields, S, S)`` uint8, ``"label"`` and ``"index"`` int. Training draws one random
    view (V = 1) from ``(seed, epoch, i)`` alone, so the clips do not depend on the number of
    loader workers; otherwise the V fixed test views are returned, see :func:`eval_views` for
    ``crops``. ``repeat`` draws every clip that often in one epoch, which keeps epochs long enough
    on a small set. S is ``profile.crop``; views of the whole frame are ``(…, H, W)``.

    Raises ``ValueError`` for a stream that does not exist or a clip whose label is no class.
    """

    def __init__(
        self,
        store: FrameStore,
        clips: Sequence[str],
        classes: Sequence[str],
        profile: Profile,
        streams: Sequence[str] = ("rgb",),
        train: bool = False,
        seed: int = 0,
        repeat: int = 1,
        crops: str = "centre",
    ):
        unknown = [stream for stream in streams if stream not in POSITIONS]
        if unknown:
            raise ValueError(f"no stream {unknown}; there are {list(POSITIONS)}")
        strangers = sorted({store.label(clip) for clip in clips} - set(classes))
        if strangers:
            raise ValueError(f"labels {strangers} are not among the {len(classes)} classes")
        self.store, self.clips, self.classes = store, list(clips), list(classes)
        self.profile, self.streams, self.train, self.seed = profile, tuple(streams), train, seed
        self.labels = [self.classes.index(store.label(clip)) for clip in self.clips]
        self.repeat, self.crops = repeat if train else 1, crops
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.clips) * self.repeat

    def views(self, index: int) -> list[View]:
        """Return the views that item ``index`` shows in the current epoch."""
        clip = self.clips[index % len(self.clips)]
        n_frames, size = self.store.n_frames(clip), self.store.size(clip)
        if not self.train:
            return eval_views(n_frames, size, self.profile, self.crops)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        return [random_view(rng, n_frames, size, self.profile)]

    def one_size(self) -> bool:
        """Whether the views of all clips have one size, so that they can be joined to batches."""
        sizes = map(self.store.size, self.clips)
        return self.train or self.crops != "whole" or len(set(sizes)) <= 1

    def first_view(self, clip: str) -> dict[str, torch.Tensor]:
        """Return the stacks of one view of ``clip`` by stream, each ``(channels, S, S)`` uint8."""
        item = self[self.clips.index(clip)]
        return {stream: item[stream][0] for stream in self.streams}

    def __getitem__(self, index: int) -> dict:
        return {name: value[0] for name, value in self.batch([index]).items()}

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return items joined, stacks ``(B, V, …)``: each picture is written to its place once.

        Raises ``ValueError`` for whole frames of several sizes.
        """
        clips = [index % len(self.clips) for index in indices]
        views = [self.views(index) for index in indices]
        if views[0][0].side is None:
            sizes = {self.store.size(self.clips[c]): self.clips[c] for c in clips}
            if len(sizes) > 1:
                found = ", ".join(f"{h}×{w} ({clip})" for (h, w), clip in sizes.items())
                raise ValueError(f"whole frames of several sizes make no batch: {found}")
        labels = torch.tensor([self.labels[c] for c in clips])
        batch = {"label": labels, "index": torch.tensor(clips)}
        first = self.store, self.clips[clips[0]], views[0], self.profile
        for stream in self.streams:
            batch[stream] = empty_stacks(len(clips), *first, stream)
            for c, seen, out in zip(clips, views, batch[stream]):
                read_stacks(self.store, self.clips[c], seen, self.profile, stream, out)
        return batch


def rank_subset(clips: StackDataset) -> StackDataset:
    """Return this process's share of fixed clips: every Nth one under torchrun, else all."""
    rank, count = processes()
    share = copy.copy(clips)
    share.clips, share.labels = clips.clips[rank::count], clips.labels[rank::count]
    return share


def normalise(stack: torch.Tensor, stream: str) -> torch.Tensor:
    """Scale a uint8 batch of stacks to network input, ``(B, C, H, W)`` float32, where it lies.

    RGB gets ImageNet's mean and deviation per colour. Flow is centred on rest and divided by
    ImageNet's mean deviation: putting it through a three-channel ImageNet normalisation would
    shift u and v by different amounts (REFERENCE: defect 9 of the original).
    """
    x = stack.to(torch.float32, memory_format=torch.channels_last)
    shift, scale = _affine(stream, stack.shape[1], x.device)
    return torch.addcmul(shift, x, scale, out=x)  # one step after the cast, and in its memory


@cache
def _affine(stream: str, channels: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift and scale of all channels, kept on their device: to copy them waits for a GPU."""
    if stream == "flow":
        mean, std = np.full(channels, FLOW_REST), np.full(channels, FLOW_STD)
    else:
        mean, std = (255 * np.tile(values, channels // 3) for values in (RGB_MEAN, RGB_STD))
    both = (torch.tensor(v, dtype=torch.float32, device=device) for v in (-mean / std, 1 / std))
    return tuple(values.view(1, -1, 1, 1) for values in both)
