"""Videos as files may be: of any shape, turned, empty, cut short."""

from __future__ import annotations

import os

import numpy as np
import pytest
from conftest import moving_frames, read_video, texture, write_video

from twostream_utils.data.video import VideoError


def bad_video(path, kind):
    frames = moving_frames(30)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "tiny":
        write_video(path, frames[:4, :12, :12])
    else:
        frames = frames[[0] * 9] if kind == "still" else frames
        write_video(path, frames[: {"one frame": 1, "no frames": 0}.get(kind)])
        if kind == "cut":
            os.truncate(path, path.stat().st_size // 2)
        elif kind == "cut in the header":
            os.truncate(path, 100)
    return path


BAD = {
    "empty": "the file is empty",
    "tiny": ".*at least 16 px",
    "still": "all frames are equal",
    "text": "an image, or text: not a video|not a video",
    "one frame": "only one frame: flow needs two",
    "no frames": "not a video|no frame",
    "cut": r"cut short: 0\.\d of 1\.2 seconds",
    "cut in the header": "not a video|no frame",
}


def test_frames_are_rgb_and_scaled_down_never_up(tmp_path):
    frames = np.stack([np.roll(texture(90, 160), 3 * k, axis=1) for k in range(5)])
    path = write_video(tmp_path / "a.avi", frames, fps=12.5)
    read, rate = read_video(path)
    assert read.shape == (5, 90, 160, 3) and read.dtype == np.uint8 and rate == 12.5
    assert np.abs(read.astype(int) - frames).mean() < 8
    assert read_video(path, short_side=45)[0].shape == (5, 45, 80, 3)
    assert read_video(path, short_side=500)[0].shape == (5, 90, 160, 3)
    tall = write_video(tmp_path / "b.avi", frames.transpose(0, 2, 1, 3))
    assert read_video(tall, short_side=45)[0].shape == (5, 80, 45, 3)


def test_a_cut_mp4_is_named(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving_frames(30), codec="mp4v")
    assert read_video(path)[0].shape == (30, 48, 64, 3)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(VideoError, match=rf"{path}: (not a video|cut short|no frame)"):
        read_video(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_video(tmp_path / "nowhere.avi")


def turn(path, matrix):
    """Write another display matrix into an mp4's track header, as phones do when held upright."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 40 if data[at] == 0 else 52  # version, flags, times, track, duration, layer, volume
    values = [*(n * (1 << 16) for n in matrix[:2]), 0, *(n * (1 << 16) for n in matrix[2:]), 0]
    data[at : at + 24] = b"".join(n.to_bytes(4, "big", signed=True) for n in values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("degrees, matrix", [
    (90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (270, (0, -1, 1, 0)),
])  # fmt: skip
def test_rotation_flag_is_obeyed(tmp_path, degrees, matrix):
    lying = np.repeat(texture(48, 80)[None], 4, axis=0)
    lying[:, :16, :16] = (250, 0, 0)  # red in the top left corner of what the sensor saw
    path = turn(write_video(tmp_path / "phone.mp4", lying, codec="mp4v"), matrix)
    frames, _ = read_video(path)
    upright = np.rot90(lying, -degrees // 90, axes=(1, 2))
    assert frames.shape == upright.shape
    assert np.abs(frames.astype(int) - upright).mean() < 12
