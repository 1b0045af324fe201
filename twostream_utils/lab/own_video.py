"""Your own video: any file or its bytes → a clip of the course."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..data.shards import ShardWriter, encode_clip
from ..data.video import VideoError, open_video
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
_SOUND = (b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"\xff\xf9", b"OggS")


@dataclass(frozen=True)
class OwnClip:
    """One video as a clip: ``store`` holds it as ``clip``; ``notes`` say what was done to it."""

    store: FrameStore
    clip: str
    notes: tuple[str, ...] = ()


def frame_times(path: str | os.PathLike, stop: float) -> np.ndarray:
    """When each frame of a video is shown, ``(T,)`` float64 in seconds from the first.

    Read frame by frame up to second ``stop``, since headers of recordings are often wrong: a
    browser writes no length and no rate, a phone a mean of a rate that varies.
    """
    video = cv2.VideoCapture(str(path))
    times: list[float] = []
    try:
        while video.grab():
            times.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if times[-1] - times[0] > stop:
                break
    finally:
        video.release()
    return np.array(times) - (times[0] if times else 0.0)


def steady_frames(times: np.ndarray, rate: float = RATE) -> tuple[np.ndarray, list[str]]:
    """Which frames to take so that equal times lie between them, and notes on what was done.

    ``times`` ``(T,)`` in seconds. Flow is measured in px per *frame*: a network that learned at 25
    to 30 frames per second sees half the speed at 60. So of a fast video every second, third …
    frame is taken; of a video whose rate varies, the frame nearest to each tick of its mean rate.
    Returns 0-based indices, which may repeat where the video pauses. Without usable times all
    frames are taken.
    """
    gaps = np.diff(times)
    every = np.arange(len(times))
    if len(gaps) == 0 or not np.isfinite(gaps).all() or (gaps < 0).any() or gaps.sum() <= 0:
        return every, []
    mean = float(len(gaps) / gaps.sum())
    step = max(1, round(mean / rate))
    notes = []
    if step > 1:
        notes.append(f"{mean:.0f} frames per second: one frame in {step} is used")
    low, high = np.quantile(gaps, (0.05, 0.95))
    if high - low <= 0.25 / mean:
        return every[::step], notes
    fastest = f"{1 / low:.0f}" if low > 0 else "many"
    notes.append(
        f"the frame rate varies ({1 / high:.0f} to {fastest} per second): frames are taken at a "
        f"steady {mean / step:.0f} per second, some twice, some not at all"
    )
    ticks = np.arange(times[0], times[-1] + 1e-9, step / mean)
    after = np.searchsorted(times, ticks).clip(1, len(times) - 1)
    return after - (ticks - times[after - 1] < times[after] - ticks), notes


def read_own(
    path: str | os.PathLike, short_side: int, seconds: float = 10.0, start: float = 0.0
) -> tuple[list[np.ndarray], list[str]]:
    """The frames of ``seconds`` of a video from second ``start`` on, and notes on what was done.

    Frames ``(H, W, 3)`` uint8 RGB, upright, scaled down one by one while reading (a 4K frame is
    never kept), at a steady rate near 30 per second.

    Raises ``VideoError`` that says what is wrong and what to do: not a video, sound only, empty,
    cut off, fewer than two frames. ``FileNotFoundError`` for a file that is not there.
    """
    path = Path(path)
    try:
        rate, frames = open_video(path, short_side)
    except VideoError as error:
        raise VideoError(path.name, _kind_reason(path, error.reason)) from None
    times = frame_times(path, start + seconds)
    inside = np.flatnonzero((times >= start - 1e-6) & (times <= start + seconds))
    if len(inside) < 2 and len(times) >= 2:
        reason = f"there are not two frames after second {start:g}; it ends at {times[-1]:.1f} s"
        raise VideoError(path.name, reason)
    picked, notes = steady_frames(times[inside])
    wanted = np.bincount(inside[picked], minlength=1) if len(inside) else np.zeros(1, int)
    goes_on = len(times) > 0 and times[-1] > start + seconds
    if goes_on:
        notes.append(
            f"long video: only {seconds:g} s from second {start:g} on are used; "
            "start=… chooses another part"
        )
    kept: list[np.ndarray] = []
    try:
        for copies, frame in zip(wanted, frames):
            kept += [frame] * int(copies)
        if not goes_on:
            deque(frames, maxlen=0)  # read to the end: is the file whole?
    except VideoError as error:
        if len(kept) < 2:
            raise VideoError(path.name, f"{error.reason}. {WAY_OUT}") from None
        notes.append(f"{error.reason}; what there is, is used")
    return kept, notes


def _kind_reason(path: Path, reason: str) -> str:
    if "empty" in reason:
        return f"{reason}: nothing was recorded, or the upload was interrupted. Try again"
    if _only_sound(path):
        return f"there is sound in this file but no picture. {WAY_OUT.replace(' -an', '')}"
    return f"{reason}: another kind of file, or a recording that was cut off. {WAY_OUT}"


def _only_sound(path: Path) -> bool:
    data = path.read_bytes()
    if data[:4] == b"RIFF":
        return data[8:12] == b"WAVE"
    if data[4:8] == b"ftyp":
        return b"soun" in data and b"vide" not in data
    return data.startswith(_SOUND)


@sentence_alone()
def own_clip(
    video: str | os.PathLike | bytes,
    profile: Profile,
    folder: str | os.PathLike,
    *,
    name: str = "video.mp4",
    seconds: float = 10.0,
    start: float = 0.0,
) -> OwnClip:
    """Turn a video, a path or the bytes of an upload called ``name``, into a clip of the course.

    Frames and flow go to one zip in ``folder``, named after the content, and are read from there
    the next time. Uploaded bytes themselves are not kept.

    Raises ``VideoError`` and ``FileNotFoundError`` as ``read_own``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(video, bytes):
        aside, path = tempfile.mkstemp(suffix=Path(name).suffix or ".mp4", dir=folder)
        try:
            with os.fdopen(aside, "wb") as file:
                file.write(video)
            return own_clip(path, profile, folder, seconds=seconds, start=start)
        except VideoError as error:
            raise VideoError(name, error.reason) from None
        finally:
            with suppress(OSError):  # Windows keeps a file that a decoder has not closed yet
                os.unlink(path)
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
    # Real clips came to 0.55 px and more, stills to 0.35 at most, noise and compression included.
    return bool(np.quantile(np.quantile(speeds, 0.999, axis=(1, 2)), 0.9) >= 0.45)
