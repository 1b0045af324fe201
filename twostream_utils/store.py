"""FrameStore: the JPEG frames and flow of a set of clips, read in place by clip and number.

One reader for all forms of the one data layout: a folder of zips (one per class, as
`extract.py` writes them, or large archives, whole or in parts `x.zip.001`, `x.zip.002`, …), a
single zip, or a plain folder tree:

    jpegs_256/<clip>/frame000001.jpg      tvl1_flow/u/<clip>/frame000001.jpg      (and v)
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import cv2
import numpy as np

from .archives import ArchiveError, Member
from .clip_table import RGB, ClipTable, U, V
from .frame_index import IN_FOLDER, StoreError

__all__ = ["FrameStore", "StoreError"]

_CAN_READ_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")
_COLOUR = cv2.IMREAD_COLOR_RGB if _CAN_READ_RGB else cv2.IMREAD_COLOR


class FrameStore(ClipTable):
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
        super().__init__(root)
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

    def size(self, clip: str) -> tuple[int, int]:
        """Height and width of the clip's frames in px, read from its first frame."""
        if clip not in self._sizes:
            self._check(clip, flow=False)
            height, width = self._image(clip, RGB, 1).shape[:2]
            self._sizes[clip] = height, width
        return self._sizes[clip]

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
            for channel, kind in enumerate((U, V) if flow else (RGB,)):
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
                np.frombuffer(data, np.uint8), _COLOUR if kind == RGB else cv2.IMREAD_GRAYSCALE
            )
        if image is None:
            raise self._error(clip, kind, number, f"corrupt JPEG ({len(data)} bytes)")
        if kind == RGB and not _CAN_READ_RGB:
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
