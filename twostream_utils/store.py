"""FrameStore: the JPEG frames and flow of a set of clips, read in place by clip and number.

One reader for all forms of the one data layout: a folder of zips (one per class, as
`extract.py` writes them, or large archives, whole or in parts `x.zip.001`, `x.zip.002`, …), a
single zip, or a plain folder tree:

    jpegs_256/<clip>/frame000001.jpg      tvl1_flow/u/<clip>/frame000001.jpg      (and v)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from .archives import Archive, ArchiveError, Member
from .frame_index import FOLDERS, IN_FOLDER, KINDS, StoreError, load_index
from .splits import other_spelling

__all__ = ["FrameStore", "StoreError"]

_RGB, _U, _V = range(3)
_CAN_READ_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")
_COLOUR = cv2.IMREAD_COLOR_RGB if _CAN_READ_RGB else cv2.IMREAD_COLOR


class FrameStore:
    """Frames and flow fields of all clips under `root`, numbered from 1.

    Picklable and safe in DataLoader workers, forked or spawned. Which frames there are is read
    from the archives' directories (or the folders) and kept in `.frame_index` beside them, a file
    that all processes map; names, sizes or times that changed make it anew. Clips of
    HandstandPushups are found under both spellings.

    Args:
        root: folder of zips, one zip or the first of its parts, or folder that holds `jpegs_256/`
            and `tvl1_flow/`.
        cache_gb: keep decoded whole clips in memory up to this many GB (1e9 bytes, RGB and flow
            together, per process: each DataLoader worker has its own). What comes after the limit
            is read from disk each time.

    Attributes:
        clips: sorted clip names.
        labels, groups: clip → label and clip → group, from the shards' `clips.json`, else from a
            name of the form v_<Class>_gNN_cMM; clips with neither are not in them.

    Raises:
        StoreError: no such root, nothing of the layout in it, a zip that is cut short, a part
            that is missing.
    """

    def __init__(self, root: str | os.PathLike, cache_gb: float = 0.0) -> None:
        self.root = Path(root)
        self._index = load_index(self.root)
        self._archives = [Archive(parts) for parts in self._index.archives]
        self.clips: list[str] = self._index.clips
        self._row = {clip: row for row, clip in enumerate(self.clips)}
        for clip in self.clips:
            if twin := other_spelling(clip):
                self._row.setdefault(twin, self._row[clip])
        self.labels = {c: label for c, label in zip(self.clips, self._index.labels) if label}
        self.groups = {c: group for c, group in zip(self.clips, self._index.groups) if group}
        self._cache_left = int(cache_gb * 1e9)
        self._cache: dict[tuple[str, bool], np.ndarray] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"FrameStore({str(self.root)!r}, {len(self.clips)} clips)"

    def __getstate__(self) -> dict:
        room = self._cache_left + sum(clip.nbytes for clip in self._cache.values())
        return {**self.__dict__, "_cache": {}, "_cache_left": room}

    def close(self) -> None:
        """Close the archives (they open again by themselves) and drop cached clips."""
        self._cache_left += sum(clip.nbytes for clip in self._cache.values())
        self._cache.clear()
        for archive in self._archives:
            archive.close()

    def n_frames(self, clip: str) -> int:
        """Number of RGB frames."""
        return self._count(clip, _RGB)

    def n_flow(self, clip: str) -> int:
        """Number of flow fields, one fewer than frames; 0 without flow; but see `flow_every`."""
        return self._count(clip, _U)

    def flow_every(self, clip: str) -> int:
        """1, or N where only the fields 1, 1 + N, 1 + 2 N, … were extracted (`--every N`)."""
        self._count(clip, _U)
        return int(self._index.every[self._row[clip]])

    def check(self, clip: str) -> None:
        """Raise StoreError unless the clip has all frames and flow fields that are due."""
        self._check(clip, flow=False)
        self._check(clip, flow=True)

    def files(self, clip: str) -> list[Path]:
        """The zips, or first parts of zips, that hold the clip; none if it lies in a folder."""
        self._count(clip, _RGB)
        row = self._row[clip]
        start, count = self._index.start[row], self._index.count[row]
        rows = np.concatenate([np.arange(s, s + n) for s, n in zip(start, count)])
        archives = np.unique(self._index.archive[rows])
        return [self._archives[a].path for a in archives if a != IN_FOLDER]

    def flow_numbers(self, clip: str) -> np.ndarray:
        """Numbers of the fields that there are, int64; field k leads from frame k to k + 1."""
        return np.arange(self.n_flow(clip)) * self.flow_every(clip) + 1

    def size(self, clip: str) -> tuple[int, int]:
        """Height and width of the clip's frames in px, read from its first frame."""
        if clip not in self._sizes:
            self._check(clip, flow=False)
            height, width = self._image(clip, _RGB, 1).shape[:2]
            self._sizes[clip] = height, width
        return self._sizes[clip]

    def fingerprint(self) -> str:
        """Sixteen hex digits that follow from the frames: names, counts, sizes and checksums."""
        index = self._index
        digest = hashlib.sha256("\n".join(self.clips).encode())
        for array in (index.count, index.size, index.crc):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:16]

    def label(self, clip: str) -> str:
        """Class name of the clip."""
        return self._known(self.labels, clip)

    def group(self, clip: str) -> str:
        """Group of the clip: whoever or whatever it shares with other clips."""
        return self._known(self.groups, clip)

    def rgb(self, clip: str, i: int) -> np.ndarray:
        """Frame `i` (1-based), `(H, W, 3)` uint8 RGB."""
        return self.read_rgb(clip, [i])[0]

    def flow(self, clip: str, i: int) -> np.ndarray:
        """Quantised flow from frame `i` to `i + 1`, `(H, W, 2)` uint8 (u, v); see `flow.decode`."""
        return self.read_flow(clip, [i])[0]

    def read_rgb(self, clip: str, indices: Iterable[int]) -> np.ndarray:
        """Frames of one clip, `(T, H, W, 3)` uint8 RGB, in the order of the 1-based `indices`.

        Raises:
            IndexError: an index outside 1…n_frames; names clip and range.
            StoreError: unknown clip, a missing frame, a corrupt JPEG, a damaged archive.
        """
        return self._read(clip, indices, flow=False)

    def read_flow(self, clip: str, indices: Iterable[int]) -> np.ndarray:
        """Quantised flow fields of one clip, `(T, H, W, 2)` uint8; otherwise as `read_rgb`.

        Raises:
            StoreError: also if the clip has no flow, u and v differ in number, or there is not
                exactly one field fewer than frames (or every Nth of these).
        """
        return self._read(clip, indices, flow=True)

    def _read(self, clip: str, indices: Iterable[int], flow: bool) -> np.ndarray:
        wanted = np.asarray(list(indices), dtype=np.int64)
        n = self._check(clip, flow)
        if wanted.size == 0:
            raise ValueError(f"no indices given to read from clip {clip}")
        every = self.flow_every(clip) if flow else 1
        last = (n - 1) * every + 1
        outside = wanted[(wanted < 1) | (wanted > last) | ((wanted - 1) % every != 0)]
        if outside.size:
            what = "flow field" if flow else "frame"
            numbered = f"numbered 1 to {n}" if every == 1 else f"1, {1 + every}, … up to {last}"
            raise IndexError(f"clip {clip} has no {what} {outside[0]}: they are {numbered}")
        wanted = (wanted - 1) // every + 1  # from here on a field goes by its place, not its number
        whole = self._cache.get((clip, flow))
        if whole is None and self._cache_left > 0:
            whole = self._decode(clip, np.arange(1, n + 1), flow)
            if whole.nbytes <= self._cache_left:
                self._cache[clip, flow] = whole
                self._cache_left -= whole.nbytes
            else:
                self._cache_left = 0
        if whole is not None:
            return whole[wanted - 1]
        return self._decode(clip, wanted, flow)

    def _decode(self, clip: str, wanted: np.ndarray, flow: bool) -> np.ndarray:
        out = None
        for place, number in enumerate(wanted.tolist()):
            for channel, kind in enumerate((_U, _V) if flow else (_RGB,)):
                image = self._image(clip, kind, number)
                if out is None:
                    out = np.empty((len(wanted), *image.shape[:2], 2 if flow else 3), np.uint8)
                target = out[place, ..., channel] if flow else out[place]
                if image.shape != target.shape:
                    raise self._error(
                        clip, kind, number, f"its size {image.shape} is not {target.shape}"
                    )
                target[...] = image
        return out

    def _image(self, clip: str, kind: int, number: int) -> np.ndarray:
        try:
            data = self._bytes(clip, kind, number)
        except (ArchiveError, OSError) as error:
            raise self._error(clip, kind, number, str(error)) from error
        image = None
        # Without the end marker the decoder would fill the missing part with grey and say nothing.
        if data.rfind(b"\xff\xd9") > 0:
            image = cv2.imdecode(
                np.frombuffer(data, np.uint8), _COLOUR if kind == _RGB else cv2.IMREAD_GRAYSCALE
            )
        if image is None:
            raise self._error(clip, kind, number, f"corrupt JPEG ({len(data)} bytes)")
        if kind == _RGB and not _CAN_READ_RGB:
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        return image

    def _bytes(self, clip: str, kind: int, number: int) -> bytes:
        index = self._index
        at = index.start[self._row[clip], kind] + number - 1
        archive = int(index.archive[at])
        if archive == IN_FOLDER:
            return self._folder_path(clip, kind, number).read_bytes()
        member = Member(*(int(a[at]) for a in (index.offset, index.size, index.method, index.crc)))
        return self._archives[archive].read_member(member)

    def _file_name(self, clip: str, kind: int, number: int) -> str:
        every = 1 if kind == _RGB else self.flow_every(clip)
        return f"{clip}/frame{(number - 1) * every + 1:06d}.jpg"

    def _folder_path(self, clip: str, kind: int, number: int) -> Path:
        path = self.root / FOLDERS[kind] / self._file_name(clip, kind, number)
        if (twin := other_spelling(clip)) and not path.parent.is_dir():
            return path.parent.with_name(twin) / path.name
        return path

    def _check(self, clip: str, flow: bool) -> int:
        """Number of frames or fields of a clip that is fit to be read."""
        n = self._count(clip, _RGB)
        if not flow and n == 0:
            raise StoreError(f"clip {clip} has flow but no RGB frames under {self.root}")
        if flow:
            u, v = self._count(clip, _U), self._count(clip, _V)
            if u == 0 and v == 0:
                raise StoreError(
                    f"clip {clip} has no flow under {self.root}: extract it with "
                    "data_scripts/extract.py, or add the flow archive"
                )
            every = self.flow_every(clip)
            if u != v or (n and u != -(-(n - 1) // every)):
                due = "one u and one v fewer than frames" + (f", every {every}th" * (every > 1))
                raise StoreError(
                    f"clip {clip} has {n} frames, {u} u and {v} v fields under {self.root}; a clip "
                    f"has {due}: extract or fetch it again"
                )
            n = u
        for kind in (_U, _V) if flow else (_RGB,):
            gap = int(self._index.gap[self._row[clip], kind])
            if gap:
                raise self._error(clip, kind, gap, "it is missing, though later ones are there")
        return n

    def _error(self, clip: str, kind: int, number: int, reason: str) -> StoreError:
        index = self._index
        start, count = (a[self._row[clip], kind] for a in (index.start, index.count))
        at = int(start + min(number, count) - 1)
        file = self._file_name(clip, kind, number)
        if index.archive[at] == IN_FOLDER:
            where = str(self._folder_path(clip, kind, number))
        else:
            part = self._archives[index.archive[at]].part_at(int(index.offset[at]))
            where = f"{part}, {FOLDERS[kind]}/{file}"
        number = int(file[-10:-4])
        return StoreError(
            f"clip {clip}, {KINDS[kind]} {number}: {reason} ({where}). "
            "Extract or fetch that file again, or leave the clip out."
        )

    def _count(self, clip: str, kind: int) -> int:
        if clip not in self._row:
            raise StoreError(f"no clip {clip!r} under {self.root}, which has {len(self.clips)}")
        return int(self._index.count[self._row[clip], kind])

    def _known(self, table: dict[str, str], clip: str) -> str:
        self._count(clip, _RGB)
        name = self.clips[self._row[clip]]
        if name in table:
            return table[name]
        raise StoreError(
            f"clip {clip} under {self.root} has no entry in a clips.json and no name of the form "
            "v_<Class>_gNN_cMM, so its label is not known: make the shards with "
            "data_scripts/extract.py"
        )
