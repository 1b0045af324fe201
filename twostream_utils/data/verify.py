"""Is a data set whole? Clips of the split, counts, every JPEG; and what mends the rest."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tqdm.auto import tqdm

from ..frame_index import StoreError
from ..parts import is_part
from ..splits import UCF101_CLASSES, class_order, official_split, other_spelling, parse_name
from ..store import FrameStore
from .pool import in_order
from .ucf101_clips import ucf101_clips

_AT_ONCE = 100  # frames in memory while a clip is decoded
SHOWN = 20
# What extract.py is to be told where a shard was made otherwise than by default.
_OPTIONS = {
    "--short-side": ("short_side", 256),
    "--flow": ("flow_method", "dis"),
    "--every": ("flow_every", 1),
    "--group-pattern": ("group_pattern", None),
}
# A way out where no archive can be had.
_OWN = "make shards from videos in another folder: python data_scripts/extract.py VIDEOS FOLDER"


@dataclass
class Verification:
    """What `verify` found: `facts` for the reader, `problems`, and `commands` that mend them.

    A data set without problems is whole. `broken`: clips that are there and damaged, with reasons.
    """

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The report as lines for printing; at most 20 problems of many."""
        lines = list(self.facts)
        if not self.problems:
            return [*lines, "Nothing is missing."]
        lines.append(f"{_counted(len(self.problems), 'problem')}:")
        lines.extend(f"  {problem}" for problem in self.problems[:SHOWN])
        if len(self.problems) > SHOWN:
            lines.append(f"  … and {len(self.problems) - SHOWN} more")
        return [*lines, "To mend this:", *(f"  {command}" for command in self.commands)]


def verify(
    store: FrameStore,
    split: int | None = None,
    classes: Iterable[str] | None = None,
    full: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Verification:
    """Look a data set over.

    Args:
        store: what is to be verified.
        split: 1, 2 or 3: every clip of UCF101's official split has to be there. `None` asks only
            for the clips that are there to be whole.
        classes: with `split`, these classes; default: those of UCF101 that are there.
        full: decode every JPEG as well.
        workers: processes for `full`; default: one per core.
        progress: show bars.

    Raises:
        ValueError: no such split, or a class that UCF101 does not have.
    """
    found = Verification()
    frames = sum(store.n_frames(clip) for clip in store.clips)
    fields = sum(store.n_flow(clip) for clip in store.clips)
    found.facts.append(
        f"{store.root}: {len(store.clips)} clips, {frames} frames, {fields} flow fields"
    )
    every = {store.flow_every(clip) for clip in store.clips} - {1}
    if every:
        found.facts.append(
            f"Of some clips only one flow field in {min(every)} was extracted (--every "
            f"{min(every)}): stacks can take them {min(every)}, {2 * min(every)}, … apart."
        )
    if split is not None:
        _check_split(store, split, classes, found)
    whole, broken = [], found.broken
    for clip in store.clips:
        try:
            store.check(clip)
            whole.append(clip)
        except StoreError as error:
            broken[clip] = str(error)
    if full:
        tasks = [(str(store.root), clip) for clip in whole]
        bar = tqdm(total=len(tasks), desc="decoding", unit="clip", disable=not progress)
        with bar, closing(in_order(_decode, tasks, workers)) as results:
            for clip, error in zip(whole, results):
                bar.update()
                if error:
                    broken[clip] = error
    found.problems.extend(broken[clip] for clip in sorted(broken))
    _mend(store, found)
    skipped = store.root / "skipped.txt"
    if skipped.is_file():
        count = len(skipped.read_text(encoding="utf-8").splitlines())
        found.facts.append(f"{_counted(count, 'video')} could not be extracted: see {skipped}")
    return found


def _check_split(
    store: FrameStore, split: int, classes: Iterable[str] | None, found: Verification
) -> None:
    there = {label for label in store.labels.values() if label in UCF101_CLASSES}
    classes = class_order(there if classes is None else classes)
    due = ucf101_clips(classes)
    have = set(store.clips)
    have |= {twin for clip in have if (twin := other_spelling(clip))}
    missing: dict[str, list[str]] = {}
    for side, clips in official_split(due, split)._asdict().items():
        lost = [clip for clip in clips if clip not in have]
        found.facts.append(
            f"split {split}, {side}: {len(clips) - len(lost)} of {len(clips)} clips "
            f"of {_counted(len(classes), 'class', 'classes')}"
        )
        for clip in lost:
            missing.setdefault(parse_name(clip).label, []).append(clip)
    if not missing:
        return
    labels = class_order(missing)
    if gone := [label for label in labels if label not in there]:
        count = _counted(len(gone), "class", "classes")
        found.problems.append(f"no clip at all of {count}: {', '.join(gone)}")
    for label in labels:
        if label in there:
            lost = sorted(missing[label])
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            found.problems.append(
                f"{label}: {_counted(len(lost), 'clip')} missing: {', '.join(lost[:3])}{more}"
            )
    every_class = set(labels) == set(UCF101_CLASSES)
    which = "--profile ucf101" if every_class else f"--classes {' '.join(labels)}"
    found.commands += [
        f"python data_scripts/fetch_ucf101.py {which}",
        _extract_command(store, "data/ucf101_videos"),
    ]


def _mend(store: FrameStore, found: Verification) -> None:
    """Commands for clips that are there and damaged.

    Only shards of our own are to be deleted: the published archives have tens of gigabytes, and
    who has them may not get them again.
    """
    half = {clip for clip in found.broken if not (store.n_frames(clip) and store.n_flow(clip))}
    files = {clip: set(store.files(clip)) for clip in found.broken}
    shards = sorted(path for path in set().union(*files.values()) if _made_from(path))
    lost = {clip: paths for clip, paths in files.items() if not paths & set(shards)}
    damaged = [paths for clip, paths in lost.items() if clip not in half]
    for path in sorted(set().union(*damaged)):
        what = f"fetch {path.name} again"
        if is_part(path):
            what = f"fetch {path.name[:-4]} again, or only the part that a message above names"
        found.commands.append(f"# {what}; or {_OWN}")
    if not all(damaged):
        found.commands.append("# unpack or extract the clips named above again")
    if half & lost.keys():
        found.commands.append(f"# put the archive beside it that has the other half; or {_OWN}")
    if shards:
        names = " ".join(shlex.quote(str(path)) for path in shards)
        found.commands += [
            f"rm {names}",
            f"{_extract_command(store, 'VIDEOS')}  # VIDEOS: their folder of videos",
        ]


def _made_from(path: Path) -> dict:
    """`dataset.json` of a shard that was extracted or generated here; empty for any other file."""
    with suppress(OSError, KeyError, ValueError, zipfile.BadZipFile):
        with zipfile.ZipFile(path) as file:
            return json.loads(file.read("dataset.json"))
    return {}


def _extract_command(store: FrameStore, videos: str) -> str:
    """What makes the shards that are missing and leaves the others: with the settings of these."""
    made = (_made_from(shard).get("settings") for shard in sorted(store.root.glob("*.zip")))
    settings = next(filter(None, made), {})
    words = ["python", "data_scripts/extract.py", videos, str(store.root)]
    for option, (name, default) in _OPTIONS.items():
        if (value := settings.get(name, default)) != default:
            words += [option, str(value)]
    return shlex.join(words)


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


@cache
def _store(root: str) -> FrameStore:
    return FrameStore(root)


def _decode(task: tuple[str, str]) -> str | None:
    """Read every frame and field of a clip; the reason why that fails, or None."""
    root, clip = task
    store = _store(root)
    try:
        for numbers, read in (
            (range(1, store.n_frames(clip) + 1), store.read_rgb),
            (store.flow_numbers(clip), store.read_flow),
        ):
            for first in range(0, len(numbers), _AT_ONCE):
                read(clip, numbers[first : first + _AT_ONCE])
    except StoreError as error:
        return str(error)
    return None
