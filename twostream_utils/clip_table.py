"""Which clips there are, how many frames and flow fields each has, and where they lie.

What `FrameStore` knows without opening a picture: the index, names, counts, what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .archives import Archive
from .frame_index import FOLDERS, IN_FOLDER, KINDS, StoreError, load_index
from .splits import other_spelling

RGB, U, V = range(3)


class ClipTable:
    """The clips under `root`; see `store.FrameStore`, which reads their frames as well."""

    def __init__(self, root: str | os.PathLike) -> None:
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

    def n_frames(self, clip: str) -> int:
        """Number of RGB frames."""
        return self._count(clip, RGB)

    def n_flow(self, clip: str) -> int:
        """Number of flow fields, one fewer than frames; 0 without flow; but see `flow_every`."""
        return self._count(clip, U)

    def flow_every(self, clip: str) -> int:
        """1, or N where only the fields 1, 1 + N, 1 + 2 N, … were extracted (`--every N`)."""
        self._count(clip, U)
        return int(self._index.every[self._row[clip]])

    def flow_numbers(self, clip: str) -> np.ndarray:
        """Numbers of the fields that there are, int64; field k leads from frame k to k + 1."""
        return np.arange(self.n_flow(clip)) * self.flow_every(clip) + 1

    def field_at(self, clip: str, frame: int) -> int:
        """Number of the field to show with `frame`: its own, else the last one before it."""
        place = min((frame - 1) // self.flow_every(clip), self.n_flow(clip) - 1)
        return place * self.flow_every(clip) + 1

    def label(self, clip: str) -> str:
        """Class name of the clip."""
        return self._known(self.labels, clip)

    def group(self, clip: str) -> str:
        """Group of the clip: whoever or whatever it shares with other clips."""
        return self._known(self.groups, clip)

    def check(self, clip: str) -> None:
        """Raise StoreError unless the clip has all frames and flow fields that are due."""
        self._check(clip, flow=False)
        self._check(clip, flow=True)

    def files(self, clip: str) -> list[Path]:
        """The zips, or first parts of zips, that hold the clip; none if it lies in a folder."""
        self._count(clip, RGB)
        row = self._row[clip]
        start, count = self._index.start[row], self._index.count[row]
        rows = np.concatenate([np.arange(s, s + n) for s, n in zip(start, count)])
        archives = np.unique(self._index.archive[rows])
        return [self._archives[a].path for a in archives if a != IN_FOLDER]

    def fingerprint(self, clips: Iterable[str] | None = None) -> str:
        """Sixteen hex digits that follow from `clips`, all of them by default, and nothing else.

        From their names, labels and groups, and the counts, sizes and checksums of their frames.
        """
        index = self._index
        rows = sorted(self._row[clip] for clip in (self.clips if clips is None else clips))
        names = [self.clips[row] for row in rows]
        said = [[c, self.labels.get(c, ""), self.groups.get(c, "")] for c in names]
        digest = hashlib.sha256(json.dumps(said).encode())
        digest.update(np.ascontiguousarray(index.count[rows]))
        for row in rows:
            for start, count in zip(index.start[row].tolist(), index.count[row].tolist()):
                digest.update(np.ascontiguousarray(index.size[start : start + count]))
                digest.update(np.ascontiguousarray(index.crc[start : start + count]))
        return digest.hexdigest()[:16]

    def _check(self, clip: str, flow: bool) -> int:
        """Number of frames or fields of a clip that is fit to be read."""
        n = self._count(clip, RGB)
        if not flow and n == 0:
            raise StoreError(f"clip {clip} has flow but no RGB frames under {self.root}")
        if flow:
            u, v = self._count(clip, U), self._count(clip, V)
            if u == 0 and v == 0:
                raise StoreError(
                    f"clip {clip} has no flow under {self.root}: extract it with "
                    "data_scripts/extract.py, or add the flow archive"
                )
            every = self.flow_every(clip)
            if u != v or (n and u != -(-(n - 1) // every)):
                due = "one u and one v fewer than frames"
                due += f", and one in {every} of these" if every > 1 else ""
                raise StoreError(
                    f"clip {clip} has {n} frames, {u} u and {v} v fields under {self.root}; a clip "
                    f"has {due}: extract or fetch it again"
                )
            n = u
        for kind in (U, V) if flow else (RGB,):
            gap = int(self._index.gap[self._row[clip], kind])
            if gap:
                raise self._error(clip, kind, gap, "it is missing, though later ones are there")
        return n

    def _count(self, clip: str, kind: int) -> int:
        if clip not in self._row:
            raise StoreError(f"no clip {clip!r} under {self.root}, which has {len(self.clips)}")
        return int(self._index.count[self._row[clip], kind])

    def _known(self, table: dict[str, str], clip: str) -> str:
        self._count(clip, RGB)
        name = self.clips[self._row[clip]]
        if name in table:
            return table[name]
        raise StoreError(
            f"clip {clip} under {self.root} has no entry in a clips.json and no name of the form "
            "v_<Class>_gNN_cMM, so its label is not known: make the shards with "
            "data_scripts/extract.py"
        )

    def _file_name(self, clip: str, kind: int, number: int) -> str:
        every = 1 if kind == RGB else self.flow_every(clip)
        return f"{clip}/frame{(number - 1) * every + 1:06d}.jpg"

    def _folder_path(self, clip: str, kind: int, number: int) -> Path:
        path = self.root / FOLDERS[kind] / self._file_name(clip, kind, number)
        if (twin := other_spelling(clip)) and not path.parent.is_dir():
            return path.parent.with_name(twin) / path.name
        return path

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
