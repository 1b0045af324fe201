"""Worker processes on all cores, and one writer to a folder at a time."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import joblib
from filelock import FileLock, Timeout


def parallel_map(function: Callable, tasks: Sequence, workers: int | None = None) -> Iterator:
    """Yield ``function(task)`` in the order of ``tasks``, by ``workers`` processes or one a core.

    One worker (or one task) is this process itself. Results wait in memory until they are taken.
    Closing the iterator ends the workers. Raises ``RuntimeError`` if one was killed.
    """
    workers = min(workers or joblib.cpu_count(), len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    # Idle workers leave after 10 s, also when this process was killed and nobody ends them.
    options = {"idle_worker_timeout": 10, "initializer": _start_worker}
    parallel = joblib.Parallel(workers, return_as="generator", batch_size=1, **options)
    try:
        yield from parallel(joblib.delayed(function)(task) for task in tasks)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker process was killed, most likely for lack of memory; whole shards are kept: "
            "run again with fewer workers"
        ) from error


def _start_worker() -> None:
    """One thread a worker; Ctrl-C is the parent's business."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of ``folder``, which the system drops when its holder dies, for a block.

    Where the folder cannot be written, or its file system knows no locks (some network drives), the
    block runs without one. Raises ``OSError`` if another process has it; with ``wait``, says so and
    waits.
    """
    lock = FileLock(folder / ".lock")
    what = f"another command is writing to {folder}"
    with contextlib.ExitStack() as stack:
        if os.access(folder, os.W_OK):
            with contextlib.suppress(NotImplementedError):
                try:
                    stack.enter_context(lock.acquire(timeout=0))
                except Timeout:
                    if not wait:
                        raise OSError(
                            f"{what}: wait for it or stop it, or give another folder"
                        ) from None
                    print(f"{what}: waiting for it", flush=True)
                    stack.enter_context(lock.acquire())
        yield
