"""Batches: in which order clips come, on their way to the device, and through a network."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler
from tqdm.auto import tqdm

from .device import keep_freed_memory, pick_device, processes
from .stacks import StackDataset, normalise

Batch = dict[str, torch.Tensor]
KILLED = "DataLoader worker .*killed by signal|allocate shared memory"  # torch's words


class EpochSampler(Sampler):
    """Orders the training clips by ``(seed, dataset.epoch)`` alone, so resuming needs no past."""

    def __init__(self, dataset: StackDataset, seed: int):
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.dataset.epoch)
        return iter(torch.randperm(len(self.dataset), generator=generator).tolist())


def make_loader(dataset: StackDataset, batch_size: int, workers: int, seed: int) -> DataLoader:
    """Return the loader of a dataset: shuffled anew each epoch for training, else in order.

    Whole frames of several sizes come one clip at a time.
    """
    if not workers:  # batches lie where those of the epoch before lay
        keep_freed_memory()
    return DataLoader(
        range(len(dataset)),
        batch_size if dataset.one_size() else 1,
        sampler=EpochSampler(dataset, seed) if dataset.train else None,
        num_workers=workers,
        collate_fn=dataset.batch,  # of indices: a batch is assembled whole, not joined from items
        drop_last=dataset.train and len(dataset) > batch_size,
        pin_memory=pick_device().type == "cuda",
    )


@contextlib.contextmanager
def worker_trouble_explained() -> Iterator[None]:
    """Say what to do where a worker of a loader was killed or ran out of memory within the block.

    Around all that uses a loader: torch raises wherever this process happens to be. Raises
    ``RuntimeError``, as torch does.
    """
    try:
        yield
    except RuntimeError as error:
        if not re.search(KILLED, str(error)):
            raise
        raise RuntimeError(
            "a process that loads clips was killed or ran out of memory; in a container mostly of "
            "shared memory (docker run --shm-size=2g). Load with fewer workers; with workers=0 "
            f"this process loads by itself. ({error})"
        ) from error


def ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on ``device`` while the next one is read, and copied on a stream of its own.

    A thread does both, so that neither a loader without workers nor the copy keeps the network
    waiting. At most two batches are there at a time. Only CUDA copies on a stream: MPS may read
    memory that is free again, and is not made for two threads (pytorch issues 189690 and 197805).
    """
    cuda = device.type == "cuda"
    copying = torch.cuda.Stream(device) if cuda else None
    source = iter(batches)

    def fetch() -> tuple[Batch, torch.cuda.Event | None] | None:
        if (batch := next(source, None)) is None:
            return None
        if not cuda:
            return batch, None
        with torch.cuda.stream(copying):
            batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
            return batch, copying.record_event()

    def begin() -> None:
        if cuda:  # a thread begins on the first of several GPUs
            torch.cuda.set_device(copying.device)

    with ThreadPoolExecutor(1, "batches", begin) as thread:
        coming = thread.submit(fetch)
        while (found := coming.result()) is not None:
            coming = thread.submit(fetch)
            batch, copied = found
            if cuda:
                now = torch.cuda.current_stream(device)
                now.wait_event(copied)
                for value in batch.values():  # its memory is not free before this stream is done
                    value.record_stream(now)
            else:
                batch = {name: value.to(device) for name, value in batch.items()}
            yield batch


def progress(loader: DataLoader, device: torch.device, what: str) -> Iterator[Batch]:
    """Go through a loader :func:`ahead` under a bar, shown by the first of several processes."""
    quiet = {"disable": True} if processes()[0] else {}
    batches = ahead(loader, device)
    return tqdm(batches, desc=what, total=len(loader), leave=False, unit="batch", **quiet)


def parts(batch: Batch, size: int) -> list[Batch]:
    """Cut a batch into batches of ``size`` clips, the last one smaller if need be."""
    cut = {name: value.split(size) for name, value in batch.items()}
    return [dict(zip(cut, values)) for values in zip(*cut.values())]


def network_input(batch: Batch, streams: tuple[str, ...]) -> list[torch.Tensor]:
    """Normalise the stacks of a batch on its device, each ``(B·V, channels, H, W)`` float32."""
    return [normalise(batch[stream].flatten(0, 1), stream) for stream in streams]


def run_batch(model: nn.Module, batch: Batch, streams: tuple[str, ...]) -> torch.Tensor:
    """Normalise one batch on its device and return logits ``(B·V, classes)``."""
    return model(*network_input(batch, streams))
