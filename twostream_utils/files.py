"""Files that are whole or not there: written under another name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import time
from collections.abc import Iterator
from pathlib import Path

_DEAD = 3600.0  # seconds: no write lasts so long without touching its file

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk says, or a quota


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; it becomes ``path`` when the block ends.

    The folder is made. A kill at any moment leaves the old file or the new one. If the block
    raises, ``path`` stays as it was and what was written is removed. What a kill left is removed by
    a later write of ``path``: an hour old, since its writer may live on another machine.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for orphan in path.parent.glob(f"{glob.escape(path.name)}.[0-9]*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - orphan.stat().st_mtime > _DEAD:
                orphan.unlink()
    part = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
