"""Video files → RGB frames, read one by one: upright, in the shape they are shown in, scaled down.

Decoded by PyAV (FFmpeg's libraries), which knows time stamps, edit lists and interlaced video.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # for the chapter that reads with OpenCV

# A title in another encoding is no reason to refuse a video; PyAV 19 has no such word any more.
_METADATA = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
# Formats that are opened and are no video: text as a terminal shows it, lists of other files.
_NO_VIDEO = {"tty", "concat", "hls", "srt", "webvtt", "ass", "lrc", "dash", "ffmetadata"}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SLOW, MOST = 20.0, 1000  # frames per second: few; what a file says that counts in milliseconds
FAST = 1.25  # factor from which a rate is another one


class VideoError(ValueError):
    """A video that cannot be used; the message names file and reason, `.reason` the reason."""

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        super().__init__(str(path), reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.reason}"


@dataclass(frozen=True)
class Pace:
    """How the frames of a video follow each other, as its packets say, without decoding it.

    `rate` in frames per second, 0.0 where the file does not say; `steady` unless the time from
    frame to frame varies; `frames` packets, and `cut` says where the file ends too early.
    """

    rate: float
    steady: bool
    frames: int
    cut: str = ""


def common_rate(rates: Iterable[float]) -> float:
    """One frame rate for a data set: 25 per second if a video has 25 or 50, else 30.

    Flow is measured in px per frame: the same walk at 60 per second has half the flow of one at 30.
    """
    known = [rate for rate in rates if SLOW <= rate < MOST]
    return 25.0 if any(min(rate % 25, -rate % 25) < 1.1 for rate in known) else 30.0


def paced(pace: Pace, rate: float) -> float | None:
    """The rate to read a video at so that it fits into a data set of `rate`; None for as it is."""
    if pace.rate > FAST * rate or not pace.steady:
        return min(rate, pace.rate) if pace.rate >= SLOW else rate
    return None


def said_rate(path: str | os.PathLike) -> float:
    """Frames per second as the header of a video says; 0.0 where it cannot be read or says none."""
    try:
        with _opened(path) as file:
            stream = file.streams.video[0]
            return float(stream.average_rate or stream.guessed_rate or 0)
    except (OSError, ValueError):
        return 0.0


def measure_pace(path: str | os.PathLike) -> Pace:
    """The `Pace` of a video. Raises FileNotFoundError and VideoError as `open_video`."""
    with _opened(path) as file:
        return _pace(file)


def open_video(
    path: str | os.PathLike, short_side: int, rate: float | None = None, pace: Pace | None = None
) -> tuple[float, Iterator[np.ndarray]]:
    """Frame rate of a video and an iterator over its frames: not all of it has to lie in memory.

    A folder of images counts as a video, its files in the order of their names. Frames are turned
    upright (rotation flag), stretched where pixels are not square, and scaled down while
    reading so that the short side is `short_side` px; smaller videos keep their size, since
    enlarging adds nothing but bytes. Of an interlaced frame one of both fields is taken.

    Args:
        rate: frames per second by time stamps: at each tick the frame that is shown then, so some
            come twice and some not at all. None takes every frame once.
        pace: what `measure_pace` found, if it was asked already: it reads the whole file.

    Returns frames per second (0.0 where the file does not say), and `(H, W, 3)` uint8 RGB frames.

    Raises FileNotFoundError, and VideoError: not a video, no frames or only one, cut short; by the
    iterator where it is found further in.
    """
    path = Path(path)
    if path.is_dir():
        return 0.0, _images(path, short_side)
    pace = pace or measure_pace(path)
    pictures = _decoded(path, pace, short_side)
    if rate:
        return rate, _at_ticks(pictures, rate)
    return pace.rate, (picture for _, picture in pictures)


def _opened(path: str | os.PathLike) -> av.container.InputContainer:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no video {path}")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty")
    try:
        text = os.fsencode(path).decode("utf-8", "ignore") == str(path)
        file = av.open(str(path) if text else open(path, "rb"), **_METADATA)
    except PermissionError:
        raise VideoError(path, "this user may not read the file") from None
    except av.FFmpegError:
        raise VideoError(path, "not a video, or one whose end is missing") from None
    names = {*file.format.name.split(",")}
    if names & _NO_VIDEO or "image2" in names or any(name.endswith("_pipe") for name in names):
        file.close()
        raise VideoError(path, "an image, or text: not a video")
    if not file.streams.video:
        file.close()
        raise VideoError(path, "there is sound in this file but no picture")
    return file


def _pace(file: av.container.InputContainer) -> Pace:
    stream, times, without, end = file.streams.video[0], [], 0, 0.0
    try:
        for packet in file.demux():
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.time_base:
                end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
            if packet.stream is stream and packet.size and not packet.is_discard:
                if time is None:
                    without += 1
                else:
                    times.append(float(time * stream.time_base))
    except av.FFmpegError:
        pass  # decoding comes to it as well, and says how far it got
    times = np.sort(times)
    frames, gaps = len(times) + without, np.diff(times)
    said = float(stream.average_rate or stream.guessed_rate or 0)
    rate, steady = said, True
    if without <= 0.1 * frames and len(gaps) and gaps.max() > 0:
        usual = float(np.median(gaps))
        steady = bool((np.abs(gaps - usual) < 0.25 * usual + 0.002).mean() > 0.99)
        if not steady:  # the rate varies: count in the shortest steps
            rate = 1 / max(float(np.quantile(gaps, 0.05)), 1e-3)
        elif said * usual > 1.5:  # an AVI says "as before" in place of frames
            steady = False
        elif not 0.95 < said * usual:
            rate = len(gaps) / float(np.ptp(times))
    rate = round(rate, 3) if 0 < rate < MOST else 0.0
    start = min(times[0] if len(times) else 0.0, (file.start_time or 0) / 1e6)
    promised = (file.duration or 0) / 1e6
    if "avi" in file.format.name and said:  # its header counts the frames; the duration is a guess
        promised = max(promised, stream.frames / said)
    # A sound track may be longer than the film, so the end of all streams counts; a tenth missing
    # is a cut file.
    there, cut = end - start, ""
    if len(times) and there < 0.9 * promised - 0.1:
        cut = f"cut short: {there:.1f} of {promised:.1f} seconds are there"
    return Pace(rate, steady, frames, cut)


def _decoded(path: Path, pace: Pace, short_side: int) -> Iterator[tuple[float, np.ndarray]]:
    """Time in seconds and `(H, W, 3)` uint8 RGB picture of each frame."""
    convert, size, n = VideoReformatter(), None, 0
    with _opened(path) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1  # a process a core does more
        # What follows a frame that cannot be decoded would show its traces: it ends there.
        with suppress(av.FFmpegError):
            for frame in file.decode(stream):
                if frame.is_corrupt:
                    continue
                picture = convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
                if frame.interlaced_frame:
                    picture = picture[::2]  # half a moment later than the rows between
                if size is None:
                    aspect = float(stream.sample_aspect_ratio or 1)
                    width, height = frame.width * aspect, frame.height
                    scale = min(1.0, short_side / min(width, height))
                    size = round(width * scale), round(height * scale)
                if picture.shape[1::-1] != size:
                    shrink = size[1] <= picture.shape[0] and size[0] <= picture.shape[1]
                    way = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
                    picture = cv2.resize(picture, size, interpolation=way)
                if turn := round(frame.rotation / 90) % 4:
                    picture = np.ascontiguousarray(np.rot90(picture, turn))
                yield frame.time if frame.time is not None else n / (pace.rate or 25.0), picture
                n += 1
    if n == 0:
        raise VideoError(path, "no frame can be decoded")
    if n == 1:
        raise VideoError(path, "only one frame: flow needs two")
    if pace.cut:
        raise VideoError(path, pace.cut)
    if n < 0.9 * pace.frames:
        raise VideoError(path, f"damaged or cut short: {n} of {pace.frames} frames can be decoded")


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, in the order of the numbers in their names."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(
        (path for path in files if path.name[0] != "."),
        key=lambda path: [int(w) if w.isdecimal() else w for w in re.split(r"(\d+)", path.name)],
    )


def _images(folder: Path, short_side: int) -> Iterator[np.ndarray]:
    size = None
    for path in images_in(folder):
        data = np.frombuffer(path.read_bytes() or b"-", np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise VideoError(folder, f"{path.name} is damaged or no image")
        scale = min(1.0, short_side / min(image.shape[:2]))
        size = size or tuple(round(side * scale) for side in image.shape[1::-1])
        yield cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if size is None:
        raise VideoError(folder, "no images in this folder")


def _at_ticks(pictures: Iterable[tuple[float, np.ndarray]], rate: float) -> Iterator[np.ndarray]:
    """Of pictures with their times the one shown at each tick; of several, the nearest to it.

    One is shown for a minute at most: in some recordings the time jumps by hours.
    """
    start = shown = None
    for time, picture in pictures:
        start = time if start is None else start
        place = (time - start) * rate
        tick, off = round(place), abs(place - round(place))
        if shown is not None and tick <= shown[0]:
            if off >= shown[1]:
                continue
        elif shown is not None:
            for _ in range(shown[0], min(tick, shown[0] + round(60 * rate))):
                yield shown[2]
        shown = tick, off, picture
    if shown is not None:
        yield shown[2]
