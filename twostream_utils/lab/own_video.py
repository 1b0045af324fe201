"""Your own video: any file or its bytes → a clip of the course."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.shards import ShardWriter, encode_clip
from ..data.video import VideoError, measure_pace, open_video, paced
from ..flow import decode
from ..profiles import Profile
from ..store import FrameStore
from ..views import span
from .start import sentence_alone

CLIP = "own_video"
RATE = 30.0  # UCF101 has 25 and 29.97 frames per second
WAY_OUT = (
    "Record it anew, or convert it with any video program (for instance: ffmpeg -i IN -an OUT.mp4)"
)


@dataclass(frozen=True)
class OwnClip:
    """One video as a clip: ``store`` holds it as ``clip``; ``notes`` say what was done to it."""

    store: FrameStore
    clip: str
    notes: tuple[str, ...] = ()


def read_own(
    path: str | os.PathLike, short_side: int, seconds: float = 10.0, start: float = 0.0
) -> tuple[list[np.ndarray], list[str]]:
    """The frames of ``seconds`` of a video from second ``start`` on, and notes on what was done.

    Frames ``(H, W, 3)`` uint8 RGB, upright, scaled down one by one while reading (a 4K frame is
    never kept), at a steady rate near 30 per second, as extraction reads them.

    Raises ``VideoError`` that says what is wrong and what to do: not a video, sound only, empty,
    cut off, fewer than two frames. ``FileNotFoundError`` for a file that is not there.
    """
    path = Path(path)
    notes, kept, number = [], [], -1
    try:
        pace = measure_pace(path)
        steady = paced(pace, RATE)
        rate, frames = open_video(path, short_side, steady, pace)
        rate = rate or RATE
        first, last = round(start * rate), round((start + seconds) * rate)
        if steady and pace.steady:
            notes.append(f"{pace.rate:.0f} frames per second: read at {steady:g} per second")
        elif steady:
            notes.append(
                f"the frame rate varies: frames are taken at a steady {steady:.0f} per second, "
                "some twice, some not at all"
            )
        for number, frame in enumerate(frames):
            if number > last:
                notes.append(
                    f"long video: only {seconds:g} s from second {start:g} on are used; "
                    "start=… chooses another part"
                )
                break
            if number >= first:
                kept.append(frame)
    except VideoError as error:
        if len(kept) < 2:
            again = "" if "empty" not in error.reason else "the upload was interrupted? "
            raise VideoError(path.name, f"{error.reason}. {again}{WAY_OUT}") from None
        notes.append(f"{error.reason}; what there is, is used")
    if len(kept) < 2:
        ends = f"it ends at {(number + 1) / rate:.1f} s"
        raise VideoError(path.name, f"there are not two frames after second {start:g}; {ends}")
    return kept, notes


@sentence_alone()
def own_clip(
    video: str | os.PathLike | bytes, profile: Profile, folder: str | os.PathLike, *,
    name: str = "video.mp4", seconds: float = 10.0, start: float = 0.0,
) -> OwnClip:  # fmt: skip
    """Turn a video, a path or the bytes of an upload called ``name``, into a clip of the course.

    Frames and flow go to one zip in ``folder``, named after the content, and are read from there
    the next time. Uploaded bytes themselves are not kept.

    Raises ``VideoError`` and ``FileNotFoundError`` as ``read_own``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(video, bytes):
        # Windows keeps a file that a decoder has not closed yet.
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as aside:
            path = Path(aside, f"video{Path(name).suffix or '.mp4'}")
            path.write_bytes(video)
            try:
                return own_clip(path, profile, folder, seconds=seconds, start=start)
            except VideoError as error:
                raise VideoError(name, error.reason) from None
    path = Path(video)
    if not path.is_file():
        raise FileNotFoundError(f"no video {path}")
    settings = json.dumps([profile.short_side, profile.flow, seconds, start])
    digest = hashlib.sha256(path.read_bytes() + settings.encode()).hexdigest()[:12]
    shard = folder / f"{digest}.zip"
    if not shard.exists():
        frames, notes = read_own(path, profile.short_side, seconds, start)
        try:
            members = encode_clip(CLIP, frames, profile.flow)
        except ValueError as error:
            raise VideoError(path.name, str(error)) from None
        meta = {"label": "own", "group": CLIP, "source": path.name, "fps": RATE}
        meta |= {"frames": len(frames), "flow": profile.flow}
        with ShardWriter(shard, {"notes": notes}) as writer:
            writer.add(members, {CLIP: meta})
    with zipfile.ZipFile(shard) as file:
        notes = json.loads(file.read("dataset.json"))["notes"]
    store = FrameStore(shard)
    n, needed = store.n_frames(CLIP), span(profile)
    if n < needed:
        notes.append(
            f"short video: {n} frames, where a stack reaches over {needed}; it is played in a loop"
        )
    if not moves(store, CLIP):
        notes.append("nothing moves in this video: the temporal stream answers, but from nothing")
    return OwnClip(store, CLIP, tuple(notes))


def moves(store: FrameStore, clip: str) -> bool:
    """Return whether anything moves: a pixel in a thousand, by half a px, in a field of ten."""
    speeds = np.linalg.norm(decode(store.read_flow(clip, store.flow_numbers(clip))), axis=-1)
    # 39 real clips came to 0.67 px and more, stills to 0.25, noise and compression included.
    return bool(np.quantile(np.quantile(speeds, 0.999, axis=(1, 2)), 0.9) >= 0.45)
