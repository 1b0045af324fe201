"""Folder of labelled videos → shards, with every core busy and nothing lost to a kill."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm.auto import tqdm

from ..files import NO_ROOM
from ..flow import BOUND
from ..profiles import Profile
from ..splits import SPELLING, parse_name
from .estimate import Estimate
from .extract_report import Report, count_shard, write_skipped
from .lock import locked
from .pool import cores, in_order
from .shards import FLOW_METHODS, QUALITY, ShardWriter, encode_clip
from .video import VIDEO_SUFFIXES, VideoError, open_video

__all__ = ["Report", "ShardWriter", "VideoError", "encode_clip", "extract", "other_shards"]


@dataclass(frozen=True)
class _Task:
    """One video on its way to a worker."""

    path: Path
    clip: str
    label: str
    group: str
    short_side: int
    method: str
    every: int


def extract(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    short_side: int = 256,
    method: str = "dis",
    every: int = 1,
    group_pattern: str | None = None,
    workers: int | None = None,
    classes: Iterable[str] | None = None,
    progress: bool = True,
) -> Report:
    """Folder of class folders of videos → `<out>/<Class>.zip`, one shard per class.

    A shard gets its final name when it is whole: after a kill at any moment the next call keeps
    the whole ones and goes on. A shard whose videos (names and sizes) or settings have changed is
    made anew. Videos that cannot be used are left out, reported and listed in `<out>/skipped.txt`.

    Args:
        source: `<source>/<class>/<clip>.avi` (or mp4, mov, mkv, …, in upper case too).
        out: folder for the shards.
        short_side: px; larger videos are scaled down to it, smaller ones are left alone.
        method: flow method, see `flow.compute_flow`; "raft" (see `raft.py`) wants a GPU.
        every: N extracts only the flow fields 1, 1 + N, 1 + 2 N, …: enough for stacks whose
            `flow_step` is a multiple of N, in an Nth of the time.
        group_pattern: regular expression whose first bracket finds the group in the file's stem,
            e.g. `^([a-z]+)_`; by default `_gNN_`. A clip without a match is a group by itself.
        workers: processes, one video each at a time; default: one per core, for RAFT at most 4,
            each of which has the model on the GPU.
        classes: only these class folders.
        progress: show a bar, and after a minute an estimate of time and disk.

    Raises:
        FileNotFoundError: no such source, or no videos in it.
        ValueError: unknown method or class, a broken pattern, nothing readable.
        RuntimeError: RAFT's weights cannot be fetched.
        OSError: another command writes to `out`, or the disk is full; whole shards are kept.
    """
    source, out = Path(source), Path(out)
    if method not in FLOW_METHODS:
        raise ValueError(f"unknown flow method {method!r}; choose one of {', '.join(FLOW_METHODS)}")
    if every < 1:
        raise ValueError(f"every must be 1 or more, got {every}")
    settings = {
        "format": 1,
        "short_side": short_side,
        "flow_method": method,
        "group_pattern": group_pattern,
        "quality": QUALITY,
        "bound": BOUND,
    }
    if every > 1:  # left out otherwise, so that older shards stay good
        settings["flow_every"] = every
    report = Report()
    plan = _plan(source, out, settings, classes, report)
    if method == "raft":
        from .raft import load_raft

        load_raft()  # once, before many workers would fetch the weights at the same time
        workers = workers or min(cores(), 4)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        _write_shards(plan, out, settings, workers, progress, report)
    if not report.clips:
        first = ": ".join(report.skipped[0])
        raise ValueError(
            f"none of the {len(report.skipped)} videos in {source} could be used; {first}"
        )
    return report


def _write_shards(
    plan: dict[str, list[_Task]],
    out: Path,
    settings: dict,
    workers: int | None,
    progress: bool,
    report: Report,
) -> None:
    for stale in out.glob("*.zip.partial"):
        stale.unlink()
    shards = {label: out / f"{label}.zip" for label in plan}
    infos = {
        label: {
            "settings": settings,
            "sources": {task.path.name: task.path.stat().st_size for task in tasks},
        }
        for label, tasks in plan.items()
    }
    todo = []
    for label in plan:
        clips = _finished(shards[label], infos[label], report)
        if clips is None:
            todo.append(label)
        else:
            report.reused.append(shards[label])
            count_shard(report, shards[label], clips)
    tasks = [task for label in todo for task in plan[label]]
    estimate = Estimate(out, sum(sum(infos[label]["sources"].values()) for label in todo))
    with (
        contextlib.closing(in_order(_encode, tasks, workers)) as results,
        tqdm(total=len(tasks), unit="video", disable=not progress or not tasks) as bar,
    ):
        for label in todo:
            bar.set_postfix_str(label)
            _write_shard(shards[label], infos[label], plan[label], results, bar, estimate, report)
    report.skipped.sort()
    write_skipped(out / "skipped.txt", report.skipped)


def _plan(
    source: Path, out: Path, settings: dict, classes: Iterable[str] | None, report: Report
) -> dict[str, list[_Task]]:
    """Videos to read by label; what cannot become a clip goes to `report.skipped`."""
    pattern = settings["group_pattern"]
    try:
        regex = re.compile(pattern or r"_(g\d{2})(?:_|$)")
    except re.error as error:
        raise ValueError(f"group pattern {pattern!r} is no regular expression: {error}") from error
    if regex.groups < 1:
        raise ValueError(f"group pattern {pattern!r} lacks a bracket for the group: '^([a-z]+)_'")
    plan: dict[str, list[_Task]] = {}
    seen: dict[str, str] = {}
    for folder in _class_folders(source, out, classes):
        videos = _videos(folder)
        if not videos:
            report.skipped.append((f"{folder.name}/", "no videos in this folder"))
            continue
        label = SPELLING.get(folder.name, folder.name)
        tasks = plan.setdefault(label, [])
        for path in videos:
            clip = _clip_name(label, path.stem)
            name = f"{folder.name}/{path.name}"
            if clip in seen:
                report.skipped.append((name, f"would be clip {clip}, as {seen[clip]} already is"))
                continue
            seen[clip] = name
            match = regex.search(path.stem)
            group = match[1] if match and match[1] else clip
            tasks.append(
                _Task(path, clip, label, group, settings["short_side"], settings["flow_method"],
                      settings.get("flow_every", 1))
            )  # fmt: skip
    return plan


def other_shards(source: Path, out: Path) -> list[Path]:
    """Zips in `out` of classes that `source` has no videos of: a store of `out` reads them, too."""
    folders = _class_folders(source, out, None)
    labels = {SPELLING.get(folder.name, folder.name) for folder in folders if _videos(folder)}
    return sorted(path for path in out.glob("*.zip") if path.stem not in labels)


def _class_folders(source: Path, out: Path, classes: Iterable[str] | None) -> list[Path]:
    if not source.is_dir():
        raise FileNotFoundError(f"no folder {source}; give one with a folder of videos per class")
    folders = [
        path
        for path in sorted(source.iterdir(), key=lambda path: (path.name.lower(), path.name))
        if path.is_dir() and not path.name.startswith(".") and path.resolve() != out.resolve()
    ]
    if not any(_videos(folder) for folder in folders):
        if _videos(source):
            raise ValueError(
                f"{source} is itself a folder of videos, one class; give the folder above it: "
                f"{source.resolve().parent}"
            )
        raise FileNotFoundError(
            f"no videos in the folders of {source}; looked for <class>/<clip> with one of "
            f"{' '.join(VIDEO_SUFFIXES)}"
        )
    if classes is None:
        return folders
    wanted = set(classes)
    if missing := wanted - {folder.name for folder in folders}:
        raise ValueError(
            f"no class {', '.join(sorted(missing))} in {source}, which has "
            f"{', '.join(folder.name for folder in folders)}"
        )
    return [folder for folder in folders if folder.name in wanted]


def _videos(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    )


def _clip_name(label: str, stem: str) -> str:
    try:
        parse_name(stem)
    except ValueError:
        return f"v_{label}_{stem}"
    return stem


def _finished(shard: Path, info: dict, report: Report) -> dict[str, dict] | None:
    """`clips.json` of a whole shard made from these videos with these settings, else None."""
    try:
        with zipfile.ZipFile(shard) as file:
            made_from = json.loads(file.read("dataset.json"))
            clips = json.loads(file.read("clips.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    skipped = made_from.pop("skipped", [])
    if made_from != info:
        return None
    report.skipped.extend((name, reason) for name, reason in skipped)
    return clips


def _write_shard(
    shard: Path,
    info: dict,
    tasks: list[_Task],
    results: Iterator[tuple[list, float] | str],
    bar: tqdm,
    estimate: Estimate,
    report: Report,
) -> None:
    info["skipped"] = []
    try:
        with ShardWriter(shard, info) as writer:
            for task in tasks:
                result = next(results)
                bar.update()
                source = f"{task.path.parent.name}/{task.path.name}"
                members = [] if isinstance(result, str) else result[0]
                written = sum(len(data) for _, data in members)
                if (line := estimate.add(task.path.stat().st_size, written)) and not bar.disable:
                    bar.write(line)
                if isinstance(result, str):
                    info["skipped"].append((source, result))
                    continue
                meta = {
                    "label": task.label,
                    "group": task.group,
                    "source": source,
                    "fps": result[1],
                    "frames": sum(name.startswith("jpegs_256/") for name, _ in members),
                    "flow_method": task.method,
                }
                if task.every > 1:
                    meta["flow_every"] = task.every
                writer.add(members, {task.clip: meta})
    except OSError as error:
        if error.errno in NO_ROOM:
            raise OSError(
                error.errno,
                f"no room left while writing {shard}; the shards that are whole are kept: free "
                "some space and run the same command again",
            ) from error
        raise
    report.skipped.extend(info["skipped"])
    if writer.clips:
        report.written.extend(writer.clips)
        count_shard(report, shard, writer.clips)
    else:
        shard.unlink(missing_ok=True)


def _encode(task: _Task) -> tuple[list[tuple[str, bytes]], float] | str:
    """Members of a clip and its frame rate, or the reason why the video cannot be used."""
    try:
        rate, frames = open_video(task.path, task.short_side)
        return encode_clip(task.clip, frames, task.method, every=task.every), rate
    except VideoError as error:
        return error.reason
    except (ValueError, OSError, cv2.error) as error:
        return " ".join(str(error).split())


def make_shards(videos: str | Path, root: Path, profile: Profile) -> None:
    """Extract a folder of class folders with videos to shards in ``root``, in a profile's sizes.

    Goes on where an earlier call was interrupted, and prints what was left out and why.

    Raises ``ValueError`` where ``root`` has shards of classes that ``videos`` does not have and the
    profile names none: they would be trained on with the rest.
    """
    if profile.classes is None and (others := other_shards(Path(videos), root)):
        raise ValueError(
            f"{root} has shards of classes that {videos} does not have: "
            f"{', '.join(path.name for path in others)}. They come from another folder of videos, "
            "or a class was renamed since, and would be trained on with the rest. Move them "
            "elsewhere or delete them, then do the same again"
        )
    report = extract(
        videos, root, short_side=profile.short_side, group_pattern=profile.group_pattern,
        classes=profile.classes,
    )  # fmt: skip
    for name, reason in report.skipped:
        print(f"skipped {name}: {reason}")
