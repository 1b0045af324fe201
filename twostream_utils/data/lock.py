"""One writer to a folder at a time, by a lock that the system drops when its holder dies."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"
_FAR = 1 << 20  # Windows locks bytes against reading too: lock one behind the text


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of `folder`, a file with the holder's process number, while the block runs.

    Where the file system knows no locks (some network drives), or the folder cannot be written at
    all, the block runs without one.

    Args:
        folder: a folder that is there.
        wait: while another process has the lock, say so once and wait for it.

    Raises:
        OSError: another process has it and `wait` is off; the message says which.
    """
    path = folder / NAME
    told = False
    if not os.access(folder, os.W_OK):  # whole shards can be used there all the same
        yield
        return
    while True:
        file = open(path, "a+b")  # noqa: SIM115
        if not _take(file):
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip()
            file.close()
            what = f"another command is writing to {folder} ({holder or 'starting now'})"
            if not wait:
                raise OSError(f"{what}: wait for it or stop it, or give another folder")
            if not told:
                print(f"{what}: waiting for it", flush=True)
            told = True
            time.sleep(0.2)
            continue
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                break
        file.close()  # its holder removed it between our opening and our locking
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove a file that is open
            path.unlink()
        file.close()


def _take(file) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
