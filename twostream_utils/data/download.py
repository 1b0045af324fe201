"""Bytes from a web server onto the disk: in parts, over several connections, never lost twice.

The length of an unfinished file is all there is to remember: whatever lies in it is right, and the
next call asks for what comes after. So a kill at any moment costs nothing that was written.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from ..files import NO_ROOM
from .web import CHUNK, CutError, FetchError, NoRangesError, Remote, read_range, read_whole

PART = 32 << 20
CONNECTIONS = 4


class NoRoomError(FetchError):
    """The disk is full, or would be."""


def gigabytes(size: float) -> str:
    """`size` bytes as "1.37 GB", below one as "171.0 MB" (powers of ten)."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def check_room(folder: Path, needed: int) -> int:
    """Free bytes on the disk of `folder` (which need not exist yet).

    Raises:
        NoRoomError: less than `needed`.
    """
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise NoRoomError(
            f"{gigabytes(needed)} are needed in {folder} and {gigabytes(free)} are free: free "
            f"{gigabytes(needed - free)} or choose a folder on another disk"
        )
    return free


@contextlib.contextmanager
def room_or_message(path: Path) -> Iterator[None]:
    """Turn the system's "no space left" while writing `path` into a `NoRoomError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise NoRoomError(
            f"no room left on the disk while writing {path}. What has arrived is kept: free some "
            "space and give the same command again"
        ) from error


def write_json(path: Path, value: dict) -> None:
    """Write `value` to `path`, aside and then renamed."""
    aside = path.with_name(path.name + ".partial")  # the next run writes over what a kill left
    with room_or_message(path):
        aside.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(aside, path)


def read_json(path: Path) -> dict:
    """The content of `path`; empty where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@dataclass
class Line:
    """How files are fetched: connections at once, patience, the bar that counts the bytes.

    A cut connection is opened again, at once or after waits that grow, until nothing at all has
    come over any connection for `patience` seconds.
    """

    connections: int = CONNECTIONS
    patience: float = 60.0
    bar: tqdm | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: float = 0.0

    def start(self) -> None:
        """Begin to count the patience from now."""
        self._last = time.monotonic()

    def came(self, count: int) -> None:
        """Note that `count` bytes have come."""
        with self._lock:
            self._last = time.monotonic()
            if self.bar is not None:
                self.bar.update(count)

    def worn_out(self) -> bool:
        """Whether nothing has come for too long."""
        return time.monotonic() - self._last > self.patience


def arrived(remote: Remote, path: Path) -> int:
    """Bytes of a download to `path` that are on the disk already."""
    if _is_whole(remote, path):
        return path.stat().st_size
    growing = _growing(remote, path)
    files = [growing] if growing.is_file() else []
    parts = path.parent.glob(f"{glob.escape(path.name)}.{remote.tag}-*-*.partial")
    return sum(file.stat().st_size for file in [*files, *parts])


def _is_whole(remote: Remote, path: Path) -> bool:
    """Whether `path` is this version of the file, by the record beside it."""
    return path.is_file() and read_json(_record(path)).get("tag") == remote.tag


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _growing(remote: Remote, path: Path) -> Path:
    return path.with_name(f"{path.name}.{remote.tag}.partial")


def part_file(stem: Path, remote: Remote, start: int, stop: int) -> Path:
    """Where bytes `start` to `stop` of `remote` are gathered."""
    return stem.with_name(f"{stem.name}.{remote.tag}-{start}-{stop}.partial")


def clear_parts(stem: Path, keep: Iterable[Path]) -> int:
    """Remove unfinished parts of `stem` other than `keep`; bytes that lie in those kept."""
    keep = set(keep)
    size = 0
    for path in stem.parent.glob(f"{glob.escape(stem.name)}.*-*-*.partial"):
        if path in keep:
            size += path.stat().st_size
        else:
            path.unlink()
    return size


def fetch_parts(
    remote: Remote, spans: Iterable[tuple[int, int]], stem: Path, line: Line
) -> Iterator[Path]:
    """Fetch byte spans (start, stop), several at a time; yield their files in the order given.

    The caller uses a file and deletes it; one that is left is found whole by the next call.

    Raises:
        FetchError: in plain words; what has come is kept.
    """
    stopped = threading.Event()
    pool = ThreadPoolExecutor(line.connections)
    waiting: deque = deque()
    try:
        for start, stop in spans:
            path = part_file(stem, remote, start, stop)
            waiting.append(pool.submit(_fetch, remote, start, stop, path, line, stopped))
            if len(waiting) > line.connections:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _fetch(
    remote: Remote, start: int, stop: int, path: Path, line: Line, stopped: threading.Event
) -> Path:
    line.start()
    wait = 0.0
    with room_or_message(path), open(path, "ab", buffering=0) as file:
        if file.tell() > stop - start:  # two runs at once have written here
            file.truncate(0)
        while (have := file.seek(0, os.SEEK_END)) < stop - start and not stopped.is_set():
            try:
                for chunk in read_range(remote, start + have, stop):
                    _write(file, chunk)
                    line.came(len(chunk))
                    wait = 0.0
                    if stopped.is_set():
                        break
            except CutError as error:
                if line.worn_out():
                    done = f"{file.tell():,} of {stop - start:,} bytes of this part have come"
                    raise FetchError(
                        f"{error}. Given up after {line.patience:.0f} seconds without a byte; "
                        f"{done} and are kept: the same command goes on from there"
                    ) from error
                stopped.wait(wait)
                wait = min(2 * wait + 0.25, 8.0)
    return path


def _write(file, chunk: bytes) -> None:
    """Write all of `chunk`: an unbuffered file may take a part of it, just before it is full."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def download(
    remote: Remote, path: Path, line: Line | None = None, part: int = PART, progress: bool = True
) -> Path:
    """Fetch a whole file to `path`; `<path>.json` beside it records address, size and sha256.

    Until it is whole it is called `<path>.<tag>.partial`. After a cut, a kill or a full disk the
    next call goes on; only a server without byte ranges has to start anew. A file that is there
    already, with a record of this same version, is left alone. One process at a time may write to
    the folder: `lock.locked`.

    Raises:
        FetchError: in plain words; no file of the final name appears.
    """
    line = line or Line()
    if _is_whole(remote, path):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = _growing(remote, path)
    for stale in path.parent.glob(f"{glob.escape(path.name)}.????????.partial"):
        if stale != growing:
            stale.unlink()
    check_room(path.parent, (remote.size or 0) - arrived(remote, path))
    total = tqdm(total=remote.size, unit="B", unit_scale=True, desc=path.name, disable=not progress)
    with total as line.bar:
        if remote.ranges:
            _grow(remote, growing, path, line, part)
        else:
            _pour(remote, growing, line)
    size = growing.stat().st_size
    if remote.size not in (None, size):
        growing.unlink()
        raise FetchError(
            f"{path.name} has {size:,} bytes and should have {remote.size:,}: deleted. Did two "
            "commands write here at once? The same command gets it again"
        )
    facts = {"url": remote.url, "tag": remote.tag, "bytes": size}
    path.unlink(missing_ok=True)  # else a kill before the last line passes an old file as this one
    write_json(_record(path), {**facts, "sha256": sha256(growing, progress)})
    os.replace(growing, path)
    return path


def _grow(remote: Remote, growing: Path, stem: Path, line: Line, part: int) -> None:
    """Append parts in order. Killed while appending, it cuts back to whole parts and goes on."""
    with room_or_message(growing), open(growing, "ab") as whole:
        have = whole.tell()
        if have > remote.size:  # two commands at once have written here
            whole.truncate(0)
        elif have < remote.size:
            whole.truncate(have // part * part)
        have = whole.seek(0, os.SEEK_END)
        ends = [min(start + part, remote.size) for start in range(have, remote.size, part)]
        spans = list(zip([have, *ends], ends))
        begun = clear_parts(stem, [part_file(stem, remote, *span) for span in spans])
        line.came(have + begun)
        with contextlib.closing(fetch_parts(remote, spans, stem, line)) as files:
            for file in files:
                with open(file, "rb") as source:
                    shutil.copyfileobj(source, whole, CHUNK)
                whole.flush()
                file.unlink()


def _pour(remote: Remote, growing: Path, line: Line, tries: int = 3) -> None:
    """One stream from the first byte to the last, since the server knows no other way."""
    for left in reversed(range(tries)):
        try:
            with room_or_message(growing), open(growing, "wb") as whole:
                for chunk in read_whole(remote):
                    whole.write(chunk)
                    line.came(len(chunk))
            return
        except CutError as error:
            growing.unlink()
            if not left:
                raise NoRangesError(
                    f"{error}. This server cannot continue a file, and {tries} tries from the "
                    "start were cut: try another source"
                ) from error
            if line.bar is not None:
                line.bar.reset()


def sha256(path: Path, progress: bool = False) -> str:
    """Digest of a file, with a bar where it takes long."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with (
        open(path, "rb") as file,
        tqdm(
            total=size, unit="B", unit_scale=True, desc="sha256", delay=5, disable=not progress
        ) as bar,
    ):
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()
