"""Stacks of a clip, as views show them, the Dataset that draws them, and the loader of batches."""

from __future__ import annotations

import contextlib
import re
import traceback
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
# Flow's rest is the middle of 0..255, its scale that of RGB, so that ImageNet filters fit both.
SCALES = {"rgb": (255 * np.array(RGB_MEAN), 255 * np.array(RGB_STD)), "flow": (127.5, 0.226 * 255)}


def crop_frames(frames: np.ndarray, view: View, size: int) -> np.ndarray:
    """Cut one view out of ``(T, H, W, C)`` uint8, not mirrored, to ``(T, size, size, C)``."""
    rows, columns = view.box
    cut = frames[:, rows, columns]
    if cut.shape[1:3] == (size, size):
        return cut
    return np.stack([cv2.resize(image, (size, size)) for image in cut])


def to_channels(frames: np.ndarray) -> torch.Tensor:
    """Turn ``(T, H, W, C)`` into ``(T·C, H, W)``: u1 v1 u2 … (Simonyan & Zisserman 2014, eq. 1)."""
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

    Where only every Nth was extracted, it begins at the last one up to ``start``. Raises
    ``ValueError`` if ``flow_step`` asks for fields between them.
    """
    every, step = store.flow_every(clip), profile.flow_step
    if step % every:
        fault = f"{clip} has only one flow field in {every}, profile {profile.name} takes them"
        way_out = f"extract all (extract.py without --every), or take a multiple of {every}"
        raise ValueError(f"{fault} {step} apart: {way_out}")
    first = (start - 1) // every + 1
    chosen = profile.flow_fields, step // every, profile.sampling, first, seed
    return (sampled_positions(store.n_flow(clip), *chosen) - 1) * every + 1


POSITIONS = {"rgb": rgb_positions, "flow": flow_positions}


def read_stacks(
    store: FrameStore, clip: str, views: Sequence[View], profile: Profile, stream: str,
    out: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Return the stacks of all ``views`` of a clip, ``(V, channels, S, S)`` uint8, in ``out``.

    What ``StackDataset.stack`` makes one by one; here every picture is decoded once, for all views,
    and each of its crops is written where it belongs.
    """
    size, flow = profile.crop, stream == "flow"
    if out is None:
        out = torch.empty((len(views), profile.channels[stream], size, size), dtype=torch.uint8)
    places = defaultdict(list)
    for view, stack in zip(views, out.numpy()):
        numbers = POSITIONS[stream](store, clip, profile, view.start, view.seed).tolist()
        for number, planes in zip(numbers, stack.reshape(len(numbers), -1, size, size)):
            places[number].append((view, planes))
    for number, picture in zip(sorted(places), store.images(clip, sorted(places), flow)):
        for view, planes in places[number]:
            if flow:
                _write_flow(picture, view, planes, profile.subtract_mean)
            else:
                cut = cv2.resize(picture[view.box], (size, size))
                cv2.split(cv2.flip(cut, 1) if view.flip else cut, list(planes))
    return out


def _write_flow(field: Sequence[np.ndarray], view: View, planes: np.ndarray, centred: bool) -> None:
    """Write u and v, each ``(H, W)``, cut, resized and mirrored, into planes ``(2, S, S)``."""
    for image, plane in zip(field, planes):
        cv2.resize(image[view.box], plane.shape, dst=plane)  # only copies what is as large
        if view.flip:
            cv2.flip(plane, 1, dst=plane)
        if centred:
            cv2.subtract(plane, round(cv2.mean(plane)[0] - 127.5), dst=plane)  # stops at 0 and 255
    if view.flip:
        cv2.bitwise_not(planes[0], dst=planes[0])  # 255 - u


class StackDataset(Dataset):
    """Labelled stacks of clips, uint8, for one stream or both.

    Item ``i`` is a dict: ``"rgb"`` ``(V, 3·rgb_frames, S, S)`` and/or ``"flow"``
    ``(V, 2·flow_fields, S, S)`` uint8, ``"label"`` int; S is ``profile.crop``. Training draws one
    random view (V = 1) from ``(seed, epoch, i)`` alone, and every clip ``repeat`` times an epoch;
    testing shows those of :func:`eval_views`. Raises ``ValueError`` for a label that is no class.
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


def write_batch(data: StackDataset, indices: Sequence[int], room: Callable | None = None) -> Batch:
    """Return items joined, stacks ``(B, V, …)``, each picture written to its place in the batch."""
    clips, profile = [index % len(data.clips) for index in indices], data.profile
    views = [data.views(index) for index in indices]
    batch = {"label": torch.tensor([data.labels[c] for c in clips])}
    for stream in data.streams:
        shape = len(clips), len(views[0]), profile.channels[stream], profile.crop, profile.crop
        stacks = room(stream, shape) if room else torch.empty(shape, dtype=torch.uint8)
        for c, seen, out in zip(clips, views, stacks):
            read_stacks(data.store, data.clips[c], seen, profile, stream, out)
        batch[stream] = stacks
    return batch


def new_shared(stream: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return room that the other process reads: batches in a worker's heap would break it up."""
    return torch.empty(shape, dtype=torch.uint8).share_memory_()


class SharedRing:
    """The same, used in turn: new shared pages for every batch take a sixth of a worker's time."""

    SLOTS = 3  # for the batch in use and for two that torch lets a worker prefetch

    def __init__(self):
        self.slots: dict[tuple, deque[torch.Tensor]] = defaultdict(deque)

    def __call__(self, stream: str, shape: tuple[int, ...]) -> torch.Tensor:
        slots = self.slots[stream, shape]
        if len(slots) < self.SLOTS:
            slots.append(new_shared(stream, shape))
        slots.rotate()
        return slots[0]


class EpochSampler(Sampler):
    """Of N processes each takes every Nth batch, in an order of ``(seed, dataset.epoch)`` alone."""

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

    ``reuse`` is faster, and a batch is whole only until the next is taken: no ``list(loader)``.
    """
    if not workers:  # batches lie where those of the epoch before lay
        keep_freed_memory()
    if dataset.train:
        batch_size = min(batch_size, len(dataset) // processes()[1])
    made_by = type(dataset).__getitem__, getattr(type(dataset), "stack", None)
    items, collate = dataset, None
    if made_by == (StackDataset.__getitem__, StackDataset.stack):
        # The same bytes in 1/1.4 of the time; items that are made otherwise stay as they are.
        room = (SharedRing() if reuse else new_shared) if workers else None
        items, collate = range(len(dataset)), partial(write_batch, dataset, room=room)
    return DataLoader(
        items, batch_size, sampler=EpochSampler(dataset, seed, batch_size), num_workers=workers,
        collate_fn=collate, drop_last=dataset.train, pin_memory=pick_device().type == "cuda",
    )  # fmt: skip


def progress(loader: DataLoader, device: torch.device, title: str) -> Iterator[Batch]:
    """Yield the batches of a loader on ``device``, under a bar in the first of the processes."""
    quiet = {"disable": True} if processes()[0] else {}
    batches = iter(loader)  # tqdm would ask for a second iterator, with workers of its own
    cuda = device.type == "cuda"  # MPS would read memory that is free again (pytorch issue 189690)
    for batch in tqdm(batches, title, len(loader), leave=False, unit="batch", **quiet):
        yield {name: value.to(device, non_blocking=cuda) for name, value in batch.items()}


@contextlib.contextmanager
def worker_trouble_explained() -> Iterator[None]:
    """Say what to do when a worker is killed or lacks memory: torch raises at any line.

    After Ctrl-C a notebook keeps the traceback: let it keep no batch, no maps and no workers.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        traceback.clear_frames(error.__traceback__)
        raise
    except RuntimeError as error:
        if not re.search("worker .*(killed by|exited unexp)|allocate shared memory", str(error)):
            raise
        raise RuntimeError(
            "a process that loads clips was killed or ran out of memory (in a container, shared "
            "memory: docker run --ipc=host). Load with fewer workers, or workers=0; in a script of "
            f'your own, only below `if __name__ == "__main__":`. ({error})'
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

    RGB by ImageNet's mean and deviation per colour; flow by rest and the mean of the deviations.
    """
    x = stack.to(torch.float32, memory_format=torch.channels_last)
    shift, scale = _affine(stream, stack.shape[1], x.device)
    return torch.addcmul(shift, x, scale, out=x)  # one step after the cast, and in its memory


@cache
def _affine(stream: str, channels: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift and scale of all channels, kept on their device: to copy them waits for a GPU."""
    mean, std = (np.resize(values, (1, channels, 1, 1)) for values in SCALES[stream])
    both = -mean / std, 1 / std
    return tuple(torch.tensor(v, dtype=torch.float32, device=device) for v in both)
