"""FrameStore: the JPEG frames and flow of a set of clips, read in place by clip and number.

One reader for all forms of the one data layout: a folder of zips (one per class, as
`extract.py` writes them, or large archives, whole or in parts `x.zip.001`, `x.zip.002`, …), a
single zip, or a plain folder tree:

    jpegs_256/<clip>/frame000001.jpg      tvl1_flow/u/<clip>/frame000001.jpg      (and v)
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from .archives import ArchiveError, Member
from .clip_table import RGB, ClipTable, U, V
from .frame_index import IN_FOLDER, StoreError

__all__ = ["FrameStore", "StoreError"]

_CAN_READ_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")
_COLOUR = cv2.IMREAD_COLOR_RGB if _CAN_READ_RGB else cv2.IMREAD_COLOR
_END_OF_IMAGE = b"\xff\xd9"


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
            (first,) = self._decode(clip, [1], flow=False)
            self._sizes[clip] = first.shape[:2]
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

    def images(
        self, clip: str, indices: Iterable[int], flow: bool = False
    ) -> Iterator[np.ndarray | Sequence[np.ndarray]]:
        """Decode the frames or fields of one clip one by one, in the order of `indices`.

        What `read_rgb` and `read_flow` are made of, for whoever wants only a part of each picture.
        Yields `(H, W, 3)` uint8 RGB, or the pair u, v, each `(H, W)` uint8. They may be the store's
        own: read them only. Raises as those do.
        """
        places = self._places(clip, indices, flow)
        whole = self._cached(clip, flow)
        return self._decode(clip, places, flow) if whole is None else (whole[p - 1] for p in places)

    def _read(self, clip: str, indices: Iterable[int], flow: bool) -> np.ndarray:
        pictures = np.stack([np.asarray(image) for image in self.images(clip, indices, flow)])
        return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1)) if flow else pictures

    def _places(self, clip: str, indices: Iterable[int], flow: bool) -> list[int]:
        """Where frames or fields stand among those of the clip; a field's number may be larger."""
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
        return ((wanted - 1) // every + 1).tolist()

    def _cached(self, clip: str, flow: bool) -> np.ndarray | None:
        """The whole clip, `(n, H, W, 3)` or `(n, 2, H, W)`, if there is room to keep it."""
        whole = self._cache.get((clip, flow))
        if whole is None and self._cache_left > 0:
            n = self._check(clip, flow)
            whole = np.stack([np.asarray(i) for i in self._decode(clip, range(1, n + 1), flow)])
            if whole.nbytes <= self._cache_left:
                self._cache[clip, flow] = whole
                self._cache_left -= whole.nbytes
            else:
                self._cache_left = 0
        return whole

    def _decode(self, clip: str, places: Sequence[int], flow: bool) -> Iterator:
        kinds = (U, V) if flow else (RGB,)
        payloads = zip(*(self._payloads(clip, kind, places) for kind in kinds))
        first = None
        for place, data in zip(places, payloads):
            images = [self._image(clip, kind, place, d) for kind, d in zip(kinds, data)]
            first = images[0].shape if first is None else first
            for kind, image in zip(kinds, images):
                if image.shape != first:
                    reason = f"its size {image.shape} is not {first}"
                    raise self._error(clip, kind, place, reason)
            yield images if flow else images[0]

    def _image(self, clip: str, kind: int, place: int, data: bytes | memoryview) -> np.ndarray:
        image = None
        # Without the end marker the decoder would fill the missing part with grey and say nothing.
        if data[-2:] == _END_OF_IMAGE or _END_OF_IMAGE in bytes(data):
            image = cv2.imdecode(
                np.frombuffer(data, np.uint8), _COLOUR if kind == RGB else cv2.IMREAD_GRAYSCALE
            )
        if image is None:
            raise self._error(clip, kind, place, f"corrupt JPEG ({len(data)} bytes)")
        if kind == RGB and not _CAN_READ_RGB:
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        return image

    def _payloads(self, clip: str, kind: int, places: Sequence[int]) -> Iterator:
        """The JPEG files at `places`, neighbours in an archive read together."""
        index, first = self._index, self._index.start[self._row[clip], kind] - 1
        rows = first + np.asarray(places)
        done = 0
        try:
            for archive, run in itertools.groupby(rows.tolist(), lambda row: index.archive[row]):
                if archive == IN_FOLDER:
                    for row in run:
                        yield self._folder_path(clip, kind, row - first).read_bytes()
                        done += 1
                    continue
                run = np.fromiter(run, np.int64)
                columns = (index.offset, index.size, index.method, index.crc)
                members = [Member(*m) for m in zip(*(c[run].tolist() for c in columns))]
                for data in self._archives[archive].read_members(members):
                    yield data
                    done += 1
        except (ArchiveError, OSError) as error:
            raise self._error(clip, kind, places[done], str(error)) from error
