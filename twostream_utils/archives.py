"""Zip archives read in place: the directory as plain numbers, one member as one read.

`zipfile` keeps a Python object per member, gigabytes for the five million frames of UCF101, and
its file position cannot be shared between workers. This reader keeps to what a frame store needs.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .parts import PartedFile, complaint, is_part

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
# Signature, method, CRC, packed and unpacked size, three lengths, place; the rest is passed over.
_ENTRY = struct.Struct("<4s6xH4x3L3H8xL")
_LONGEST_ENTRY = _ENTRY.size + 3 * 0xFFFF
_BLOCK = 1 << 24
_LOCAL = struct.Struct("<4s2xH18x2H")  # signature, flags, two lengths
STORED, DEFLATED = 0, 8
# The local header repeats the name and has an extra field of its own length, often not the
# directory's: a read takes a little more than enough, and the rest in the rare other case.
_MARGIN = 512
_GAP = 1 << 14  # passing over so many bytes costs less than another read
_LONGEST_RUN = 1 << 24


class ArchiveError(ValueError):
    """A zip that is cut short, damaged, or uses what this reader does not know."""


class Member(NamedTuple):
    """Where a member lies: offset of its local header, size in the file, method and CRC-32."""

    offset: int
    size: int
    method: int
    crc: int


class Archive:
    """One zip, in one file or cut into parts, read at given places.

    Picklable; a process that gets it by fork or spawn opens the files anew.

    Args:
        paths: the zip, or its parts in order (`x.zip.001`, `x.zip.002`, …).
    """

    def __init__(self, paths: str | os.PathLike | Sequence[Path]) -> None:
        if isinstance(paths, (str, os.PathLike)):
            paths = [Path(paths)]
        self._file = PartedFile(paths)
        self.read = self._file.read
        self.close = self._file.close

    def __reduce__(self):
        return Archive, (self._file.paths,)

    @property
    def path(self) -> Path:
        """The zip itself, or its first part."""
        return self._file.paths[0]

    def part_at(self, offset: int) -> Path:
        """The file that holds byte `offset` of the archive."""
        return self._file.place(offset)[0]

    def read_member(self, member: Member) -> bytes:
        """The unpacked bytes of one member; see `read_members`."""
        return bytes(next(self.read_members([member])))

    def read_members(self, members: Sequence[Member]) -> Iterator[memoryview | bytes]:
        """The unpacked bytes of each of `members`, checked against its CRC-32.

        Members that lie side by side, as the fields of a clip do, are read in one go, and what is
        stored is not copied.

        Raises:
            ArchiveError: cut short, damaged, changed since indexing, or packed in another way.
        """
        for run in _runs(members):
            start, last = run[0].offset, run[-1]
            end = last.offset + _LOCAL.size + _MARGIN + last.size
            block = memoryview(self.read(end - start, start))
            for member in run:
                yield self._unpack(block[member.offset - start :], member)

    def _unpack(self, block: memoryview, member: Member) -> memoryview | bytes:
        """The bytes of `member`, whose local header begins `block`."""
        if len(block) < _LOCAL.size or block[:4] != b"PK\3\4":
            raise ArchiveError("there is no zip member where the directory says")
        _, flags, name, extra = _LOCAL.unpack_from(block)
        start = _LOCAL.size + name + extra
        if start - _LOCAL.size > _MARGIN and len(block) < start + member.size:
            block = memoryview(self.read(start + member.size, member.offset))
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
        count, left, place, shift = self._find_directory()
        place += shift
        block, at = b"", 0
        for _ in range(count):
            if left and len(block) - at < _LONGEST_ENTRY:
                more = min(left, _BLOCK)
                block, at = block[at:] + self.read_all(more, place), 0
                left, place = left - more, place + more
            name, member, at = _entry(block, at, shift)
            yield name, member

    def last_member(self) -> tuple[bytes, Member]:
        """Name and place of the directory's last member; the rest of the directory is not read.

        Raises:
            ArchiveError: as from `directory`.
        """
        _, left, place, shift = self._find_directory()
        size = min(left, _LONGEST_ENTRY)
        block = self.read_all(size, place + shift + left - size)
        at = len(block)
        while (at := block.rfind(b"PK\1\2", 0, at)) >= 0:
            with contextlib.suppress(ArchiveError):  # a checksum may look like the mark
                name, member, end = _entry(block, at, shift)
                if end == len(block):
                    return name, member
        raise ArchiveError("its directory is damaged")

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
        length = self._file.length
        tail_start = max(0, length - 0xFFFF - _END.size - _END64_LOCATOR.size - _END64.size)
        tail = self.read_all(length - tail_start, tail_start)
        at = tail.rfind(b"PK\5\6")
        parts = self._file.paths if is_part(self.path) else []
        if at < 0 or len(tail) - at < _END.size:
            raise ArchiveError(
                complaint(parts, None)
                if parts
                else "no end-of-central-directory record: the file is cut short or no zip"
            )
        disk, count, size, offset = (_END.unpack_from(tail, at)[k] for k in (1, 4, 5, 6))
        if disk not in (0, 0xFFFF):
            raise ArchiveError(
                "it is the last piece of a zip in several disks (.z01, .z02, …); join them with "
                f"`zip -s 0 {self.path.name} --out whole.zip`"
            )
        end = at
        locator = at - _END64_LOCATOR.size
        if locator >= 0 and tail[locator : locator + 4] == b"PK\6\7":
            # The locator's own number is off where something stands before the zip.
            end = tail.rfind(b"PK\6\6", 0, locator)
            if end < 0:
                raise ArchiveError("its zip64 end record is not where it should be")
            count, size, offset = (_END64.unpack_from(tail, end)[k] for k in (7, 8, 9))
        shift = tail_start + end - size - offset
        if parts and shift:
            raise ArchiveError(complaint(parts, length - shift))
        if shift < 0:
            raise ArchiveError("its directory points past the end: the file is cut short")
        return count, size, offset, shift


def _entry(block: bytes, at: int, shift: int) -> tuple[bytes, Member, int]:
    """Name and place of the member whose directory entry is at `at`, and where the entry ends."""
    if block[at : at + 4] != b"PK\1\2" or at + _ENTRY.size > len(block):
        raise ArchiveError("its directory is damaged")
    _, method, crc, packed, unpacked, name_len, extra_len, comment_len, header = _ENTRY.unpack_from(
        block, at
    )
    name_end = at + _ENTRY.size + name_len
    extra_end = name_end + extra_len
    name = block[at + _ENTRY.size : name_end]
    if 0xFFFFFFFF in (packed, unpacked, header):
        packed, header = _zip64(block[name_end:extra_end], packed, unpacked, header)
    return name, Member(header + shift, packed, method, crc), extra_end + comment_len


def _runs(members: Sequence[Member]) -> Iterator[list[Member]]:
    """Cut `members` into runs that follow each other in the file with small gaps."""
    run: list[Member] = []
    for member in members:
        if run:
            gap = member.offset - run[-1].offset - run[-1].size
            if not 0 < gap < _GAP or member.offset - run[0].offset > _LONGEST_RUN:
                yield run
                run = []
        run.append(member)
    if run:
        yield run


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
