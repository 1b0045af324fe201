"""Worker processes that hand back their results in order and never outlive their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

MOST = 61 if os.name == "nt" else 1024  # Windows waits for no more than 63 handles at once


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(function: Callable, tasks: Sequence, workers: int | None = None) -> Iterator:
    """Yield ``function(task)`` in the order of ``tasks``, computed by ``workers`` processes.

    At most twice as many results as workers wait in memory. One worker (or one task) means this
    process itself; ``None`` means one worker a core. Close the iterator to stop the workers.
    Raises ``RuntimeError`` if a worker was killed, and whatever ``function`` raises.
    """
    workers = min(workers or cores(), len(tasks), MOST)
    if workers <= 1:
        yield from map(function, tasks)
        return
    before = set(multiprocessing.active_children())
    # Spawned, since a process that has used OpenCV's or torch's threads cannot be forked safely.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        waiting: deque = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError(
                "a worker process was killed, most likely for lack of memory; whole shards are "
                "kept: run again with fewer workers. (In a script of your own, workers are started "
                'below `if __name__ == "__main__":` only.)'
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread a worker; Ctrl-C is the parent's business; no worker outlives its parent."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
