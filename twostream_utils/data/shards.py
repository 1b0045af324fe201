"""One clip → JPEG members, and members → one shard (an uncompressed zip per class)."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from ..flow import METHODS, compute_flow, quantise

QUALITY = 95
FLOW_METHODS = (*METHODS, "raft")
# Pairs at once. Their correlations of all places with all places, the largest tensors of RAFT, take
# 0.16 GB at 340×256 (computed: 16 · (43·32)² · 4 bytes, and a third more for the coarser levels).
RAFT_BATCH = 16


def encode_clip(
    name: str,
    frames: Iterable[np.ndarray],
    method: str = "dis",
    quality: int = QUALITY,
    every: int = 1,
) -> list[tuple[str, bytes]]:
    """One clip → the members of its shard: RGB frames, then u, then v, as JPEG files.

    Args:
        name: clip name, e.g. `v_JumpRope_g07_c02`.
        frames: `(T, H, W, 3)` uint8 RGB, or any iterable of `(H, W, 3)` frames (read once, so that
            a long video never has to lie in memory).
        method: one of `FLOW_METHODS`, see `flow.compute_flow` and `raft.raft_flow`.
        quality: JPEG quality, 0 to 100.
        every: 1 for all fields; N for the fields 1, 1 + N, 1 + 2 N, … only.

    Returns:
        `[(member name, JPEG bytes), ...]`: T frames, and T - 1 u and v fields or every Nth of
        them. Field i is the flow from frame i to frame i + 1, quantised.
    """
    rgb, us, vs = [], [], []
    waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(field: np.ndarray) -> None:
        file = f"{name}/frame{len(us) * every + 1:06d}.jpg"
        field = quantise(field)
        us.append((f"tvl1_flow/u/{file}", _jpeg(field[..., 0], quality)))
        vs.append((f"tvl1_flow/v/{file}", _jpeg(field[..., 1], quality)))

    def add_batch() -> None:
        from .raft import raft_flow  # torch is slow to import, and no other method needs it

        for field in raft_flow(*map(np.stack, zip(*waiting))):
            add(field)
        waiting.clear()

    before = None
    for number, frame in enumerate(frames, start=1):
        rgb.append((f"jpegs_256/{name}/frame{number:06d}.jpg", _jpeg(frame[..., ::-1], quality)))
        now = frame
        if method != "raft":
            now = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        if before is not None and (number - 2) % every == 0:
            if method == "raft":
                waiting.append((before, now))
                if len(waiting) == RAFT_BATCH:
                    add_batch()
            else:
                add(compute_flow(before, now, method))
        before = now
    if waiting:
        add_batch()
    return rgb + us + vs


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    ok, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not ok:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape} as JPEG")
    return data.tobytes()


class ShardWriter:
    """Write one shard: `with ShardWriter(path) as shard: shard.add(members, {clip: {...}})`.

    Everything goes to `<path>.partial`, which is renamed on a clean exit and removed on an error,
    so a file of the final name is always whole; a shard without clips is not written. Members
    are stored, not deflated (JPEG does not shrink), and dated 1980-01-01, so the same clips give
    the same bytes.

    Args:
        path: the shard, `<out>/<Class>.zip`; missing folders are made.
        info: written as member `dataset.json` (settings and sources, to know a stale shard by);
            may be filled until the exit.
    """

    def __init__(self, path: str | os.PathLike, info: Mapping | None = None) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.info = info
        self.clips: dict[str, dict] = {}

    def __enter__(self) -> ShardWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.partial, "wb")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)
        return self

    def add(self, members: Iterable[tuple[str, bytes]], meta: Mapping[str, Mapping]) -> None:
        """Add a clip's `members` (as from `encode_clip`) and its entry of `clips.json`.

        `meta` is `{clip: {"label", "group", "source", "fps", "frames", "flow_method"}}`, and
        "flow_every" where fields were left out.
        """
        for clip in meta:
            if clip in self.clips:
                raise ValueError(f"clip {clip} is already in {self.path}")
        for name, data in members:
            self._write(name, data)
        self.clips.update(meta)

    def _write(self, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.create_system = 3
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, data)

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None and self.clips:
                self._write("clips.json", _json(self.clips))
                if self.info is not None:
                    self._write("dataset.json", _json(self.info))
                self._zip.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                os.replace(self.partial, self.path)
        finally:
            if not self._file.closed:
                with contextlib.suppress(OSError):
                    self._file.close()
                # Closing the zip tries to write its directory; into a closed file it cannot.
                with contextlib.suppress(OSError, ValueError):
                    self._zip.close()
                self.partial.unlink(missing_ok=True)


def _json(value: Mapping) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()
