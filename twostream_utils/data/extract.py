"""Folder of labelled videos → shards, with every core busy and nothing lost to a kill."""

from __future__ import annotations

import errno
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
from tqdm.auto import tqdm

from ..files import atomic_write
from ..flow import ALGORITHMS, BOUND
from ..profiles import Profile
from ..splits import SPELLING, parse_name
from .processes import locked, parallel_map
from .shards import QUALITY, ShardWriter, encode_clip
from .video import VIDEO_SUFFIXES, VideoError, open_video


class _Video(NamedTuple):
    """One video, and the clip that it becomes."""

    path: Path
    clip: str
    label: str
    group: str

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass
class Report:
    """What `extract` did: clips written now, shards kept from before, videos left out and why.

    `frames`, `megabytes` and `ungrouped` (clips that are their own group because no group could
    be read from the name) count the whole of `out` for the classes asked for.
    """

    written: list[str] = field(default_factory=list)
    reused: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    clips: int = 0
    frames: int = 0
    megabytes: float = 0.0
    ungrouped: int = 0


def extract(
    source: str | os.PathLike, out: str | os.PathLike, *, short_side: int = 256,
    algorithm: str = "dis", every: int = 1, group_pattern: str | None = None,
    workers: int | None = None, classes: Iterable[str] | None = None, progress: bool = True,
) -> Report:  # fmt: skip
    """Folder of class folders of videos → `<out>/<Class>.zip`, one shard per class.

    A shard gets its final name when it is whole: after a kill at any moment the next call keeps
    the whole ones and goes on. A shard whose videos (names and sizes) or settings have changed is
    made anew. Videos that cannot be used are left out, reported and listed in `<out>/skipped.txt`.

    Args:
        source: `<source>/<class>/<clip>.avi` (or mp4, mov, mkv, …, in upper case too).
        out: folder for the shards.
        short_side: px; larger videos are scaled down to it, smaller ones are left alone.
        algorithm: of the flow, see `flow.compute_flow`; `clips.json` of each shard says which.
        every: N extracts only the flow fields 1, 1 + N, 1 + 2 N, …: enough for stacks whose
            `flow_step` is a multiple of N, in an Nth of the time.
        group_pattern: regular expression whose first bracket finds the group in the file's stem,
            e.g. `^([a-z]+)_`; by default `_gNN_`. A clip without a match is a group by itself.
        workers: processes, one video each at a time; default: one per core.
        classes: only these class folders.
        progress: show a bar.

    Raises:
        FileNotFoundError: no such source, or no videos in it.
        ValueError: unknown algorithm or class, a broken pattern, nothing readable.
        OSError, RuntimeError: another command writes to `out`, the disk is full, a worker was
            killed; whole shards are kept.
    """
    source, out = Path(source), Path(out)
    if algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise ValueError(f"unknown flow algorithm {algorithm!r}; choose one of {known}")
    if every < 1:
        raise ValueError(f"every must be 1 or more, got {every}")
    settings = {
        "format": 1, "short_side": short_side, "flow": algorithm, "group_pattern": group_pattern,
        "quality": QUALITY, "bound": BOUND,
    }  # fmt: skip
    if every > 1:  # left out otherwise, so that older shards stay good
        settings["flow_every"] = every
    report = Report()
    plan = _plan(_class_folders(source, out, classes), group_pattern, report)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        for left in out.glob("*.zip.*partial"):  # by a kill
            left.unlink()
        _make_shards(plan, out, settings, workers, progress, report)
        report.skipped.sort()
        (out / "skipped.txt").unlink(missing_ok=True)
        if report.skipped:
            with atomic_write(out / "skipped.txt") as part:
                part.write_text("".join(f"{a}\t{b}\n" for a, b in report.skipped), "utf-8")
    if not report.clips:
        n, first = len(report.skipped), ": ".join(report.skipped[0])
        raise ValueError(f"none of the {n} videos in {source} could be used; {first}")
    return report


def _class_folders(source: Path, out: Path, classes: Iterable[str] | None) -> dict[Path, list]:
    """The class folders of `source`, A to Z, with their videos."""
    if not source.is_dir():
        raise FileNotFoundError(f"no folder {source}; give one with a folder of videos per class")
    folders = {
        path: _videos(path)
        for path in sorted(source.iterdir(), key=lambda path: (path.name.lower(), path.name))
        if path.is_dir() and path.name[0] != "." and path.resolve() != out.resolve()
    }
    if not any(folders.values()):
        if _videos(source):
            raise ValueError(
                f"{source} is itself a folder of videos, one class; give the folder above it: "
                f"{source.resolve().parent}"
            )
        looked = f"looked for <class>/<clip> with one of {' '.join(VIDEO_SUFFIXES)}"
        raise FileNotFoundError(f"no videos in the folders of {source}; {looked}")
    wanted = {folder.name for folder in folders} if classes is None else set(classes)
    if missing := wanted - {folder.name for folder in folders}:
        there = ", ".join(folder.name for folder in folders)
        raise ValueError(f"no class {', '.join(sorted(missing))} in {source}, which has {there}")
    return {folder: videos for folder, videos in folders.items() if folder.name in wanted}


def _videos(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    return sorted(path for path in files if path.name[0] != "." and path.is_file())


def _plan(folders: dict[Path, list], pattern: str | None, report: Report) -> dict[str, list]:
    """The `_Video`s to read by label; what cannot become a clip goes to `report.skipped`."""
    try:
        regex = re.compile(pattern or r"_(g\d{2})(?:_|$)")
    except re.error as error:
        raise ValueError(f"group pattern {pattern!r} is no regular expression: {error}") from error
    if regex.groups < 1:
        raise ValueError(f"group pattern {pattern!r} lacks a bracket for the group: '^([a-z]+)_'")
    plan: dict[str, list[_Video]] = {}
    seen: dict[str, str] = {}
    for folder, paths in folders.items():
        if not paths:
            report.skipped.append((f"{folder.name}/", "no videos in this folder"))
            continue
        label = SPELLING.get(folder.name, folder.name)
        videos = plan.setdefault(label, [])
        for path in paths:
            clip = f"v_{label}_{path.stem}"
            with suppress(ValueError):
                parse_name(path.stem)
                clip = path.stem
            match = regex.search(path.stem)
            video = _Video(path, clip, label, match and match[1] or clip)
            if (first := seen.setdefault(clip, video.name)) == video.name:
                videos.append(video)
            else:
                report.skipped.append((video.name, f"would be clip {clip}, as {first} already is"))
    return plan


def _make_shards(
    plan: dict, out: Path, settings: dict, workers: int | None, progress: bool, report: Report
) -> None:
    """Make the shards that are not there yet, whole and from these videos with these settings."""
    infos = {}
    for label, videos in plan.items():
        sources = {video.path.name: video.path.stat().st_size for video in videos}
        infos[label] = {"settings": settings, "sources": sources}
    found = {label: _finished(out / f"{label}.zip", infos[label]) for label in plan}
    due = [video for label, videos in plan.items() if not found[label] for video in videos]
    results = parallel_map(partial(_encode, settings=settings), due, workers)
    bar = tqdm(total=len(due), unit="video", disable=not (progress and due))
    with closing(results), bar:
        for label, videos in plan.items():
            shard = out / f"{label}.zip"
            if found[label]:
                clips, skipped = found[label]
                report.reused.append(shard)
            else:
                bar.set_postfix_str(label)
                clips, skipped = _write_shard(shard, infos[label], videos, results, bar)
                report.written.extend(clips)
            report.skipped.extend(map(tuple, skipped))
            if not clips:
                shard.unlink(missing_ok=True)  # of an earlier run
                continue
            report.megabytes += shard.stat().st_size / 1e6
            report.clips += len(clips)
            report.frames += sum(meta["frames"] for meta in clips.values())
            report.ungrouped += sum(meta["group"] == clip for clip, meta in clips.items())


def _finished(shard: Path, info: dict) -> tuple[dict[str, dict], list] | None:
    """`clips.json` and what was skipped of a whole shard that was made from `info`, else None."""
    try:
        with zipfile.ZipFile(shard) as file:
            made_from = json.loads(file.read("dataset.json"))
            clips = json.loads(file.read("clips.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    skipped = made_from.pop("skipped", [])
    settings, wanted = made_from.get("settings", {}), info["settings"]["flow"]
    # Older shards do not say whether their "dis" is the fine one: they are taken for either.
    if (older := settings.pop("flow_method", None)) and wanted in (older, f"{older}_fine"):
        settings["flow"] = wanted
    return (clips, skipped) if made_from == info else None


def _write_shard(
    shard: Path, info: dict, videos: list[_Video], results: Iterator, bar: tqdm
) -> tuple[dict[str, dict], list]:
    skipped = info["skipped"] = []
    try:
        with ShardWriter(shard, info) as writer:
            for video, (members, meta) in zip(videos, results):
                bar.update()
                if isinstance(meta, str):
                    skipped.append((video.name, meta))
                else:
                    writer.add(members, {video.clip: meta})
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        kept = "the shards that are whole are kept: free some space and run the same command again"
        raise OSError(error.errno, f"no room left while writing {shard}; {kept}") from error
    return writer.clips, skipped


def _encode(video: _Video, settings: dict) -> tuple[list[tuple[str, bytes]], dict | str]:
    """Members of a clip and its entry of `clips.json`, or the reason why it cannot be used."""
    every = settings.get("flow_every", 1)
    try:
        rate, frames = open_video(video.path, settings["short_side"])
        members = encode_clip(video.clip, frames, settings["flow"], every=every)
    except VideoError as error:
        return [], error.reason
    except (ValueError, OSError, cv2.error) as error:
        return [], " ".join(str(error).split())
    frames = sum(name.startswith("jpegs_256/") for name, _ in members)
    meta = {"label": video.label, "group": video.group, "source": video.name, "fps": rate}
    meta |= {"frames": frames, "flow": settings["flow"]}
    return members, meta | ({"flow_every": every} if every > 1 else {})


def make_shards(videos: str | Path, root: Path, profile: Profile, every: int = 1) -> None:
    """Extract a folder of class folders with videos to shards in ``root``, in a profile's sizes.

    ``every`` as in :func:`extract`.

    Goes on where an earlier call was interrupted, and prints what was left out and why.

    Raises ``ValueError`` where ``root`` has shards of classes that ``videos`` does not have and the
    profile names none: they would be trained on with the rest.
    """
    folders = _class_folders(Path(videos), root, None)
    labels = {SPELLING.get(folder.name, folder.name) for folder in folders if folders[folder]}
    others = sorted(path.name for path in root.glob("*.zip") if path.stem not in labels)
    if others and profile.classes is None:
        raise ValueError(
            f"{root} has shards of classes that {videos} does not have: {', '.join(others)}. They "
            "come from another folder of videos, or a class was renamed since, and would be "
            "trained on with the rest. Move them elsewhere or delete them, then do the same again"
        )
    report = extract(
        videos, root, short_side=profile.short_side, algorithm=profile.flow,
        group_pattern=profile.group_pattern, classes=profile.classes, every=every,
    )  # fmt: skip
    for name, reason in report.skipped:
        print(f"skipped {name}: {reason}")
