"""Several files read as one: the parts `x.zip.001`, `x.zip.002`, … where they lie.

The archives of UCF101 come cut into parts of 9 GB. Joining them would need the same room a second
time, so the parts are laid end to end in numbers only: a place in the whole leads to a part and a
place in it.
"""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

_PART = re.compile(r"(.+\.zip)\.(\d{3})", re.IGNORECASE)


class PartedFile:
    """One or several files as one run of bytes, read at given places (no shared file position).

    Picklable. A process that gets it by fork or spawn opens the files anew, each when it is first
    read.
    """

    def __init__(self, paths: Sequence[str | os.PathLike]) -> None:
        self.paths = [Path(path) for path in paths]
        self._ends: list[int] = []
        self._files: dict = {}
        self._open_in = -1
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {"paths": self.paths}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["paths"])

    @property
    def length(self) -> int:
        """Bytes of all parts together."""
        return self._part_ends()[-1]

    def place(self, offset: int) -> tuple[Path, int]:
        """The part that holds byte `offset` of the whole, and where in it."""
        if len(self.paths) == 1:
            return self.paths[0], offset
        part = self._part_at(offset)
        return self.paths[part], offset - (self._part_ends()[part - 1] if part else 0)

    def read(self, size: int, offset: int) -> bytes:
        """`size` bytes at `offset`, fewer at the end of the last part."""
        if len(self.paths) == 1:
            return self.read_part(0, size, offset)
        ends = self._part_ends()
        part = self._part_at(offset)
        pieces = []
        while size > 0 and part < len(ends) and offset < ends[-1]:
            here = min(size, ends[part] - offset)
            piece = self.read_part(part, here, offset - (ends[part - 1] if part else 0))
            pieces.append(piece)
            if len(piece) < here:  # the part has shrunk since
                break
            size, offset, part = size - here, offset + here, part + 1
        return b"".join(pieces)

    def close(self) -> None:
        """Close the files; the next read opens them again."""
        if self._open_in == os.getpid():
            for file in self._files.values():
                file.close()
        self._files = {}
        self._ends = []

    def _part_ends(self) -> list[int]:
        if not self._ends:
            self._ends = list(accumulate(path.stat().st_size for path in self.paths))
        return self._ends

    def _part_at(self, offset: int) -> int:
        return min(bisect_right(self._part_ends(), offset), len(self.paths) - 1)

    def read_part(self, part: int, size: int, offset: int) -> bytes:
        """`size` bytes of one part, fewer at its end: the one place that reads from the disk."""
        if self._open_in != os.getpid() or part not in self._files:
            with self._lock:
                if self._open_in != os.getpid():  # the parent's files share their position with it
                    self._files, self._open_in = {}, os.getpid()
                if part not in self._files:
                    self._files[part] = open(self.paths[part], "rb", buffering=0)
        file = self._files[part]
        if hasattr(os, "pread"):
            return os.pread(file.fileno(), size, offset)
        with self._lock:
            file.seek(offset)
            return file.read(size)


def is_part(path: Path) -> bool:
    """Whether the name is that of a part, `x.zip.001`."""
    return _PART.fullmatch(path.name) is not None


def find_archives(root: Path) -> list[list[Path]]:
    """The archives under `root`, each as its files in order: `[x.zip]` or `[x.zip.001, …]`.

    `root` is a folder, a zip, any part of a split one, or a split one's name without number.
    """
    if root.is_file() and not is_part(root):
        return [[root]]
    found: dict[str, list[Path]] = {}
    folder = root if root.is_dir() else root.parent
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _PART.fullmatch(path.name)
        hidden = path.name.startswith(".")  # macOS leaves a ._x.zip beside an x.zip
        if hidden or not path.is_file() or not (match or path.suffix == ".zip"):
            continue
        # A zip and the parts it was joined from are two archives: the index names the doublet.
        key = f"{match[1]}." if match else path.name
        if root.is_dir() or (match and _whole_name(root) == match[1]):
            found.setdefault(key, []).append(path)
    return [found[key] for key in sorted(found)]


def _whole_name(path: Path) -> str:
    match = _PART.fullmatch(path.name)
    return match[1] if match else path.name


def complaint(paths: Sequence[Path], length: int | None) -> str:
    """Which parts are missing or of a wrong size, and the size they should have.

    Tools that split a file make all parts but the last equally long. `length` is what the whole
    should have by the zip's own directory, `None` if its end was not found.
    """
    name = _whole_name(paths[0])
    sizes = {int(path.name[-3:]): path.stat().st_size for path in paths}
    first, last = min(1, *sizes), max(sizes)  # some tools count from 000
    before = [sizes[k] for k in sizes if k != last]
    each = max(before, default=0)
    if length is not None and last > first:
        each = round((length - sizes[last]) / (last - first))
    wrong = []
    for number in range(first, last):
        if number not in sizes:
            wrong.append(f"{name}.{number:03d} is missing; it should have {each:,} bytes")
        elif sizes[number] != each:
            wrong.append(
                f"{name}.{number:03d} has {sizes[number]:,} bytes; it should have {each:,}"
            )
    if wrong:
        return "; ".join(wrong)
    if length is not None:
        return f"{name}.{first:03d} to {name}.{last:03d} are not the parts of one archive"
    if each and sizes[last] < each:
        return (
            f"{name}.{last:03d} has {sizes[last]:,} bytes and the end of the zip is not in it: it "
            f"is cut short (the parts before it have {each:,} bytes, the last one may have fewer)"
        )
    return (
        f"{name}.{last + 1:03d} is missing, for {name}.{last:03d} is not the end; it should have "
        f"{sizes[last]:,} bytes, or fewer if it is the last one"
    )
