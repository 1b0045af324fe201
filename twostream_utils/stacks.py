"""Stacks: which frames of a clip a network sees, one augmentation per clip, and the Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from .flow import flip_flow
from .profiles import Profile
from .store import FrameStore

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)
FLOW_REST = 127.5  # the middle of 0..255, which ±20 px is quantised to
FLOW_STD = 0.226 * 255.0  # flow gets the scale that RGB has, so that ImageNet filters fit both


def span(profile: Profile) -> int:
    """Number of consecutive frames that one RGB stack and one flow stack cover together."""
    rgb = (profile.rgb_frames - 1) * profile.rgb_step + 1
    flow = (profile.flow_fields - 1) * profile.flow_step + 2  # a field needs the frame after it
    return max(rgb, flow)


def stack_positions(available: int, count: int, step: int, start: int = 1) -> np.ndarray:
    """Return the 1-based positions of a stack, ``(count,)`` int64.

    ``count`` positions ``step`` apart from ``start``. A clip that is too short loops: position
    ``available`` is followed by position 1. Raises ``ValueError`` for a clip without frames.
    """
    if available < 1 or count < 1 or step < 1 or start < 1:
        raise ValueError(
            f"a stack needs at least one frame, a count, a step and a start from 1 up; got "
            f"{available} frames, count {count}, step {step}, start {start}"
        )
    return (start - 1 + step * np.arange(count)) % available + 1


def view_starts(n_frames: int, covered: int, positions: int) -> list[int]:
    """Return ``positions`` 1-based starts, spread evenly over a clip of ``n_frames`` frames.

    One position is the middle of the clip; several reach from its start to its end
    (Simonyan & Zisserman 2014, §5 "Testing"). A clip shorter than ``covered`` starts at 1.
    """
    slack = max(n_frames - covered, 0)
    if positions == 1:
        return [1 + slack // 2]
    return [1 + round(slack * k / (positions - 1)) for k in range(positions)]


@dataclass(frozen=True)
class View:
    """What is seen of a clip: first frame (1-based), crop corner and side in px, mirrored or not.

    One view holds for every RGB frame and every flow field of the clip, so the two streams stay
    registered pixel by pixel: fusion at a convolutional layer needs that. ``side`` None is the
    whole frame in its stored size.
    """

    start: int
    top: int
    left: int
    side: int | None
    flip: bool


def random_view(
    rng: np.random.Generator, n_frames: int, size: tuple[int, int], profile: Profile
) -> View:
    """Draw a training view of a clip of ``n_frames`` frames of ``size`` = (height, width) px.

    Random start, random square of ``min_scale``..1 of the short side at a random place, mirrored
    half of the time (the scale jitter of Feichtenhofer et al. 2016, §4).
    """
    height, width = size
    side = round(min(height, width) * rng.uniform(profile.min_scale, 1.0))
    start = 1 + int(rng.integers(max(n_frames - span(profile), 0) + 1))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return View(start, int(top), int(left), side, bool(rng.random() < 0.5))


CROPS = ("centre", "five", "whole")


def test_views(
    n_frames: int, size: tuple[int, int], profile: Profile, crops: str = "centre"
) -> list[View]:
    """Return the fixed test views: ``profile.positions`` starts × {as is, flipped} × crops.

    ``"centre"`` is the largest square; ``"five"`` the four corners and the centre, each 7/8 of the
    short side, which is 224 of 256 px (Simonyan & Zisserman 2014, §5); ``"whole"`` the whole frame
    for fully connected layers run as convolutions (Simonyan & Zisserman 2015, §3.2). Start by
    start, as is before flipped. Raises ``ValueError`` for other ``crops``.
    """
    if crops not in CROPS:
        raise ValueError(f"no crops {crops!r}; there are {', '.join(CROPS)}")
    height, width = size
    short = min(height, width)
    side = {"centre": short, "five": round(short * 7 / 8), "whole": None}[crops]
    down, right = (0, 0) if side is None else (height - side, width - side)
    corners = [(0, 0), (0, right), (down, 0), (down, right)] if crops == "five" else []
    return [
        View(start, top, left, side, flip)
        for start in view_starts(n_frames, span(profile), profile.positions)
        for flip in (False, True)
        for top, left in [(down // 2, right // 2), *corners]
    ]


test_views.__test__ = False  # pytest would collect the name


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


def rgb_stack(store: FrameStore, clip: str, view: View, profile: Profile) -> torch.Tensor:
    """Return the spatial stream's input of one view, ``(3·rgb_frames, crop, crop)`` uint8."""
    where = stack_positions(store.n_frames(clip), profile.rgb_frames, profile.rgb_step, view.start)
    frames = crop_frames(store.read_rgb(clip, where), view, profile.crop)
    return to_channels(frames[:, :, ::-1] if view.flip else frames)


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


def flow_stack(store: FrameStore, clip: str, view: View, profile: Profile) -> torch.Tensor:
    """Return the temporal stream's input of one view, ``(2·flow_fields, crop, crop)`` uint8.

    A mirrored view has u negated as well, since what moved right now moves left.
    """
    where = flow_positions(store, clip, profile, view.start)
    fields = crop_frames(store.read_flow(clip, where), view, profile.crop)
    return to_channels(flip_flow(fields) if view.flip else fields)


STREAMS = {"rgb": rgb_stack, "flow": flow_stack}


class ClipDataset(Dataset):
    """Labelled stacks of clips, uint8, for one stream or both.

    Item ``i`` is a dict: ``"rgb"`` ``(V, 3·rgb_frames, S, S)`` and/or ``"flow"``
    ``(V, 2·flow_fields, S, S)`` uint8, ``"label"`` and ``"index"`` int. Training draws one random
    view (V = 1) from ``(seed, epoch, i)`` alone, so the clips do not depend on the number of
    loader workers; otherwise the V fixed test views are returned, see :func:`test_views` for
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
        unknown = [stream for stream in streams if stream not in STREAMS]
        if unknown:
            raise ValueError(f"no stream {unknown}; there are {list(STREAMS)}")
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
            return test_views(n_frames, size, self.profile, self.crops)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        return [random_view(rng, n_frames, size, self.profile)]

    def first_view(self, clip: str) -> dict[str, torch.Tensor]:
        """Return the stacks of one view of ``clip`` by stream, each ``(channels, S, S)`` uint8."""
        view = self.views(self.clips.index(clip))[0]
        return {s: STREAMS[s](self.store, clip, view, self.profile) for s in self.streams}

    def __getitem__(self, index: int) -> dict:
        clip_index = index % len(self.clips)
        clip, views = self.clips[clip_index], self.views(index)
        item: dict = {"label": self.labels[clip_index], "index": clip_index}
        for stream in self.streams:
            read = STREAMS[stream]
            item[stream] = torch.stack([read(self.store, clip, v, self.profile) for v in views])
        return item


def normalise(stack: torch.Tensor, stream: str) -> torch.Tensor:
    """Scale a uint8 batch of stacks to network input, ``(B, C, H, W)`` float32, where it lies.

    RGB gets ImageNet's mean and deviation per colour. Flow is centred on rest and divided by
    ImageNet's mean deviation: putting it through a three-channel ImageNet normalisation would
    shift u and v by different amounts (REFERENCE: defect 9 of the original).
    """
    x = stack.to(torch.float32, memory_format=torch.channels_last)
    if stream == "flow":
        return x.sub_(FLOW_REST).div_(FLOW_STD)
    frames = stack.shape[1] // 3
    mean = torch.tensor(RGB_MEAN * frames, device=x.device).view(1, -1, 1, 1) * 255
    std = torch.tensor(RGB_STD * frames, device=x.device).view(1, -1, 1, 1) * 255
    return x.sub_(mean).div_(std)
