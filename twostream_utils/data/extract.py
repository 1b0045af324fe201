"""Folder of labelled videos → shards, with every core busy and nothing lost to a kill."""

from __future__ import annotations

import errno
import json
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count
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
from .video import (
    FAST,
    MOST,
    SLOW,
    VideoError,
    common_rate,
    images_in,
    measure_pace,
    open_video,
    paced,
    said_rate,
)

# Folders above the class folders that say what their clips are for, as many data sets have them.
SIDES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip
SHOWN = 40  # files that are named one by one
_SYSTEM = {"thumbs.db", "desktop.ini"}  # and whatever begins with a dot


class _Video(NamedTuple):
    """One video or folder of images, and the clip that it becomes."""

    path: Path
    name: str  # from the source on, as text that can be printed
    clip: str
    label: str
    group: str
    side: str


@dataclass
class Report:
    """What `extract` did: clips written now, shards kept from before, videos left out and why.

    `found` counts the files in the class folders, `nested` the clips whose group is the folder
    that they lie in, `rate` is the common frame rate, `fast` the videos above it and `slow` those
    far below. `frames`, `megabytes` and `ungrouped` (clips that are their own group because no
    group could be read from the name) count the whole of `out` for the classes asked for.
    """

    written: list[str] = field(default_factory=list)
    reused: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    clips: int = 0
    frames: int = 0
    megabytes: float = 0.0
    ungrouped: int = 0
    found: int = 0
    nested: int = 0
    rate: float = 0.0
    fast: int = 0
    slow: int = 0

    def lines(self) -> list[str]:
        """What a reader should know: what was left out and why, groups, frame rates."""
        said = [f"skipped {name}: {reason}" for name, reason in self.skipped[:SHOWN]]
        if left := [reason for name, reason in self.skipped if not name.endswith("/")]:
            kinds = Counter(re.split(r"[:,]", reason)[0] for reason in left).most_common()
            counts = ", ".join(f"{count} × {kind}" for kind, count in kinds)
            said.append(f"{self.found} files found, {len(left)} of them left out: {counts}")
        if self.nested:
            said.append(f"{self.nested} clips lie a folder deeper: that folder is their group")
        if self.fast:
            said.append(
                f"more than {FAST * self.rate:.0f} frames per second: {self.fast} of the videos, "
                f"read at {self.rate:g}, as flow is measured from frame to frame"
            )
        if 0 < self.slow < self.clips:
            said.append(
                f"fewer than {SLOW:g} frames per second: {self.slow} of the videos, read as they "
                "are, so their motion looks faster than that of the others"
            )
        return said


def extract(
    source: str | os.PathLike, out: str | os.PathLike, *, short_side: int = 256,
    algorithm: str = "dis", every: int = 1, flow_scale: float = 1.0,
    group_pattern: str | None = None, rate: float | None = None, workers: int | None = None,
    classes: Iterable[str] | None = None, progress: bool = True,
) -> Report:  # fmt: skip
    """Folder of class folders of videos → `<out>/<Class>.zip`, one shard per class.

    A shard gets its final name when it is whole: after a kill at any moment the next call keeps
    the whole ones and goes on. A shard whose videos (names and contents) or settings have changed
    is made anew. Whatever is in a class folder and cannot be used is left out, reported and listed
    in `<out>/skipped.txt`.

    Args:
        source: `<source>/<class>/<clip>.avi` (mp4, mkv, webm, … or a folder of images), or
            `<class>/<group>/<clip>.avi`; above them there may be train/, val/ and test/.
        out: folder for the shards.
        short_side: px; larger videos are scaled down to it, smaller ones are left alone.
        algorithm: of the flow, see `flow.compute_flow`; `clips.json` of each shard says which.
        every: N extracts only the flow fields 1, 1 + N, 1 + 2 N, …: enough for stacks whose
            `flow_step` is a multiple of N, in an Nth of the time.
        flow_scale: flow is made of frames scaled by it and kept at their size, in px of the full
            frame as ever; `FrameStore` enlarges it again. Below 1 take "dis_small", which is as
            good at half size as "dis" on the whole frame.
        group_pattern: regular expression whose first bracket finds the group in the file's stem,
            e.g. `^([a-z]+)_`; by default `_gNN_`. A clip without a match belongs to the folder
            between class and clip, and without one it is a group by itself.
        rate: frames per second, by time stamps. By default videos are read at one rate, see
            `video.common_rate`: those above it are thinned, uneven ones evened out. 0: as they are.
        workers: processes, one video each at a time; default: one per core.
        classes: only these class folders.
        progress: show a bar.

    Raises:
        FileNotFoundError: no such source, or no videos in it.
        ValueError: unknown algorithm or class, a rate or a scale that cannot be, a broken pattern,
            nothing readable.
        OSError, RuntimeError: another command writes to `out`, the disk is full, a worker was
            killed; whole shards are kept.
    """
    source, out = Path(source), Path(out)
    if algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise ValueError(f"unknown flow algorithm {algorithm!r}; choose one of {known}")
    if every < 1:
        raise ValueError(f"every must be 1 or more, got {every}")
    if rate is not None and not 0 <= rate <= MOST:
        raise ValueError(f"rate must be from 0 to {MOST} frames per second, got {rate}")
    if not 0 < flow_scale <= 1:
        raise ValueError(f"flow_scale must be above 0 and at most 1, got {flow_scale}")
    settings = {
        "format": 1, "short_side": short_side, "flow": algorithm, "group_pattern": group_pattern,
        "quality": QUALITY, "bound": BOUND,
    }  # fmt: skip
    thinned = {"flow_every": every, "flow_scale": flow_scale}
    # Left out where all is kept, so that older shards stay good.
    settings |= {name: value for name, value in thinned.items() if value != 1}
    report = Report()
    plan = _plan(source, class_folders(source, out, classes, report), group_pattern, report)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        for left in out.glob("*.zip.*partial"):  # by a kill
            left.unlink()
        _make_shards(plan, out, settings, rate, workers, progress, report)
        report.skipped.sort()
        text, listed = "".join(f"{a}\t{b}\n" for a, b in report.skipped), out / "skipped.txt"
        if text != (listed.read_text("utf-8") if listed.is_file() else ""):  # may be read only
            listed.unlink(missing_ok=True)
            if text:
                with atomic_write(listed) as part:
                    part.write_text(text, "utf-8")
    if not report.clips:
        n, first = len(report.skipped), ": ".join(report.skipped[0])
        raise ValueError(f"none of the {n} videos in {source} could be used; {first}")
    return report


def class_folders(
    source: Path, out: Path, classes: Iterable[str] | None, report: Report
) -> list[tuple[str, str, list[Path]]]:
    """Side, name and contents of the class folders of `source`, A to Z."""
    if not source.is_dir():
        raise FileNotFoundError(f"no folder {source}; give one with a folder of videos per class")

    def folders(root: Path) -> list[Path]:
        found = (p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
        found = (p for p in found if p.resolve() != out.resolve() and not _leads_up(p, [root]))
        return sorted(found, key=lambda path: (path.name.lower(), path.name))

    tops, sides = [("", source)], [p for p in folders(source) if p.name.lower() in SIDES]
    if len(sides) > 1 and all(map(folders, sides)):
        tops = [(SIDES[path.name.lower()], path) for path in sides]
        report.skipped += [(f"{path.name}/", "a folder beside those of the split")
                           for path in folders(source) if path not in sides]  # fmt: skip
    found = []
    for side, top in tops:
        for folder in folders(top):
            try:
                label = _text(folder, top)
                found.append((side, SPELLING.get(label, label), _clips(folder)))
            except OSError as error:
                report.skipped.append((_text(folder, source), f"cannot be read: {error.strerror}"))
    if not any(paths for *_, paths in found):
        if any(path.is_file() and said_rate(path) for path in source.iterdir()):
            raise ValueError(
                f"{source} is itself a folder of videos, one class; give the folder above it: "
                f"{source.resolve().parent}"
            )
        raise FileNotFoundError(f"no videos in the folders of {source}; looked for <class>/<clip>")
    for path in chain(*(top.iterdir() for top in {source, *(top for _, top in tops)})):
        if path.is_file() and path.name[0] != "." and said_rate(path):
            report.found += 1
            report.skipped.append((_text(path, source), "a video beside the class folders"))
    there = sorted({name for _, name, _ in found})
    wanted = set(there) if classes is None else set(classes)
    if missing := wanted - set(there):
        raise ValueError(
            f"no class {', '.join(sorted(missing))} in {source}, which has {', '.join(there)}"
        )
    return [folder for folder in found if folder[1] in wanted]


def _leads_up(path: Path, inside: Iterable[Path]) -> bool:
    """Is it a link to one of these folders, or to one above: a way without an end?"""
    return path.is_symlink() and any(f.resolve().is_relative_to(path.resolve()) for f in inside)


def _clips(folder: Path, *above: Path) -> list[Path]:
    """What may be a clip in a class folder: files, folders of images, and those one folder down."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name[0] == "." or path.name.lower() in _SYSTEM:
            continue
        if not path.is_dir() or _leads_up(path, [folder, *above]):
            found.append(path)
        elif len(images := images_in(path)) > 1 and len(images) >= 0.5 * len(list(path.iterdir())):
            found.append(path)
        else:
            found.extend(_clips(path, folder, *above))
    return found


def _text(path: Path, source: Path) -> str:
    """A path from the source on, as text that can be printed and kept, whatever bytes it has."""
    name = os.fsencode(path.relative_to(source)).decode("utf-8", "replace")
    return re.sub(r"[\x00-\x1f\ufffd]", "_", name).replace(os.sep, "/")


def _plan(
    source: Path, folders: list, pattern: str | None, report: Report
) -> dict[str, list[_Video]]:
    """The `_Video`s to read by label; what cannot become a clip goes to `report.skipped`."""
    try:
        regex = re.compile(pattern or r"_(g\d{2})(?:_|$)")
    except re.error as error:
        raise ValueError(f"group pattern {pattern!r} is no regular expression: {error}") from error
    if regex.groups < 1:
        raise ValueError(f"group pattern {pattern!r} lacks a bracket for the group: '^([a-z]+)_'")
    plan: dict[str, list[_Video]] = {}
    taken: set[str] = set()
    for side, label, paths in folders:
        if not paths:
            report.skipped.append((f"{side}/{label}/".lstrip("/"), "no videos in this folder"))
            continue
        videos = plan.setdefault(label, [])
        for path in paths:
            report.found += 1
            name = _text(path, source)
            *above, file = name.split("/")[2 if side else 1 :]
            stem, _, suffix = file.rpartition(".") if not path.is_dir() else (file, "", "")
            stem = stem or file
            clip = f"v_{label}_{'_'.join([*above, stem])}"
            with suppress(ValueError):
                parse_name(stem)
                clip = stem
            # Two files of one stem are two clips.
            names = chain((clip, f"{clip}_{side or suffix}"), (f"{clip}_{k}" for k in count(2)))
            clip = next(name for name in names if name not in taken)
            taken.add(clip)
            match = regex.search(stem)
            group = (match and match[1]) or (above[0] if above else clip)
            report.nested += bool(above) and not match
            videos.append(_Video(path, name, clip, label, group, side))
    return plan


def _make_shards(
    plan: dict, out: Path, settings: dict, rate: float | None, workers: int | None, progress: bool,
    report: Report,
) -> None:  # fmt: skip
    """Make the shards that are not there yet, whole and from these videos with these settings."""
    infos = {
        label: {
            "settings": settings,
            "sources": {v.name.split("/", not v.side)[-1]: _content(v.path) for v in videos},
        }
        for label, videos in plan.items()
    }
    if (pace := rate) is None:
        said = {label: [said_rate(v.path) for v in videos] for label, videos in plan.items()}
        report.rate = pace = common_rate(chain(*said.values()))
        for label, rates in said.items():
            fast = sum(FAST * pace < rate < MOST for rate in rates)
            report.fast += fast
            report.slow += sum(0 < rate < SLOW for rate in rates)
            if fast:
                infos[label]["settings"] = settings | {"rate": pace}
    elif rate:
        for info in infos.values():
            info["settings"] = settings | {"rate": rate}
    found = {label: _finished(out / f"{label}.zip", infos[label], plan[label]) for label in plan}
    due = [video for label, videos in plan.items() if not found[label] for video in videos]
    results = parallel_map(partial(_encode, settings, pace, rate is not None), due, workers)
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


def _finished(shard: Path, info: dict, videos: list) -> tuple[dict[str, dict], list] | None:
    """`clips.json` and what was skipped of a whole shard that was made from `info`, else None."""
    try:
        with zipfile.ZipFile(shard) as file:
            made_from = json.loads(file.read("dataset.json"))
            clips = json.loads(file.read("clips.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    skipped = made_from.pop("skipped", [])
    for name, kept in made_from.get("sources", {}).items():
        now = info["sources"].get(name)
        if isinstance(kept, int) and now and kept == now[0]:  # older shards know sizes only
            made_from["sources"][name] = now
    settings, wanted = made_from.get("settings", {}), info["settings"]["flow"]
    if settings.pop("flow_method", None) == wanted:  # what older shards call it
        settings["flow"] = wanted
    # A clip has another name now if a clip of another class has taken it.
    same = made_from == info and clips.keys() <= {video.clip for video in videos}
    return (clips, skipped) if same else None


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


def _content(path: Path) -> list:
    """Size of a file and a checksum of its ends: another video of the same name is another one."""
    if path.is_dir():
        sizes = [(file.name, file.stat().st_size) for file in images_in(path)]
        return [len(sizes), zlib.crc32(repr(sizes).encode())]
    try:
        with open(path if path.is_file() else os.devnull, "rb") as file:  # not a pipe: it waits
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 16384))
            tail = file.read()
            file.seek(0)
            return [size, zlib.crc32(tail, zlib.crc32(file.read(16384)))]
    except OSError:
        return [0, 0]


def _encode(settings: dict, rate: float, always: bool, video: _Video) -> tuple[list, dict | str]:
    """Members of a clip and its entry of `clips.json`, or the reason why it cannot be used."""
    thinned = {name: settings[name] for name in ("flow_every", "flow_scale") if name in settings}
    try:
        if video.path.is_symlink() and not video.path.exists():
            return [], "a broken link"
        pace = measure_pace(video.path) if rate and not video.path.is_dir() else None
        read_at = paced(pace, rate) if pace and not always else rate
        rate, frames = open_video(video.path, settings["short_side"], read_at, pace)
        every, scale = thinned.get("flow_every", 1), thinned.get("flow_scale", 1.0)
        members = encode_clip(video.clip, frames, settings["flow"], every=every, flow_scale=scale)
    except VideoError as error:
        return [], error.reason
    except (ValueError, OSError, cv2.error) as error:
        return [], " ".join(str(error).split())
    frames = [data for name, data in members if name.startswith("jpegs_256/")]
    if len(frames) == 1:
        return [], "only one frame at this rate"
    if len(set(frames)) == 1:
        return [], "all frames are equal: a still image, or a decoder that failed"
    meta = {"label": video.label, "group": video.group, "source": video.name, "fps": rate}
    meta |= {"frames": len(frames), "flow": settings["flow"]} | thinned
    return members, meta | ({"side": video.side} if video.side else {})


def make_shards(videos: str | Path, root: Path, profile: Profile, every: int = 1) -> None:
    """Extract a folder of class folders with videos to shards in ``root``, in a profile's sizes.

    ``every`` as in :func:`extract`. Goes on where an earlier call was interrupted, and prints what
    was left out and why.

    Raises ``ValueError`` where ``root`` has shards of classes that ``videos`` does not have and the
    profile names none: they would be trained on with the rest.
    """
    folders = class_folders(Path(videos), root, None, Report())
    labels = {label for _, label, paths in folders if paths}
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
    for line in report.lines():
        print(line)
    usable = sorted(path.stem for path in root.glob("*.zip"))
    if profile.classes is None and len(usable) < 2:
        left = f"{len(report.skipped)} files were left out. " if report.skipped else ""
        below = ", or the one in it, if its folders are the classes" if report.nested else ""
        raise ValueError(
            f"{videos} gives one class only, {', '.join(usable)}, and a course needs two. "
            f"{left}Give the folder above the class folders{below}"
        )
