"""Some members out of a large zip on a web server, without the rest of it.

The directory at the end of the zip tells where each member lies. Wanted members that are
neighbours are fetched as one span of bytes, unpacked, checked, and the span is deleted.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..archives import Archive, ArchiveError, Member
from .clip_folder import ClipFolder
from .download import PART, Line, clear_parts, fetch_parts, part_file
from .web import CutError, FetchError, Remote, read_range

GAP = 1 << 16  # fewer bytes than this between two members cost less than another request
_TAIL = 1 << 16


class _RemoteFile(io.RawIOBase):
    """A remote file that can be read anywhere, one request a read; its end is kept."""

    def __init__(self, remote: Remote) -> None:
        self._remote, self._at = remote, 0
        self._tail_start = max(0, remote.size - _TAIL)
        self._tail = self._fetch(self._tail_start, remote.size)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._remote.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        stop = min(self._at + len(buffer), self._remote.size)
        if stop <= self._at:
            return 0
        if self._at >= self._tail_start:
            data = self._tail[self._at - self._tail_start : stop - self._tail_start]
        else:
            data = self._fetch(self._at, stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _fetch(self, start: int, stop: int) -> bytes:
        data = b""
        for _ in range(5):
            try:
                for chunk in read_range(self._remote, start + len(data), stop):
                    data += chunk
                return data
            except CutError as error:
                last = error
        raise last


@dataclass(frozen=True)
class Plan:
    """What is to be fetched: members by span, in the archive's order.

    Attributes:
        remote: the zip.
        spans: (start, stop, members with their targets), wanted members of neighbouring places.
        present: clips that are there already.
        unpacked: bytes that the clips will take on the disk.
        total: clips of wanted classes in the archive.
    """

    remote: Remote
    spans: Sequence[tuple[int, int, list[tuple[zipfile.ZipInfo, Path]]]]
    present: int
    unpacked: int
    total: int

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(stop - start for start, stop, _ in self.spans)

    def disk(self, connections: int) -> int:
        """Most bytes that the disk will need, the spans on their way among them."""
        largest = max((stop - start for start, stop, _ in self.spans), default=0)
        return self.unpacked + min(self.size, (connections + 1) * largest)


def read_directory(remote: Remote) -> list[zipfile.ZipInfo]:
    """Members of a remote zip in the order of their places, at the cost of its directory.

    Raises:
        FetchError: no zip, or one whose end is missing or damaged.
    """
    try:
        with zipfile.ZipFile(_RemoteFile(remote)) as file:
            return sorted(file.infolist(), key=lambda info: info.header_offset)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise FetchError(
            f"{remote.url} is no whole zip ({error}): the file on the server is cut short or "
            "damaged. Try another source"
        ) from error


def make_plan(
    remote: Remote, directory: Sequence[zipfile.ZipInfo], folder: ClipFolder, part: int = PART
) -> Plan:
    """Which spans of the zip hold the wanted clips that `folder` does not have yet."""
    spans: list[tuple[int, int, list]] = []
    seen: set[Path] = set()
    present = unpacked = 0
    ends = [info.header_offset for info in directory[1:]] + [remote.size]
    for info, end in zip(directory, ends):
        target = None if info.is_dir() else folder.target(info.filename)
        if target is None or target in seen:
            continue
        seen.add(target)
        if folder.has(target, info.file_size):
            present += 1
            continue
        unpacked += info.file_size
        start = info.header_offset
        # The last member is followed by the directory, which is not wanted a second time. Its own
        # header holds its name and an extra field of at most 64 KB.
        end = min(end, start + info.compress_size + 4 * len(info.filename) + (1 << 16))
        if spans and start - spans[-1][1] <= GAP and end - spans[-1][0] <= part:
            spans[-1] = (spans[-1][0], end, [*spans[-1][2], (info, target)])
        else:
            spans.append((start, end, [(info, target)]))
    return Plan(remote, spans, present, unpacked, len(seen))


def fetch_members(plan: Plan, folder: ClipFolder, line: Line, progress: bool = True) -> list[str]:
    """Fetch and unpack what `plan` lists; returns what arrived damaged, "name: reason".

    Each clip is checked against its CRC-32 and size before it gets its name. Spans on their way
    lie in `<root>/.parts` and are continued by the next call.

    Raises:
        FetchError: in plain words; clips that are whole are kept.
    """
    stem = folder.root / ".parts" / "span"
    stem.parent.mkdir(parents=True, exist_ok=True)
    places = [(start, stop) for start, stop, _ in plan.spans]
    damaged = []
    begun = clear_parts(stem, [part_file(stem, plan.remote, *place) for place in places])
    bar = tqdm(total=plan.size, unit="B", unit_scale=True, desc="clips", disable=not progress)
    try:
        with (
            bar as line.bar,
            contextlib.closing(fetch_parts(plan.remote, places, stem, line)) as files,
        ):
            line.came(begun)
            for (start, _, members), file in zip(plan.spans, files):
                archive = Archive(file)
                for info, target in members:
                    try:
                        data = _unpack(archive, info, start)
                    except ArchiveError as error:
                        damaged.append(f"{info.filename}: {error}")
                    else:
                        folder.write(target, [data], plan.remote.url)
                archive.close()
                file.unlink()
    finally:
        folder.save()
    with contextlib.suppress(OSError):
        stem.parent.rmdir()
    return damaged


def _unpack(archive: Archive, info: zipfile.ZipInfo, start: int) -> bytes:
    """The bytes of a member out of a span of the zip that begins at `start`."""
    place = info.header_offset - start
    data = archive.read_member(Member(place, info.compress_size, info.compress_type, info.CRC))
    if len(data) != info.file_size:
        raise ArchiveError(f"{len(data)} bytes instead of {info.file_size}")
    return data
