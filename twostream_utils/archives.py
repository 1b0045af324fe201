"""Zip archives read in place: the directory as plain numbers, one member as one read.

`zipfile` keeps a Python object per member, gigabytes for the five million frames of UCF101, and
its file position cannot be shared between workers. This reader keeps to what a frame store needs.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
STORED, DEFLATED = 0, 8


class ArchiveError(ValueError):
    """A zip that is cut short, damaged, or uses what this reader does not know."""


class Member(NamedTuple):
    """Where a member lies: offset of its local header, size in the file, method and CRC-32."""

    offset: int
    size: int
    method: int
    crc: int


class Archive:
    """One zip file, opened for reads at given places (no shared file position).

    Picklable; a process that gets it by fork or spawn opens the file anew.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._open_in = -1
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["path"])

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._open_in == os.getpid():
            self._file.close()
        self._open_in = -1

    def read(self, size: int, offset: int) -> bytes:
        """`size` bytes at `offset`, fewer at the end of the file."""
        if self._open_in != os.getpid():
            with self._lock:
                if self._open_in != os.getpid():
                    self._file = open(self.path, "rb", buffering=0)
                    self._open_in = os.getpid()
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), size, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def read_member(self, member: Member) -> bytes:
        """The unpacked bytes of `member`, checked against its CRC-32.

        Raises:
            ArchiveError: cut short, damaged, changed since indexing, or packed in another way.
        """
        # The local header repeats the name and has an extra field of its own length, often not
        # the directory's: read a little more than enough, and the rest in the rare other case.
        margin = 512
        block = self.read(_LOCAL.size + margin + member.size, member.offset)
        if len(block) < _LOCAL.size or block[:4] != b"PK\3\4":
            raise ArchiveError("there is no zip member where the directory says")
        flags, name, extra = (_LOCAL.unpack_from(block)[k] for k in (2, 9, 10))
        start = _LOCAL.size + name + extra
        if start - _LOCAL.size > margin:
            block = self.read(start + member.size, member.offset)
        data = block[start : start + member.size]
        if len(data) < member.size:
            raise ArchiveError("the file ends within this member")
        if flags & 1:
            raise ArchiveError("the member is encrypted")
        if member.method == DEFLATED:
            try:
                data = zlib.decompress(data, -15)
            except zlib.error as error:
                raise ArchiveError(f"its packed bytes are damaged ({error})") from error
        elif member.method != STORED:
            raise ArchiveError(f"zip method {member.method} is neither stored (0) nor deflated (8)")
        if zlib.crc32(data) != member.crc:
            raise ArchiveError("its checksum is wrong: damaged, or the archive was changed")
        return data

    def directory(self) -> Iterator[tuple[bytes, Member]]:
        """Names and places of all members, in the directory's order.

        Raises:
            ArchiveError: no whole directory at the end of the file.
        """
        count, size, offset, shift = self._find_directory()
        data = self.read_all(size, offset + shift)
        at = 0
        for _ in range(count):
            if data[at : at + 4] != b"PK\1\2" or at + _ENTRY.size > len(data):
                raise ArchiveError("its directory is damaged")
            entry = _ENTRY.unpack_from(data, at)
            method, crc, packed, unpacked = entry[6], entry[9], entry[10], entry[11]
            name_len, extra_len, comment_len, header = entry[12], entry[13], entry[14], entry[-1]
            name_end = at + _ENTRY.size + name_len
            if 0xFFFFFFFF in (packed, unpacked, header):
                extra = data[name_end : name_end + extra_len]
                packed, header = _zip64(extra, packed, unpacked, header)
            yield data[at + _ENTRY.size : name_end], Member(header + shift, packed, method, crc)
            at = name_end + extra_len + comment_len

    def read_all(self, size: int, offset: int) -> bytes:
        """As `read`, in as many reads as it takes: one system call gives at most 2 GB."""
        parts = []
        while size > 0:
            part = self.read(min(size, 1 << 28), offset)
            if not part:
                raise ArchiveError("its directory is cut short")
            parts.append(part)
            size, offset = size - len(part), offset + len(part)
        return b"".join(parts)

    def _find_directory(self) -> tuple[int, int, int, int]:
        """Number of entries, directory size and offset, and how far all offsets are shifted."""
        length = self.path.stat().st_size
        tail_start = max(0, length - 0xFFFF - _END.size)
        tail = self.read(length - tail_start, tail_start)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END.size:
            raise ArchiveError(
                "no end-of-central-directory record: the file is cut short, no zip, "
                "or one part of a split archive"
            )
        count, size, offset = (_END.unpack_from(tail, at)[k] for k in (4, 5, 6))
        directory_end = tail_start + at
        if 0xFFFF == count or 0xFFFFFFFF in (size, offset):
            locator = self.read(_END64_LOCATOR.size, directory_end - _END64_LOCATOR.size)
            if locator[:4] == b"PK\6\7":
                place = _END64_LOCATOR.unpack(locator)[2]
                record = self.read(_END64.size, place)
                if record[:4] != b"PK\6\6":
                    raise ArchiveError("its zip64 end record is not where it should be")
                count, size, offset = (_END64.unpack(record)[k] for k in (7, 8, 9))
                directory_end = place
        shift = directory_end - size - offset
        if shift < 0:
            raise ArchiveError("its directory points past the end: the file is cut short")
        return count, size, offset, shift


def _zip64(extra: bytes, packed: int, unpacked: int, header: int) -> tuple[int, int]:
    """Packed size and header offset where they do not fit in four bytes."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{length // 8}Q", extra, 4))
            try:
                if unpacked == 0xFFFFFFFF:
                    next(values)
                packed = next(values) if packed == 0xFFFFFFFF else packed
                header = next(values) if header == 0xFFFFFFFF else header
            except StopIteration:
                break
            return packed, header
        extra = extra[4 + length :]
    raise ArchiveError("a zip64 entry lacks its sizes")
