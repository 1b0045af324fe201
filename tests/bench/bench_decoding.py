"""Rows of `make bench` on other ways to decode a clip's JPEGs, each against OpenCV's own.

What OpenCV cannot do, reading only some rows of a JPEG, has a row that says what it could save at
most. Python wrappers of libjpeg-turbo are left out: that decoder is the one inside OpenCV.
torchvision's is deprecated since 0.29.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import bench_clips
import cv2
import numpy as np
import torch
from bench_loader import jpegs
from measure import Sample, Sizes, row, stopwatch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from twostream_utils.data.shards import QUALITY

OPENCV = "cv2.imdecode of the same JPEGs"
File = tuple[np.ndarray, int]  # bytes, and the cv2 flag that says colour or grey


def clip_files(sizes: Sizes) -> list[list[File]]:
    """The JPEGs that a training clip shows, 10 frames and 50 fields, for each clip."""
    dataset = bench_clips.clips(sizes)
    folder = bench_clips.folders(sizes)
    return [list(jpegs(dataset, folder, index)) for index in range(len(dataset))]


def opencv(data: np.ndarray, how: int) -> np.ndarray:
    return cv2.imdecode(data, how)


def each(decode: Callable, clips: list[list[File]]) -> Sample:
    """The sample that calls ``decode(data, how)`` for every file, ms a clip."""
    files = [file for clip in clips for file in clip]
    return stopwatch(lambda: [decode(*file) is None for file in files], len(clips))


def encoded(picture: np.ndarray, how: int) -> File:
    """A picture as a JPEG again, in the quality of the shards."""
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return data.ravel(), how


def pairs(sizes: Sizes) -> tuple[list[list[File]], list[list[File]]]:
    """Flow as one JPEG a field, u above v, and as two; both are encoded here."""
    packed, apart = [], []
    for clip in clip_files(sizes):
        fields = [opencv(*file) for file in clip if file[1] == cv2.IMREAD_GRAYSCALE]
        half = len(fields) // 2
        both = zip(fields[:half], fields[half:])
        packed.append([encoded(np.vstack(pair), cv2.IMREAD_GRAYSCALE) for pair in both])
        apart.append([encoded(field, cv2.IMREAD_GRAYSCALE) for field in fields])
    return packed, apart


@row("flow as one JPEG a field, u above v", "as two JPEGs, cv2.imdecode", one_core=True)
def decode_pairs(sizes: Sizes) -> Iterator:
    packed, apart = pairs(sizes)
    yield each(opencv, packed), each(opencv, apart)


@row("size of flow as one JPEG a field, u above v", "as two JPEGs", "kB a clip", rounds=1)
def decode_pairs_size(sizes: Sizes) -> Iterator:
    packed, apart = (
        sum(len(data) for clip in clips for data, _ in clip) / 1000 / len(clips)
        for clips in pairs(sizes)
    )
    yield lambda: packed, lambda: apart


@row("only the rows of a 224 px crop: what skipping the others saves at most",
     "whole frames, cv2.imdecode", one_core=True)  # fmt: skip
def decode_rows(sizes: Sizes) -> Iterator:
    clips = clip_files(sizes)
    top = (sizes.height - sizes.crop) // 2
    rows = slice(top, top + sizes.crop)
    cut = [[encoded(opencv(*file)[rows], file[1]) for file in clip] for clip in clips]
    whole = [[encoded(opencv(*file), file[1]) for file in clip] for clip in clips]
    yield each(opencv, cut), each(opencv, whole)


def reduced(data: np.ndarray, how: int) -> np.ndarray:
    """Half the height and width, left out in the decoder itself."""
    colour = how == cv2.IMREAD_COLOR
    return cv2.imdecode(
        data, cv2.IMREAD_REDUCED_COLOR_2 if colour else cv2.IMREAD_REDUCED_GRAYSCALE_2
    )


def resized(data: np.ndarray, how: int) -> np.ndarray:
    picture = cv2.imdecode(data, how)
    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


@row("decoding at half the size, IMREAD_REDUCED", "cv2.imdecode, then cv2.resize", one_core=True)
def decode_reduced(sizes: Sizes) -> Iterator:
    clips = clip_files(sizes)
    yield each(reduced, clips), each(resized, clips)


def pillow(data: np.ndarray, how: int) -> np.ndarray:
    """The same by Pillow, whose draft mode is libjpeg's scaling too."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft(image.mode, (image.width // 2, image.height // 2))
        return np.asarray(image)


@row("decoding at half the size, Pillow's draft mode", "cv2.imdecode, IMREAD_REDUCED",
     one_core=True)  # fmt: skip
def decode_pillow(sizes: Sizes) -> Iterator:
    clips = clip_files(sizes)
    yield each(pillow, clips), each(reduced, clips)


def mode(how: int) -> ImageReadMode:
    return ImageReadMode.RGB if how == cv2.IMREAD_COLOR else ImageReadMode.GRAY


def torchvision(data: np.ndarray, how: int) -> torch.Tensor:
    return decode_jpeg(torch.from_numpy(data), mode(how))


def writable(clips: list[list[File]]) -> list[list[File]]:
    """Copies that torch takes without a warning."""
    return [[(data.copy(), how) for data, how in clip] for clip in clips]


@row("torchvision.io.decode_jpeg on the CPU", OPENCV, one_core=True)
def decode_torchvision(sizes: Sizes) -> Iterator:
    clips = writable(clip_files(sizes))
    yield each(torchvision, clips), each(opencv, clips)


@row("torchvision.io.decode_jpeg on the GPU (nvJPEG)", OPENCV, one_core=True, gpu=True)
def decode_nvjpeg(sizes: Sizes) -> Iterator:
    clips = writable(clip_files(sizes))

    def on_the_gpu() -> None:
        for clip in clips:
            for how in (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE):
                data = [torch.from_numpy(d) for d, kind in clip if kind == how]
                decode_jpeg(data, mode(how), device="cuda")
        torch.cuda.synchronize()

    yield stopwatch(on_the_gpu, len(clips)), each(opencv, clips)
