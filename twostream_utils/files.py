"""Files that are whole or not there: written under another name, then renamed."""

import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a name beside `path` that is renamed to it when the block ends; make the folder.

    What a kill left goes with a write an hour later: its writer may live on another machine.
    Raises PermissionError if something else keeps the old file open (Windows).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{glob.escape(path.name)}.[0-9]*.partial"):
        with suppress(OSError):
            left.stat().st_mtime > time.time() - 3600 or left.unlink()
    part = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield part
        for pause in 0.1, 0.4, 1.0:  # a virus scanner holds a file for a moment
            with suppress(PermissionError):
                return os.replace(part, path)
            time.sleep(pause)
        raise PermissionError(13, f"{path} is open elsewhere: close it there, then do it again")
    finally:
        part.unlink(missing_ok=True)
