"""After the first minute of a long extraction: how long it will take and how much it will fill."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

AFTER = 60.0


class Estimate:
    """What is left of an extraction, in proportion to the bytes of the videos read so far.

    Args:
        out: folder that is filled; its disk's free space is compared with what is still due.
        total: bytes of all videos that are to be read.
    """

    def __init__(self, out: Path, total: int) -> None:
        self.out, self.total = out, total
        self.read = self.written = 0
        self.began = time.monotonic()
        self.told = False

    def add(self, read: int, written: int) -> str | None:
        """Count a video of `read` bytes that became `written` bytes; a sentence, once, or None."""
        self.read += read
        self.written += written
        seconds = time.monotonic() - self.began
        if self.told or seconds < AFTER or self.read >= self.total:
            return None
        self.told = True
        left = self.total / max(self.read, 1) - 1
        due, free = left * self.written / 1e9, shutil.disk_usage(self.out).free / 1e9
        text = (
            f"After the first {seconds:.0f} s: about {duration(left * seconds)} to go, "
            f"{due + self.written / 1e9:.1f} GB in all, {due:.1f} GB of it still to come; "
            f"{free:.1f} GB are free."
        )
        if due > free:
            text += " That is not enough: free some space now, or extract fewer classes."
        return text


def duration(seconds: float) -> str:
    """Seconds in the unit one would say it in: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
