"""Stacks of a clip, as views show them, the Dataset that draws them, and the loader of batches."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm.auto import tqdm

from .device import keep_freed_memory, pick_device, processes
from .flow import flip_flow, subtract_mean
from .profiles import Profile
from .store import FrameStore
from .views import View, eval_views, random_view, sampled_positions

Batch = dict[str, torch.Tensor]
RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)
FLOW_REST = 127.5  # the middle of 0..255, which ±20 px is quantised to
FLOW_STD = 0.226 * 255.0  # flow gets the scale that RGB has, so that ImageNet filters fit both


def crop_frames(frames: np.ndarray, view: View, size: int) -> np.ndarray:
    """Cut one view out of ``(T, H, W, C)`` uint8, not mirrored, to ``(T, size, size, C)``."""
    rows, columns = view.box
    cut = frames[:, rows, columns]
    if cut.shape[1:3] == (size, size):
        return cut
    return np.stack([cv2.resize(image, (size, size)) for image in cut])


def to_channels(frames: np.ndarray) -> torch.Tensor:
    """Turn ``(T, H, W, C)`` into channels ``(T·C, H, W)`` uint8: u1 v1 u2 v2 … or r1 g1 b1 r2 …

    (Simonyan & Zisserman 2014, §3.1, eq. 1).
    """
    channels = frames.transpose(0, 3, 1, 2).reshape(-1, *frames.shape[1:3])
    return torch.from_numpy(np.ascontiguousarray(channels))


def rgb_positions(
    store: FrameStore, clip: str, profile: Profile, start: int, seed: int | None = None
) -> np.ndarray:
    """Return the numbers of the frames of an RGB stack, ``(rgb_frames,)`` int64."""
    chosen = profile.rgb_frames, profile.rgb_step, profile.sampling, start, seed
    return sampled_positions(store.n_frames(clip), *chosen)


def flow_positions(
    store: FrameStore, clip: str, profile: Profile, start: int, seed: int | None = None
) -> np.ndarray:
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
    step, first = profile.flow_step // every, (start - 1) // every + 1
    chosen = profile.flow_fields, step, profile.sampling, first, seed
    return (sampled_positions(store.n_flow(clip), *chosen) - 1) * every + 1


POSITIONS = {"rgb": rgb_positions, "flow": flow_positions}


def read_stacks(
    store: FrameStore, clip: str, views: Sequence[View], profile: Profile, stream: str,
    out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Return the stacks of all ``views`` of a clip, ``(V, channels, S, S)`` uint8, in ``out``.

    What ``StackDataset.stack`` makes one by one: every picture is decoded once, however many views
    show it, and each of its crops is written where it belongs, without a copy in between.
    """
    size, channels = profile.crop, profile.channels[stream]
    if out is None:
        out = torch.empty((len(views), channels, size, size), dtype=torch.uint8)
    places: dict[int, list[tuple[View, np.ndarray]]] = {}
    for view, stack in zip(views, out.numpy()):
        numbers = POSITIONS[stream](store, clip, profile, view.start, view.seed).tolist()
        for number, planes in zip(numbers, stack.reshape(len(numbers), -1, size, size)):
            places.setdefault(number, []).append((view, planes))
    numbers = sorted(places)
    for number, picture in zip(numbers, store.images(clip, numbers, stream == "flow")):
        for view, planes in places[number]:
            if stream == "rgb":
                _write_rgb(picture, view, planes)
            else:
                _write_flow(picture, view, planes, profile.subtract_mean)
    return out


def _write_rgb(frame: np.ndarray, view: View, planes: np.ndarray) -> None:
    """Cut, resize and mirror a frame ``(H, W, 3)`` into its planes ``(3, S, S)``."""
    cut, size = frame[view.box], planes.shape[1:]
    if cut.shape[:2] != size:
        cut = cv2.resize(cut, size)
    cv2.split(cv2.flip(cut, 1) if view.flip else cut, list(planes))


def _write_flow(
    field: Sequence[np.ndarray], view: View, planes: np.ndarray, centred: bool
) -> None:
    """The same for u and v, each ``(H, W)``, and their planes ``(2, S, S)``."""
    box = view.box
    for image, plane in zip(field, planes):
        cut = image[box]
        if cut.shape != plane.shape:
            cut = cv2.resize(cut, plane.shape, dst=plane)
        if view.flip:
            cv2.flip(cut, 1, dst=plane)
        elif cut is not plane:
            np.copyto(plane, cut)
        if centred:
            cv2.subtract(plane, round(cv2.mean(plane)[0] - 127.5), dst=plane)  # stops at 0 and 255
    if view.flip:
        cv2.bitwise_not(planes[0], dst=planes[0])  # 255 - u


class StackDataset(Dataset):
    """Labelled stacks of clips, uint8, for one stream or both.

    Item ``i`` is a dict: ``"rgb"`` ``(V, 3·rgb_frames, S, S)`` and/or ``"flow"``
    ``(V, 2·flow_fields, S, S)`` uint8, ``"label"`` int; S is ``profile.crop``. Training draws one
    random view (V = 1) from ``(seed, epoch, i)`` alone, not from the worker that loads it, and
    every clip ``repeat`` times an epoch; testing shows the V views of :func:`eval_views`.

    Raises ``ValueError`` for a clip whose label is no class.
    """

    def __init__(
        self, store: FrameStore, clips: Sequence[str], classes: Sequence[str], profile: Profile,
        streams: Sequence[str] = ("rgb",), train: bool = False, seed: int = 0, repeat: int = 1,
        crops: str = "centre",
    ):  # fmt: skip
        self.store, self.clips, self.classes = store, list(clips), list(classes)
        self.labels = [self.classes.index(store.label(clip)) for clip in self.clips]
        self.profile, self.streams, self.crops = profile, tuple(streams), crops
        self.train, self.seed, self.epoch = train, seed, 0
        self.repeat = repeat if train else 1

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

    def stack(self, clip: str, view: View, stream: str) -> torch.Tensor:
        """Read, crop once, flip once with u negated, stack: ``(channels, S, S)`` uint8."""
        numbers = POSITIONS[stream](self.store, clip, self.profile, view.start, view.seed)
        read = self.store.read_flow if stream == "flow" else self.store.read_rgb
        frames = crop_frames(read(clip, numbers), view, self.profile.crop)
        centred = stream == "flow" and self.profile.subtract_mean
        if centred:
            frames = subtract_mean(frames)
        if view.flip:
            frames = flip_flow(frames) if stream == "flow" else frames[:, :, ::-1]
        return to_channels(frames)

    def __getitem__(self, index: int) -> dict:
        place = index % len(self.clips)
        item = {"label": self.labels[place]}
        for stream in self.streams:
            seen = [self.stack(self.clips[place], view, stream) for view in self.views(index)]
            item[stream] = torch.stack(seen)
        return item


def write_batch(
    dataset: StackDataset, indices: Sequence[int], room: Callable | None = None
) -> Batch:
    """Return items joined, stacks ``(B, V, …)``, each picture written to its place in the batch."""
    clips = [index % len(dataset.clips) for index in indices]
    views = [dataset.views(index) for index in indices]
    batch = {"label": torch.tensor([dataset.labels[c] for c in clips])}
    size = dataset.profile.crop
    for stream in dataset.streams:
        shape = len(clips), len(views[0]), dataset.profile.channels[stream], size, size
        stacks = room(stream, shape) if room else torch.empty(shape, dtype=torch.uint8)
        for c, seen, out in zip(clips, views, stacks):
            read_stacks(dataset.store, dataset.clips[c], seen, dataset.profile, stream, out)
        batch[stream] = stacks
    return batch


def new_shared(stream: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return room that the other process reads: batches in a worker's heap would break it up."""
    return torch.empty(shape, dtype=torch.uint8).share_memory_()


class SharedRing:
    """The same, used in turn: new shared pages for every batch take a sixth of a worker's time.

    ``SLOTS`` are for the batch in use and for two that torch lets a worker prefetch.
    """

    SLOTS = 3

    def __init__(self):
        self.slots: dict[tuple, deque[torch.Tensor]] = defaultdict(deque)

    def __call__(self, stream: str, shape: tuple[int, ...]) -> torch.Tensor:
        slots = self.slots[stream, shape]
        if len(slots) < self.SLOTS:
            slots.append(new_shared(stream, shape))
        slots.rotate()
        return slots[0]


class EpochSampler(Sampler):
    """This process's clips of an epoch: of N processes each takes every Nth batch.

    Training clips are ordered by ``(seed, dataset.epoch)`` alone: resuming needs no past.
    """

    def __init__(self, dataset: StackDataset, seed: int, batch_size: int):
        self.dataset, self.seed, self.batch_size = dataset, seed, batch_size

    def __len__(self) -> int:
        (rank, count), total = processes(), len(self.dataset)
        return total // count if self.dataset.train else len(range(rank, total, count))

    def __iter__(self) -> Iterator[int]:
        (rank, count), total = processes(), len(self.dataset)
        if not self.dataset.train:
            return iter(range(rank, total, count))
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.dataset.epoch)
        batches = torch.randperm(total, generator=generator).split(self.batch_size)
        return iter(torch.cat(batches[rank::count])[: len(self)].tolist())


def make_loader(
    dataset: StackDataset, batch_size: int, workers: int, seed: int, reuse: bool = False
) -> DataLoader:
    """Return the loader of a dataset: shuffled anew each epoch for training, else in order.

    With ``reuse`` workers use their memory again, which is faster: a batch is whole only until the
    next one is taken, so ``list(loader)`` would be wrong.
    """
    if not workers:  # batches lie where those of the epoch before lay
        keep_freed_memory()
    if dataset.train:
        batch_size = min(batch_size, len(dataset) // processes()[1])
    made_by = type(dataset).__getitem__, getattr(type(dataset), "stack", None)
    items, collate = dataset, None
    if made_by == (StackDataset.__getitem__, StackDataset.stack):
        # The same bytes in 1/1.4 of the time: the loader deals out numbers, `write_batch` makes the
        # batch. Items that are made otherwise stay as they are.
        room = (SharedRing() if reuse else new_shared) if workers else None
        items, collate = range(len(dataset)), partial(write_batch, dataset, room=room)
    return DataLoader(
        items,
        batch_size,
        sampler=EpochSampler(dataset, seed, batch_size),
        num_workers=workers,
        collate_fn=collate,
        drop_last=dataset.train,
        pin_memory=pick_device().type == "cuda",
    )


def progress(loader: DataLoader, device: torch.device, title: str) -> Iterator[Batch]:
    """Yield the batches of a loader on ``device``, under a bar in the first of the processes."""
    quiet = {"disable": True} if processes()[0] else {}
    batches = iter(loader)  # tqdm would ask for a second iterator, with workers of its own
    cuda = device.type == "cuda"  # MPS would read memory that is free again (pytorch issue 189690)
    for batch in tqdm(batches, title, len(loader), leave=False, unit="batch", **quiet):
        yield {name: value.to(device, non_blocking=cuda) for name, value in batch.items()}


@contextlib.contextmanager
def worker_trouble_explained() -> Iterator[None]:
    """Say in torch's ``RuntimeError`` of a worker that was killed, or lacks memory, what to do.

    Around all that uses a loader: torch raises wherever this process happens to be.
    """
    try:
        yield
    except RuntimeError as error:
        if not re.search("worker .*(killed by|exited unexp)|allocate shared memory", str(error)):
            raise
        raise RuntimeError(
            "a process that loads clips was killed or ran out of memory (in a container, shared "
            f"memory: docker run --ipc=host). Load with fewer workers, or workers=0. ({error})"
        ) from error


def inputs(
    loader: DataLoader, device: torch.device, streams: Sequence[str], title: str
) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
    """Yield what a loop takes: the stacks of :func:`network_input` and labels ``(B,)`` int64."""
    for batch in progress(loader, device, title):
        yield network_input(batch, streams), batch["label"]


def network_input(batch: Batch, streams: Sequence[str]) -> list[torch.Tensor]:
    """Normalise the stacks of a batch on its device, each ``(B·V, channels, S, S)`` float32."""
    return [normalise(batch[stream].flatten(0, 1), stream) for stream in streams]


def normalise(stack: torch.Tensor, stream: str) -> torch.Tensor:
    """Scale a uint8 batch of stacks to network input, ``(B, C, H, W)`` float32, where it lies.

    RGB gets ImageNet's mean and deviation per colour. Flow is centred on rest and divided by their
    mean deviation: three-channel ImageNet figures would shift u and v by different amounts.
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
