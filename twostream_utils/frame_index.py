"""Which frames a frame store has and where they lie, as flat arrays, cached beside the archives."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .archives import Archive, ArchiveError, Member
from .flat_file import map_arrays, save_arrays
from .parts import find_archives, is_part
from .splits import other_spelling, parse_name

FORMAT = 2
KINDS = ("frame", "u field", "v field")
FOLDERS = ("jpegs_256", "tvl1_flow/u", "tvl1_flow/v")
IN_FOLDER = 0xFFFF
_MEMBER = re.compile(rb"((?:jpegs_256|tvl1_flow/[uv])/[^/]+)/frame(\d{6})\.jpg")
_FRAME_FILE = re.compile(r"frame(\d{6})\.jpg")
_NOT_IN_ZIP = Member(0, 0, 0, 0)
# While the directories are read, a frame is 27 bytes: clip and kind, number, archive, member.
_ROW = struct.Struct("<2IHQIBI")
_COLUMNS = np.dtype(
    [("key", "<u4"), ("number", "<u4"), ("archive", "<u2"), ("offset", "<u8"), ("size", "<u4")]
    + [("method", "u1"), ("crc", "<u4")]
)


class StoreError(ValueError):
    """Frames that are missing or cannot be read; the message names file, clip and frame."""


@dataclass
class FrameIndex:
    """Per clip (C) and kind (rgb, u, v): first row, count, first missing place (0: none).

    Per frame (N), sorted by clip, kind and number: archive number (`IN_FOLDER`: a plain file) and
    the member's place in it. 19 bytes per frame, so five million frames take 95 MB. Mapped from
    the cache file where there is one; a process that gets the index by pickle maps the same pages.
    """

    archives: list[list[Path]]  # the files of each: one zip, or its parts in order
    clips: list[str]
    labels: list[str]
    groups: list[str]
    start: np.ndarray  # (C, 3) int64
    count: np.ndarray  # (C, 3) int32
    gap: np.ndarray  # (C, 3) int32
    every: np.ndarray  # (C,) int32: fields 1, 1 + every, 1 + 2 every, … were extracted
    archive: np.ndarray  # (N,) uint16
    offset: np.ndarray  # (N,) int64
    size: np.ndarray  # (N,) uint32
    method: np.ndarray  # (N,) uint8
    crc: np.ndarray  # (N,) uint32
    mapped_from: tuple[Path, str] | None = None  # cache file and the fingerprint in it

    def __reduce__(self):
        if self.mapped_from:
            return _map_again, (self.archives, *self.mapped_from)
        return FrameIndex, tuple(vars(self).values())


_ARRAYS = ("start", "count", "gap", "every", "archive", "offset", "size", "method", "crc")
_TEXTS = ("clips", "labels", "groups")


def load_index(root: Path) -> FrameIndex:
    """Index of `root` (folder of zips, one zip or its parts, or folder tree), cached if it holds.

    Raises:
        StoreError: no such root, nothing of the layout in it, a damaged zip, a part that is
            missing or cut short, a frame found twice.
    """
    archives = find_archives(root)
    if not root.exists() and not archives:
        raise StoreError(
            f"no data at {root}: `make run` generates the mini set, data_scripts/extract.py makes "
            "shards from videos"
        )
    is_tree = any((root / folder).is_dir() for folder in FOLDERS)
    if not archives and not is_tree:
        raise StoreError(
            f"{root} holds neither zips nor the folders {' and '.join(FOLDERS[:2])}: give the "
            "folder that data_scripts/extract.py wrote, or the one the archives were unpacked in"
        )
    if is_tree:
        return _build(root, archives)
    files = [path for parts in archives for path in parts]
    prints = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    fingerprint = hashlib.sha256(json.dumps([FORMAT, prints]).encode()).hexdigest()
    caches = _cache_paths(root)
    for path in caches:
        if index := _map(archives, path, fingerprint):
            return index
    index = _build(root, archives)
    for path in caches:
        with contextlib.suppress(OSError):
            header = {name: getattr(index, name) for name in _TEXTS} | {"fingerprint": fingerprint}
            save_arrays(path, header, {name: getattr(index, name) for name in _ARRAYS})
            if mapped := _map(archives, path, fingerprint):  # some network drives cannot map
                return mapped
    return index


def _cache_paths(root: Path) -> list[Path]:
    """Beside the archives, or in the user's cache folder where those cannot be written."""
    if root.is_dir():
        beside = root / ".frame_index"
    else:
        beside = root.with_name(f".{root.name}.frame_index")
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return [beside, Path(base).expanduser() / "twostream_utils" / f"{key}.frame_index"]


def _map(archives: list[list[Path]], path: Path, fingerprint: str) -> FrameIndex | None:
    """The cached index, or `None` if there is none of these archives as they are now."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        header, arrays = map_arrays(path)
        if header.pop("fingerprint") == fingerprint and set(arrays) == set(_ARRAYS):
            return FrameIndex(archives, **header, **arrays, mapped_from=(path, fingerprint))
    return None


def _map_again(archives: list[list[Path]], path: Path, fingerprint: str) -> FrameIndex:
    index = _map(archives, path, fingerprint)
    if index is None:
        raise StoreError(
            f"{path} is gone or was renewed since this store was opened: open the store again"
        )
    return index


def _build(root: Path, archives: list[list[Path]]) -> FrameIndex:
    numbers: dict[str, int] = {}
    keys: dict[bytes, int] = {}  # folder in a zip → clip · 3 + kind
    meta: dict[str, dict] = {}
    rows = bytearray()

    def key_of(kind: int, clip: str) -> int:
        # The two archives of UCF101 may spell one clip in two ways.
        if (twin := other_spelling(clip)) in numbers:
            clip = twin
        return numbers.setdefault(clip, len(numbers)) * 3 + kind

    bar = tqdm(archives, desc=f"reading the directories of {root}", unit="zip", delay=5)
    for which, parts in enumerate(bar):
        archive = Archive(parts)
        try:
            for name, member in archive.directory():
                if match := _MEMBER.fullmatch(name):
                    folder, number = match.groups()
                    key = keys.get(folder)
                    if key is None:
                        kind, _, clip = folder.decode("utf-8", "replace").rpartition("/")
                        key = keys[folder] = key_of(FOLDERS.index(kind), clip)
                    rows += _ROW.pack(key, int(number), which, *member)
                elif name == b"clips.json":
                    meta.update(json.loads(archive.read_member(member)))
        except (ArchiveError, OSError, json.JSONDecodeError, struct.error) as error:
            again = "Fetch that part" if is_part(parts[0]) else "Delete it and extract or fetch it"
            raise StoreError(f"{archive.path} cannot be read: {error}. {again} again.") from error
        finally:
            archive.close()
    if root.is_dir():
        for kind, clip, number in _scan_tree(root):
            rows += _ROW.pack(key_of(kind, clip), number, IN_FOLDER, *_NOT_IN_ZIP)
        if (root / "clips.json").is_file():
            meta.update(json.loads((root / "clips.json").read_text(encoding="utf-8")))
    if not numbers:
        raise StoreError(
            f"{root} holds no frames of the form jpegs_256/<clip>/frame000001.jpg; it found "
            f"{len(archives)} zip(s)"
        )
    return _sort(archives, numbers, meta, np.frombuffer(rows, _COLUMNS))


def _scan_tree(root: Path) -> Iterator[tuple[int, str, int]]:
    for kind, folder in enumerate(FOLDERS):
        if not (root / folder).is_dir():
            continue
        with os.scandir(root / folder) as clips:
            folders = [entry for entry in clips if entry.is_dir()]
        for clip in folders:
            with os.scandir(clip.path) as files:
                for file in files:
                    if match := _FRAME_FILE.fullmatch(file.name):
                        yield kind, clip.name, int(match[1])


def _label(clip: str) -> dict:
    """Label and group by the clip's name; what a `clips.json` says goes before it."""
    try:
        name = parse_name(clip)
    except ValueError:
        return {}
    return {"label": name.label, "group": name.group}


def _sort(
    archives: list[list[Path]], numbers: dict[str, int], meta: dict[str, dict], rows: np.ndarray
) -> FrameIndex:
    clips = sorted(numbers)
    rank = np.empty(len(clips), np.int64)
    rank[[numbers[clip] for clip in clips]] = np.arange(len(clips))
    found = [_label(name) | {k: v for k, v in meta.get(name, {}).items() if v} for name in clips]
    every = np.array([int(entry.get("flow_every", 1)) for entry in found], np.int32)
    # Clip, kind, number (six digits) and archive in one 64-bit number, in this order of weight.
    weight = (rank[rows["key"] // 3] * 3 + rows["key"] % 3) << 36
    weight |= rows["number"].astype(np.int64) << 16
    weight |= rows["archive"]
    # Stable: of a name that one zip holds twice the later one counts, as in any zip reader.
    order = np.argsort(weight, kind="stable")
    weight = weight[order]
    twice = np.diff(weight >> 16) == 0
    strange = np.flatnonzero(twice & (np.diff(weight) != 0))
    if strange.size:
        pair = weight[strange[0] : strange[0] + 2]
        key, number = int(pair[0] >> 36), int(pair[0] >> 16) & 0xFFFFF
        paths = [archives[a][0] if a != IN_FOLDER else "a folder" for a in pair & 0xFFFF]
        raise StoreError(
            f"clip {clips[key // 3]}, {KINDS[key % 3]} {number} is there twice: in "
            f"{paths[0]} and in {paths[1]}. Keep one of them."
        )
    keep = np.append(~twice, True)
    order, weight = order[keep], weight[keep]
    key, number = weight >> 36, (weight >> 16) & 0xFFFFF
    bounds = np.searchsorted(key, np.arange(3 * len(clips) + 1))
    step = np.column_stack([np.ones_like(every), every, every]).ravel()
    due = np.arange(len(key)) - bounds[key] + 1  # places; numbers where no field is left out
    gap = np.zeros(3 * len(clips), np.int32)
    wrong = np.flatnonzero(number != (due - 1) * step[key] + 1)[::-1]
    gap[key[wrong]] = due[wrong]
    return FrameIndex(
        archives=archives,
        clips=clips,
        labels=[str(entry.get("label", "")) for entry in found],
        groups=[
            str(entry.get("group", clip)) if "label" in entry else ""
            for clip, entry in zip(clips, found)
        ],
        start=bounds[:-1].reshape(-1, 3).astype(np.int64),
        count=np.diff(bounds).reshape(-1, 3).astype(np.int32),
        gap=gap.reshape(-1, 3),
        every=every,
        archive=rows["archive"][order],
        offset=rows["offset"][order].astype(np.int64),
        size=rows["size"][order],
        method=rows["method"][order],
        crc=rows["crc"][order],
    )
