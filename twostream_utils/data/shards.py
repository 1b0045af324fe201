"""One clip → JPEG members, and members → one shard (an uncompressed zip per class)."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from ..files import atomic_write
from ..flow import compute_flow, quantise

QUALITY = 95


def encode_clip(
    name: str, frames: Iterable[np.ndarray], algorithm: str = "dis", quality: int = QUALITY,
    every: int = 1, flow_scale: float = 1.0,
) -> list[tuple[str, bytes]]:  # fmt: skip
    """One clip → the members of its shard: RGB frames, then u, then v, as JPEG files.

    Args:
        name: clip name, e.g. `v_JumpRope_g07_c02`.
        frames: `(T, H, W, 3)` uint8 RGB, or any iterable of `(H, W, 3)` frames (read once, so that
            a long video never has to lie in memory).
        algorithm: one of `flow.ALGORITHMS`.
        quality: JPEG quality, 0 to 100.
        every: 1 for all fields; N for the fields 1, 1 + N, 1 + 2 N, … only.
        flow_scale: flow is computed and kept at so much of the frames' height and width. Its
            values stay px of the frames per frame: 4 px at full size are 4 px at half size.

    Returns `[(member name, JPEG bytes), ...]`: T frames, and T - 1 u and v fields or every Nth of
    them. Field i is the flow from frame i to frame i + 1, quantised.
    """
    rgb, us, vs = [], [], []
    before = None
    for number, frame in enumerate(frames, start=1):
        frame = np.ascontiguousarray(frame)
        jpeg = _jpeg(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
        rgb.append((f"jpegs_256/{name}/frame{number:06d}.jpg", jpeg))
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if flow_scale != 1:
            size = [round(side * flow_scale) for side in grey.shape[::-1]]
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        if before is not None and (number - 2) % every == 0:
            flow = compute_flow(before, grey, algorithm)
            if flow_scale != 1:
                flow *= np.divide(frame.shape[1::-1], grey.shape[::-1])
            u, v = cv2.split(quantise(flow))
            file = f"{name}/frame{number - 1:06d}.jpg"
            us.append((f"tvl1_flow/u/{file}", _jpeg(u, quality)))
            vs.append((f"tvl1_flow/v/{file}", _jpeg(v, quality)))
        before = grey
    return rgb + us + vs


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape} as JPEG")
    return data.tobytes()


class _NoClips(Exception):
    """A shard without clips is not to be written."""


class ShardWriter:
    """Write one shard: `with ShardWriter(path) as shard: shard.add(members, {clip: {...}})`.

    Written aside and renamed, so a file of the final name is always whole; a shard without clips is
    not written. Members are stored, not deflated (JPEG does not shrink), and dated 1980-01-01, so
    the same clips give the same bytes.

    Args:
        path: the shard, `<out>/<Class>.zip`; missing folders are made.
        info: written as member `dataset.json` (settings and sources, to know a stale shard by);
            may be filled until the exit.
    """

    def __init__(self, path: str | os.PathLike, info: Mapping | None = None) -> None:
        self.path, self.info = Path(path), info
        self.clips: dict[str, dict] = {}

    def __enter__(self) -> ShardWriter:
        self._open = self._whole_or_not_there()
        self._open.__enter__()
        return self

    def __exit__(self, *error) -> bool | None:
        return self._open.__exit__(*error)

    @contextmanager
    def _whole_or_not_there(self) -> Iterator[None]:
        with suppress(_NoClips), atomic_write(self.path) as part, open(part, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as self._zip:
                yield
                if not self.clips:
                    raise _NoClips
                for name, value in (("clips.json", self.clips), ("dataset.json", self.info)):
                    if value is not None:
                        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
                        self._write(name, text.encode())
            file.flush()
            os.fsync(file.fileno())

    def add(self, members: Iterable[tuple[str, bytes]], meta: Mapping[str, Mapping]) -> None:
        """Add a clip's `members` (as from `encode_clip`) and its entry of `clips.json`.

        `meta` is `{clip: {"label", "group", "source", "fps", "frames", "flow"}}`, where "flow" is
        the algorithm, "flow_every" where fields were left out, and "flow_scale" where they are
        smaller than the frames.
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
