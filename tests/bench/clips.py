"""Clips of 340×256 px to measure with, as shards and as folders of the very same JPEGs.

Frames of real UCF101 videos where there are any (TWOSTREAM_SHARED_DATA, or ../shared/data, with
ucf101_clips in it), else textures that move. Both are made once, under data/bench.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from measure import ROOT, Sizes

from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.data.video import open_video
from twostream_utils.profiles import get_profile
from twostream_utils.stacks import StackDataset
from twostream_utils.store import FrameStore
from twostream_utils.views import View

DIRECTIONS = {"Right": (1, 0), "Left": (-1, 0), "Down": (0, 1), "Up": (0, -1)}


def moving_texture(label: str, seed: int, height: int, frames: int = 110) -> np.ndarray:
    """A smooth random texture that moves towards ``label``, ``(frames, height, W, 3)`` uint8.

    W is 340/256 of the height as in UCF101; the speed 1 to 3 px a frame.
    """
    rng = np.random.default_rng(seed)
    noise = rng.random((height, round(height * 340 / 256), 3), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3, borderType=cv2.BORDER_REFLECT)
    image = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    dx, dy = rng.integers(1, 4) * np.array(DIRECTIONS[label])
    return np.stack([np.roll(image, (t * dy, t * dx), axis=(0, 1)) for t in range(frames)])


def encode(
    label: str, group: int, number: int, frames: np.ndarray, flow_scale: float = 1.0
) -> tuple:
    """A film as a shard takes it: its label, the members, what is known of it."""
    name = f"v_{label}_g{group:02d}_c{number:02d}"
    flow = "dis" if flow_scale == 1 else "dis_small"
    meta = {"label": label, "group": f"g{group:02d}", "source": "bench", "fps": 25.0,
            "frames": len(frames), "flow": flow}  # fmt: skip
    meta |= {"flow_scale": flow_scale} if flow_scale != 1 else {}
    return label, encode_clip(name, frames, flow, flow_scale=flow_scale), {name: meta}


def write_shards(root: Path, films: Iterable[tuple]) -> None:
    """Write films, what :func:`encode` takes, label by label, to a shard for each label."""
    # Idle workers leave soon: a process that has some does not end before.
    parallel = Parallel(n_jobs=-1, return_as="generator", idle_worker_timeout=2)
    encoded = parallel(delayed(encode)(*film) for film in films)
    for label, clips in groupby(encoded, key=itemgetter(0)):
        with ShardWriter(root / f"{label}.zip") as shard:
            for _, members, meta in clips:
                shard.add(members, meta)


def films(count: int, frames: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """``count`` films ``(frames, H, W, 3)`` uint8 RGB of ``size`` = (W, H): real ones if there are
    enough that are long enough, else textures."""
    shared = Path(os.environ.get("TWOSTREAM_SHARED_DATA") or ROOT.parent / "shared" / "data")
    videos = sorted((shared / "ucf101_clips").glob("*/*.avi"))
    sources = (open_video(path, 10_000)[1] for path in videos[:: len(videos) // (3 * count) or 1])
    textures = (moving_texture([*DIRECTIONS][k % 4], k, size[1], frames) for k in range(count))
    found = (
        [cv2.resize(f, size) for f in islice(film, frames)] for film in chain(sources, textures)
    )
    yield from islice((np.stack(film) for film in found if len(film) == frames), count)


def write_video(path: Path, frames: np.ndarray) -> Path:
    """Write frames ``(T, H, W, 3)`` uint8 RGB as a video and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter_fourcc(*"MJPG")
    video = cv2.VideoWriter(str(path), fourcc, 25.0, frames.shape[2:0:-1])
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    video.release()
    return path


def shards(sizes: Sizes, flow_scale: float = 1.0) -> Path:
    """Return the folder of the shard with ``sizes.clips`` clips, made if it is not there."""
    kind = "" if flow_scale == 1 else f"_flow{flow_scale}"
    root = sizes.data / f"{sizes.clips}x{sizes.frames}_{sizes.height}px{kind}"
    if not (root / "JumpRope.zip").exists():
        found = enumerate(films(sizes.clips, sizes.frames, sizes.frame), start=1)
        write_shards(root, (("JumpRope", group, 1, frames, flow_scale) for group, frames in found))
    return root


def folders(sizes: Sizes) -> Path:
    """Return a folder of JPEG files, the very bytes of :func:`shards`, made if it is not there."""
    source = shards(sizes)
    target = source.with_name(source.name + "_folders")
    if not target.exists():
        part = target.with_name(target.name + ".partial")
        shutil.rmtree(part, ignore_errors=True)
        with zipfile.ZipFile(source / "JumpRope.zip") as shard:
            shard.extractall(part)
        part.rename(target)
    return target


class PlainCrops(StackDataset):
    """Training clips whose random square has just the size of the crop: nothing is resized."""

    def views(self, index: int) -> list[View]:
        (view,) = super().views(index)
        side, rng = self.profile.crop, np.random.default_rng((self.epoch, index))
        height, width = self.store.size(self.clips[index % len(self.clips)])
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        return [replace(view, top=int(top), left=int(left), side=side, width=0)]


def dataset(
    sizes: Sizes, of: type = StackDataset, repeat: int = 1, flow_scale: float = 1.0, **changes
) -> StackDataset:
    """Both streams of the bench clips in the full-size profile at ``sizes``: 10 frames 10 apart,
    50 fields 2 apart, a 7/8 crop. ``changes`` go to the profile."""
    store = FrameStore(shards(sizes, flow_scale))
    profile = get_profile("ucf101", short_side=sizes.height, crop=sizes.crop, **changes)
    both = ("rgb", "flow")
    return of(store, store.clips, ["JumpRope"], profile, both, train=True, repeat=repeat)
