"""Which frames a frame store has and where they lie, as flat arrays, cached beside the archives."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .archives import Archive, ArchiveError, Member

FORMAT = 1
KINDS = ("frame", "u field", "v field")
FOLDERS = ("jpegs_256", "tvl1_flow/u", "tvl1_flow/v")
IN_FOLDER = 0xFFFF
_MEMBER = re.compile(rb"(jpegs_256|tvl1_flow/[uv])/([^/]+)/frame(\d{6})\.jpg")
_FRAME_FILE = re.compile(r"frame(\d{6})\.jpg")
_KIND = {folder.encode(): kind for kind, folder in enumerate(FOLDERS)}
_NOT_IN_ZIP = Member(0, 0, 0, 0)


class StoreError(ValueError):
    """Frames that are missing or cannot be read; the message names file, clip and frame."""


@dataclass
class FrameIndex:
    """Per clip (C) and kind (rgb, u, v): first row, count, first missing number (0: none).

    Per frame (N), sorted by clip, kind and number: archive number (`IN_FOLDER`: a plain file) and
    the member's place in it. 19 bytes per frame, so five million frames take 95 MB.
    """

    archives: list[Path]
    clips: list[str]
    labels: list[str]
    groups: list[str]
    start: np.ndarray  # (C, 3) int64
    count: np.ndarray  # (C, 3) int32
    gap: np.ndarray  # (C, 3) int32
    archive: np.ndarray  # (N,) uint16
    offset: np.ndarray  # (N,) int64
    size: np.ndarray  # (N,) uint32
    method: np.ndarray  # (N,) uint8
    crc: np.ndarray  # (N,) uint32


_ARRAYS = ("start", "count", "gap", "archive", "offset", "size", "method", "crc")
_TEXTS = ("clips", "labels", "groups")


def load_index(root: Path) -> FrameIndex:
    """Index of `root` (folder of zips, one zip, or folder tree), from its cache if that holds.

    Raises:
        StoreError: no such root, nothing of the layout in it, a damaged zip, a frame found twice.
    """
    if not root.exists():
        raise StoreError(
            f"no data at {root}: `make run` generates the mini set, data_scripts/extract.py makes "
            "shards from videos"
        )
    archives = sorted(root.glob("*.zip")) if root.is_dir() else [root]
    is_tree = any((root / folder).is_dir() for folder in FOLDERS)
    if not archives and not is_tree:
        raise StoreError(
            f"{root} holds neither zips nor the folders {' and '.join(FOLDERS[:2])}: give the "
            "folder that data_scripts/extract.py wrote, or the one the archives were unpacked in"
        )
    if is_tree:
        return _build(root, archives)
    prints = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in archives]
    fingerprint = json.dumps([FORMAT, prints])
    caches = _cache_paths(root)
    for path in caches:
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError):
            with np.load(path) as saved:
                if str(saved["fingerprint"]) == fingerprint:
                    return FrameIndex(
                        archives=archives,
                        **{name: saved[name].tolist() for name in _TEXTS},
                        **{name: saved[name] for name in _ARRAYS},
                    )
    index = _build(root, archives)
    for path in caches:
        with contextlib.suppress(OSError):
            _save(index, fingerprint, path)
            break
    return index


def _cache_paths(root: Path) -> list[Path]:
    """Beside the archives, or in the user's cache folder where those cannot be written."""
    if root.is_dir():
        beside = root / ".frame_index.npz"
    else:
        beside = root.with_name(f".{root.name}.frame_index.npz")
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return [beside, Path(base).expanduser() / "twostream_utils" / f"{key}.npz"]


def _save(index: FrameIndex, fingerprint: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(aside, "wb") as file:
            np.savez(
                file,
                fingerprint=fingerprint,
                **{name: np.array(getattr(index, name), dtype=str) for name in _TEXTS},
                **{name: getattr(index, name) for name in _ARRAYS},
            )
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _build(root: Path, archives: list[Path]) -> FrameIndex:
    numbers: dict[str, int] = {}
    meta: dict[str, dict] = {}
    # Eight numbers a frame: clip, kind, frame number, archive, offset, size, method, crc.
    table = array("q")

    def add(kind: int, clip: str, number: int, archive: int, member: Member) -> None:
        clip_number = numbers.setdefault(clip, len(numbers))
        table.extend((clip_number, kind, number, archive, *member))

    bar = tqdm(archives, desc=f"reading the directories of {root}", unit="zip", delay=5)
    for which, path in enumerate(bar):
        archive = Archive(path)
        try:
            for name, member in archive.directory():
                if match := _MEMBER.fullmatch(name):
                    folder, clip, number = match.groups()
                    clip = clip.decode("utf-8", "replace")
                    add(_KIND[folder], clip, int(number), which, member)
                elif name == b"clips.json":
                    meta.update(json.loads(archive.read_member(member)))
        except (ArchiveError, OSError, json.JSONDecodeError) as error:
            raise StoreError(
                f"{path} cannot be read: {error}. Delete it and extract or fetch it again."
            ) from error
        finally:
            archive.close()
    if root.is_dir():
        for kind, clip, number in _scan_tree(root):
            add(kind, clip, number, IN_FOLDER, _NOT_IN_ZIP)
        if (root / "clips.json").is_file():
            meta.update(json.loads((root / "clips.json").read_text(encoding="utf-8")))
    if not numbers:
        raise StoreError(
            f"{root} holds no frames of the form jpegs_256/<clip>/frame000001.jpg; it found "
            f"{len(archives)} zip(s)"
        )
    return _sort(archives, numbers, meta, np.asarray(table).reshape(-1, 8))


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


def _sort(
    archives: list[Path], numbers: dict[str, int], meta: dict[str, dict], table: np.ndarray
) -> FrameIndex:
    clips = sorted(numbers)
    rank = np.empty(len(clips), np.int64)
    rank[[numbers[clip] for clip in clips]] = np.arange(len(clips))
    clip, kind, number, archive, offset, size, method, crc = table.T
    key = rank[clip] * 3 + kind
    # Stable: of a name that one zip holds twice the later one counts, as in any zip reader.
    order = np.lexsort((np.arange(len(key)), archive, number, key))
    key, number, archive = key[order], number[order], archive[order]
    twice = (np.diff(key) == 0) & (np.diff(number) == 0)
    if np.any(twice & (np.diff(archive) != 0)):
        at = int(np.flatnonzero(twice & (np.diff(archive) != 0))[0])
        paths = [str(archives[a]) if a != IN_FOLDER else "a folder" for a in archive[at : at + 2]]
        raise StoreError(
            f"clip {clips[key[at] // 3]}, {KINDS[key[at] % 3]} {number[at]} is there twice: in "
            f"{paths[0]} and in {paths[1]}. Keep one of them."
        )
    keep = np.append(~twice, True)
    order, key, number, archive = order[keep], key[keep], number[keep], archive[keep]
    bounds = np.searchsorted(key, np.arange(3 * len(clips) + 1))
    due = np.arange(len(key)) - bounds[key] + 1
    gap = np.zeros(3 * len(clips), np.int32)
    wrong = np.flatnonzero(number != due)[::-1]
    gap[key[wrong]] = due[wrong]
    found = [meta.get(name, {}) for name in clips]
    return FrameIndex(
        archives=archives,
        clips=clips,
        labels=[str(entry.get("label") or "") for entry in found],
        groups=[str(entry.get("group") or "") for entry in found],
        start=bounds[:-1].reshape(-1, 3).astype(np.int64),
        count=np.diff(bounds).reshape(-1, 3).astype(np.int32),
        gap=gap.reshape(-1, 3),
        archive=archive.astype(np.uint16),
        offset=offset[order].astype(np.int64),
        size=size[order].astype(np.uint32),
        method=method[order].astype(np.uint8),
        crc=crc[order].astype(np.uint32),
    )
