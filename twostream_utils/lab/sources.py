"""Where the videos of a profile come from, all in the words of a zip: namelist() and read(name)."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import av
import numpy as np

from ..data.extract import Report, class_folders, make_shards
from ..data.fetch import UCF101, WEIZMANN, FetchError, fetch, open_remote
from ..mini.clip import CLASSES, render_clip
from ..mini.generate import CLIPS_PER_GROUP, FPS, GROUPS
from ..profiles import Profile
from ..store import FrameStore, find_archives
from .start import ROOT, prepare_data, sentence_alone, shown

SERVED = {"ucf101": UCF101, "weizmann": WEIZMANN}  # by the data of a profile
NO_INTERNET = (
    "If this machine has no internet, fetch on one that has and copy the folder, or take the "
    "profile 'mini', whose clips are made on the spot"
)


class Source:
    """Videos by name, `<class>/<clip>.avi`, each made or read when it is asked for.

    `about` says where they come from, and `folder` is a place for them: that of all fetched videos
    for a server's, a temporary one for those that are here or can be made again.
    """

    def __init__(
        self, about: str, videos: Mapping[str, Callable[[], bytes]], folder: Path | None = None
    ) -> None:
        self.about, self._videos = about, dict(videos)
        if folder is None:  # on Windows, a chapter has a zip of it open to the end
            self._temporary = tempfile.TemporaryDirectory("", "clips-", ignore_cleanup_errors=True)
            folder = Path(self._temporary.name)
        self.folder = folder

    def namelist(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._videos)

    def read(self, name: str) -> bytes:
        """The bytes of one video file."""
        return self._videos[name]()


@sentence_alone()
def open_source(profile: Profile) -> Source:
    """The videos of a profile: made here, in your folder, in a zip on a server, or out of shards.

    Raises FetchError where none of them can be had; the message says what to do.
    """
    if profile.source == "generated":
        return Source("made on this machine, when you ask for them", {
            f"{label}/v_{label}_g{group:02d}_c{number:02d}.avi":
                partial(_render, label, group, number)
            for label in CLASSES for group in range(1, GROUPS + 1)
            for number in range(1, CLIPS_PER_GROUP + 1)
        })  # fmt: skip
    root = ROOT / "data" / profile.data
    if folder := os.environ.get("TWOSTREAM_DATA"):
        folders = class_folders(Path(folder), root, profile.classes, Report())
        files = {f"{label}/{path.name}": path.read_bytes
                 for _, label, paths in folders for path in paths if path.is_file()}  # fmt: skip
        if files:  # and not images alone
            return Source(f"your folder {folder}", files)
    failed = "this profile has no source"
    if videos := SERVED.get(profile.data):
        try:
            where, read = open_remote(videos, profile.classes)
            return Source(where, read, root.with_name(f"{root.name}_videos"))
        except FetchError as error:
            failed = str(error)
    if root.is_dir():
        store = FrameStore(root)
        return Source(f"read back out of {shown(root)}, for no server answers", {
            f"{store.label(clip)}/{clip}.avi": partial(_kept, store, clip) for clip in store.clips
        })  # fmt: skip
    raise FetchError(f"{failed}. {NO_INTERNET}")


def _render(label: str, group: int, number: int) -> bytes:
    return encode_video(render_clip(label, group, number, 0), FPS)


def _kept(store: FrameStore, clip: str) -> bytes:
    return encode_video(store.images(clip, range(1, store.n_frames(clip) + 1)), 25)


def encode_video(frames: Iterable[np.ndarray], rate: float) -> bytes:
    """`(H, W, 3)` uint8 RGB frames → the bytes of an .avi file (Motion JPEG, hardly any loss)."""
    buffer, stream = io.BytesIO(), None
    with av.open(buffer, "w", format="avi") as file:
        for frame in frames:
            if stream is None:
                stream = file.add_stream("mjpeg", rate=round(rate))
                stream.codec_context.qmin = stream.codec_context.qmax = 2  # the best it has
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuvj420p"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        file.mux(stream.encode())
    return buffer.getvalue()


@sentence_alone()
def get_data(profile: Profile) -> Path:
    """All that a profile needs, as shards; what is there is kept. Returns their folder.

    The mini set is generated; a folder of your own is extracted; UCF101 and Weizmann are fetched,
    unless their shards are whole, and extracted with as many flow fields as the profile reads.
    """
    videos = SERVED.get(profile.data)
    root = ROOT / "data" / profile.data
    given = os.environ.get("TWOSTREAM_DATA")
    if given or not videos:
        return prepare_data(profile, given)
    there, known = {path.stem for path in root.glob("*.zip")}, {*videos.clips}
    archives = root.is_dir() and find_archives(root) and not there & known  # not of single classes
    if archives or there >= {*(profile.classes or known)}:
        return root
    folder = root.with_name(f"{root.name}_videos")
    try:
        fetch(videos, folder, profile.classes)
    except FetchError as error:
        raise FetchError(f"{error}. {NO_INTERNET}") from error
    make_shards(folder, root, profile, every=profile.flow_step)
    return root
