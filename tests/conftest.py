"""Fixtures that several test files share: real clips where there are any, tiny videos anywhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.data.video import open_video
from twostream_utils.store import FrameStore

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real clips: `ucf101_clips`, `ucf101_splits`, `weizmann`; skips where absent."""
    folder = Path(os.environ.get("TWOSTREAM_SHARED_DATA") or REPO.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real clips not found at {folder}: set TWOSTREAM_SHARED_DATA to their folder")
    return folder


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random picture `(height, width, 3)` uint8 that every flow method can follow."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    smooth -= smooth.min()
    return (smooth * (255 / smooth.max())).astype(np.uint8)


def moving_frames(n: int = 8, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A texture that moves 2 px right and 1 px down per frame, `(n, height, width, 3)` uint8."""
    canvas = texture(height + n, width + 2 * n, seed)
    views = []
    for k in range(n):
        top, left = n - k, 2 * (n - k)
        views.append(canvas[top : top + height, left : left + width])
    return np.stack(views)


def write_video(path: Path, frames: np.ndarray, fps: float = 25.0, codec: str = "MJPG") -> Path:
    """Write `(T, H, W, 3)` RGB frames as a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1:3]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    assert video.isOpened(), f"OpenCV cannot write {codec} to {path}"
    for frame in frames:
        video.write(np.ascontiguousarray(frame[..., ::-1]))
    video.release()
    return path


def make_store(
    root: Path, lengths: dict[str, list[int]], height: int = 48, width: int = 64, every: int = 1
) -> FrameStore:
    """Shards of moving textures: clips of the given numbers of frames by class."""
    for label, of_class in lengths.items():
        with ShardWriter(root / f"{label}.zip") as shard:
            for number, length in enumerate(of_class, start=1):
                clip = f"v_{label}_g01_c{number:02d}"
                meta = {"label": label, "group": "g01", "source": "test", "fps": 25.0}
                meta |= {"frames": length, "flow": "dis", "flow_every": every}
                frames = moving_frames(length, height, width, seed=number)
                shard.add(encode_clip(clip, frames, every=every), {clip: meta})
    return FrameStore(root)


def read_video(path: Path, short_side: int = 256) -> tuple[np.ndarray, float]:
    """All frames of a video `(T, H, W, 3)` and its rate."""
    rate, frames = open_video(path, short_side)
    return np.stack(list(frames)), rate


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may have more bytes in the block, as if the disk was full."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory) -> Path:
    """Three classes of three clips each, in UCF101's names, 8 to 10 frames of 64x48."""
    root = tmp_path_factory.mktemp("videos")
    for c, label in enumerate(("JumpRope", "PullUps", "YoYo")):
        for group in (1, 2, 3):
            frames = moving_frames(7 + group, seed=10 * c + group)
            write_video(root / label / f"v_{label}_g{group:02d}_c01.avi", frames)
    return root


@pytest.fixture
def one_core(monkeypatch):
    """Starting workers takes longer than most of what they do in a test."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


@pytest.fixture
def precision(monkeypatch):
    """Set the precision of training for one test."""
    return lambda name: monkeypatch.setenv("TWOSTREAM_PRECISION", name)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The course of tests/tiny_course.py on its generated clips."""
    from tiny_course import make_course  # torch, which most test files do without

    return make_course(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def networks(tiny):
    """Its three trained networks by name."""
    return {name: tiny.trained(name) for name in ("spatial", "temporal", "conv")}
