"""Worker processes on all cores, and one writer to a folder at a time."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import joblib
from filelock import FileLock, Timeout


def parallel_map(function: Callable, tasks: Sequence, workers: int | None = None) -> Iterator:
    """Yield ``function(task)`` in the order of ``tasks``, by ``workers`` processes or one a core.

    One worker (or one task) is this process itself. At most twice as many results as workers wait
    in memory. Closing the iterator ends the workers. Raises ``RuntimeError`` if one was killed.
    """
    # Neither joblib's Parallel, where what nobody takes piles up and workers outlive a killed
    # parent, nor ProcessPoolExecutor, which waits forever for a result that a kill has cut off.
    workers = min(workers or joblib.cpu_count(), len(tasks), 61)  # the most that Windows waits for
    if workers <= 1:
        yield from map(function, tasks)
        return
    # Spawned, since a process that has used OpenCV's or torch's threads cannot be forked safely.
    context = multiprocessing.get_context("spawn")
    started, idle, busy, done = [], [], {}, {}
    left = deque(enumerate(tasks))

    def end() -> None:
        for process in started:
            process.terminate()
            process.join()

    atexit.register(end)  # before the interpreter waits for all processes
    try:
        for _ in range(workers):
            pipe, its_end = context.Pipe()
            process = context.Process(target=_work, args=(function, its_end))
            with _without_ctrl_c():
                process.start()
                started.append(process)
            its_end.close()  # so that the pipe ends when the worker does
            idle.append(pipe)
        for number in range(len(tasks)):
            try:
                while True:
                    while idle and left and left[0][0] < number + 2 * workers:
                        pipe = idle.pop()
                        busy[pipe], task = left.popleft()
                        pipe.send(task)
                    if number in done:
                        break
                    for pipe in multiprocessing.connection.wait([*busy]):
                        done[busy.pop(pipe)] = pipe.recv()
                        idle.append(pipe)
            except (EOFError, OSError) as error:
                raise RuntimeError(
                    "a worker process ended before its work was done; whole shards are kept: run "
                    "again, with fewer workers if memory is short. (In a script of your own, call "
                    'this below `if __name__ == "__main__":` only.)'
                ) from error
            result, error, where = done.pop(number)
            if error is not None:
                raise error from RuntimeError(f"in a worker process:\n{where}")
            yield result
    finally:
        atexit.unregister(end)
        end()


def _work(function: Callable, pipe: multiprocessing.connection.Connection) -> None:
    """Answer each task that comes by its result or its error, until nobody asks any more.

    One thread a worker; Ctrl-C is the parent's business; no worker outlives its parent.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            try:
                answer = function(task), None, ""
            except Exception as error:
                answer = None, error, traceback.format_exc()
            pipe.send(answer)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started in the block never get Ctrl-C; this one gets it after the block.

    A worker that is still importing would end in a traceback, and so would one that waits for what
    its start was about to send.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # where there are signals to block

    resource_tracker.ensure_running()  # started by the first worker, it would undo the block
    before, came = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}), []
    # Any other thread, such as that of a progress bar, may take the signal for the main one.
    main = threading.current_thread() is threading.main_thread()
    handler = main and signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if came:
        signal.raise_signal(signal.SIGINT)


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
        try:
            if os.access(folder, os.W_OK):
                stack.enter_context(lock.acquire(timeout=0))
        except Timeout:
            if not wait:
                raise OSError(f"{what}: wait for it or stop it, or give another folder") from None
            print(f"{what}: waiting for it", flush=True)
            stack.enter_context(lock.acquire())
        except (NotImplementedError, OSError):
            pass
        yield
