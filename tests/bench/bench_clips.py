"""Clips of 340×256 px to measure with, as shards and as folders of the very same JPEGs.

Frames of real UCF101 videos where there are any (TWOSTREAM_SHARED_DATA, or ../shared/data, with
ucf101_clips in it), else the moving textures of gpu_check. Both are made once, under data/bench.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from gpu_check import DIRECTIONS, moving_texture
from measure import ROOT, Sizes

from twostream_utils.data.processes import parallel_map
from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.data.video import open_video
from twostream_utils.profiles import Profile, get_profile
from twostream_utils.stacks import StackDataset
from twostream_utils.store import FrameStore
from twostream_utils.views import View


def real_videos() -> list[Path]:
    """Videos of UCF101 on this machine, in order; none is an empty list."""
    shared = Path(os.environ.get("TWOSTREAM_SHARED_DATA") or ROOT.parent / "shared" / "data")
    return sorted((shared / "ucf101_clips").glob("*/*.avi"))


def film(source: Path | int, frames: int, size: tuple[int, int]) -> np.ndarray | None:
    """``frames`` frames of a video, or of texture number ``source``, ``(T, H, W, 3)`` uint8 RGB.

    ``size`` is width and height in px. None for a video that is too short.
    """
    if isinstance(source, int):
        label = list(DIRECTIONS)[source % len(DIRECTIONS)]
        pictures = iter(moving_texture(label, source, size[1])[:frames])
    else:
        _, pictures = open_video(source, 10_000)
    taken = [cv2.resize(picture, size) for _, picture in zip(range(frames), pictures)]
    return np.stack(taken) if len(taken) == frames else None


def films(count: int, frames: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """``count`` films of ``frames`` frames each: real ones if there are enough, else textures."""
    videos = real_videos()
    chosen = videos[:: max(1, len(videos) // (3 * count))] if videos else []
    found = 0
    for source in [*chosen, *range(count)]:
        if found < count and (pictures := film(source, frames, size)) is not None:
            found += 1
            yield pictures


def _encode(job: tuple[str, np.ndarray]) -> list[tuple[str, bytes]]:
    return encode_clip(*job)


def shards(sizes: Sizes) -> Path:
    """Return the folder of shards with ``sizes.clips`` clips, made if it is not there."""
    root = sizes.data / f"{sizes.clips}x{sizes.frames}_{sizes.height}px"
    shard = root / "JumpRope.zip"
    if not shard.exists():
        jobs = [
            (f"v_JumpRope_g{k + 1:02d}_c01", frames)
            for k, frames in enumerate(films(sizes.clips, sizes.frames, sizes.frame))
        ]
        with ShardWriter(shard) as writer:
            for (clip, _), members in zip(jobs, parallel_map(_encode, jobs)):
                meta = {"label": "JumpRope", "group": clip.split("_")[2], "source": "bench",
                        "fps": 25.0, "frames": sizes.frames, "flow": "dis"}  # fmt: skip
                writer.add(members, {clip: meta})
    return root


def folders(sizes: Sizes) -> Path:
    """Return the same clips as folders of JPEGs, unpacked if they are not there."""
    source = shards(sizes)
    target = source.with_name(source.name + "_folders")
    if not target.exists():
        part = target.with_name(target.name + ".partial")
        shutil.rmtree(part, ignore_errors=True)
        with zipfile.ZipFile(source / "JumpRope.zip") as shard:
            shard.extractall(part)
        part.rename(target)
    return target


def profile(sizes: Sizes, **changes) -> Profile:
    """The full-size profile at ``sizes``: 10 frames 10 apart, 50 fields 2 apart, a 7/8 crop."""
    return get_profile("ucf101", short_side=sizes.height, crop=sizes.crop, **changes)


class PlainCrops(StackDataset):
    """Training clips whose random square has just the size of the crop: nothing is resized."""

    def views(self, index: int) -> list[View]:
        (view,) = super().views(index)
        rng = np.random.default_rng((self.seed, self.epoch, index, 2))
        height, width = self.store.size(self.clips[index % len(self.clips)])
        side = self.profile.crop
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        return [replace(view, top=int(top), left=int(left), side=side)]


def clips(sizes: Sizes, of: type = StackDataset, train: bool = True, **changes) -> StackDataset:
    """Both streams of the bench clips as a dataset; ``changes`` go to the profile."""
    store = FrameStore(shards(sizes))
    both = ("rgb", "flow")
    return of(store, store.clips, ["JumpRope"], profile(sizes, **changes), both, train=train)


def write_videos(folder: Path, count: int, frames: int, size: tuple[int, int]) -> list[Path]:
    """Write videos of ``size`` px, one class folder, and return their paths."""
    folder = folder / "JumpRope"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, pictures in enumerate(films(count, frames, size), start=1):
        paths.append(folder / f"v_JumpRope_g{number:02d}_c01.avi")
        video = cv2.VideoWriter(str(paths[-1]), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, size)
        for picture in pictures:
            video.write(np.ascontiguousarray(picture[..., ::-1]))
        video.release()
    return paths


