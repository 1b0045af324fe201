"""Is a data set whole? Clips of the split, counts, every JPEG; and can its flow be right?"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from tqdm.auto import tqdm

from ..splits import UCF101_CLASSES, class_order, official_split, other_spelling, parse_name
from ..store import FrameStore, StoreError
from .processes import parallel_map
from .ucf101_clips import ucf101_clips

SHOWN = 20
MEND = (
    "To mend this: delete shards that are damaged, and give the command that made them again, with "
    "the same options (data_scripts/extract.py or make_mini.py): it makes what is missing and "
    "keeps the rest. data_scripts/fetch_ucf101.py fetches videos. Archives that were not made here "
    "have to be fetched again."
)
_SAMPLE, _REST = 8, 128  # clips of a class and fields of a clip to judge by; no motion


@dataclass
class Verification:
    """`facts` for the reader, `problems`, and of these the `broken` clips, with reasons."""

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The report as lines for printing; at most 20 problems of many."""
        if not self.problems:
            return [*self.facts, "Nothing is missing."]
        lines = [*self.facts, f"{_counted(len(self.problems), 'problem')}:"]
        lines.extend(f"  {problem}" for problem in self.problems[:SHOWN])
        if (more := len(self.problems) - SHOWN) > 0:
            lines.append(f"  ... and {more} more")
        return [*lines, MEND]


def verify(
    store: FrameStore, split: int | None = None, classes: Iterable[str] | None = None,
    full: bool = False, workers: int | None = None, progress: bool = True,
) -> Verification:  # fmt: skip
    """Look a data set over.

    Args:
        split: 1, 2 or 3: every clip of UCF101's official split has to be there. `None` asks only
            for the clips that are there to be whole.
        classes: with `split`, these classes; default: those of UCF101 that are there.
        full: decode every JPEG as well, in `workers` processes; default: one per core.
        progress: show a bar.

    Raises ValueError: no such split, or a class that UCF101 does not have.
    """
    found = Verification()
    frames, fields = (sum(map(count, store.clips)) for count in (store.n_frames, store.n_flow))
    clips = _counted(len(store.clips), "clip")
    found.facts.append(f"{store.root}: {clips}, {frames} frames, {fields} flow fields")
    for n in sorted({store.flow_every(clip) for clip in store.clips} - {1}):
        found.facts.append(f"Of some clips only one flow field in {n} was extracted (--every {n}).")
    if split is not None:
        _check_split(store, split, classes, found)
    for clip in store.clips:
        try:
            store.check(clip)
        except StoreError as error:
            found.broken[clip] = str(error)
    if full:
        tasks = [(str(store.root), clip) for clip in store.clips if clip not in found.broken]
        with closing(parallel_map(_decode, tasks, workers)) as results:
            bar = tqdm(results, "decoding", len(tasks), unit="clip", disable=not progress)
            found.broken |= {clip: error for (_, clip), error in zip(tasks, bar) if error}
    found.problems.extend(found.broken[clip] for clip in sorted(found.broken))
    if (skipped := store.root / "skipped.txt").is_file():
        count = len(skipped.read_text(encoding="utf-8").splitlines())
        found.facts.append(f"{_counted(count, 'video')} could not be extracted: see {skipped}")
    return found


def _check_split(
    store: FrameStore, split: int, classes: Iterable[str] | None, found: Verification
) -> None:
    there = {label for label in store.labels.values() if label in UCF101_CLASSES}
    classes = class_order(there if classes is None else classes)
    if not classes:
        found.problems.append(f"no class of UCF101: these clips have no split {split}")
    have = set(store.clips) | {other_spelling(clip) for clip in store.clips}
    missing: dict[str, list[str]] = {}
    for side, clips in official_split(ucf101_clips(classes), split)._asdict().items():
        lost = [clip for clip in clips if clip not in have]
        found.facts.append(
            f"split {split}, {side}: {len(clips) - len(lost)} of {len(clips)} clips "
            f"of {_counted(len(classes), 'class')}"
        )
        for clip in lost:
            missing.setdefault(parse_name(clip).label, []).append(clip)
    if gone := [label for label in class_order(missing) if label not in there]:
        count = _counted(len(gone), "class")
        found.problems.append(f"no clip at all of {count}: {', '.join(gone)}")
    for label in class_order(missing):
        if label in there:
            lost = sorted(missing[label])
            names = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
            found.problems.append(f"{label}: {_counted(len(lost), 'clip')} missing: {names}")


def _counted(number: int, one: str) -> str:
    return f"{number} {one}" + ("" if number == 1 else "es" if one.endswith("s") else "s")


@cache
def _store(root: str) -> FrameStore:
    return FrameStore(root)


def _decode(task: tuple[str, str]) -> str | None:
    """Read every frame and field of a clip; the reason why that fails, or None."""
    root, clip = task
    store = _store(root)
    frames, fields = range(1, store.n_frames(clip) + 1), store.flow_numbers(clip)
    try:
        for numbers, flow in ((frames, False), (fields, True)):
            for _ in store.images(clip, numbers, flow):
                pass
    except StoreError as error:
        return str(error)
    return None


def flow_warnings(store: FrameStore, clips: Iterable[str] | None = None) -> list[str]:
    """A line for each class whose flow no real video has, from a sample; empty if all is well.

    Raises StoreError: a clip that cannot be read.
    """
    by_label: dict[str, list[str]] = {}
    for clip in store.clips if clips is None else clips:
        if store.n_flow(clip):
            by_label.setdefault(store.labels.get(clip, "without a label"), []).append(clip)
    lines = []
    for label in class_order(by_label):
        clips = _spread(by_label[label])
        fields = [store.read_flow(clip, _spread(store.flow_numbers(clip))) for clip in clips]
        values = np.concatenate([field.ravel() for field in fields])
        # A camera that pans moves the mean of its own clip; a wrong quantisation that of every
        # clip; and of two or three clips all may pan.
        off = np.median([field.mean(axis=(0, 1, 2)) for field in fields], axis=0) - _REST
        # JPEG moves a value by a step, so 254 may have been 255; rest is stored as 127 or 128.
        for wrong, reason in (
            (((values == 127) | (values == 128)).mean() > 0.999, "nothing moves in any field"),
            (np.abs(off).max() > (12 if len(fields) >= 5 else 40),
             f"the means of u and v are {off[0]:+.0f} and {off[1]:+.0f} away from rest, {_REST}: "
             "is it quantised to 20 px, or does every camera pan the same way?"),
            (((values < 2) | (values > 253)).mean() > 0.1, "much of it is faster than 20 px"),
            (values.std() > 50, "was each field stretched by its own minimum and maximum?"),
        ):  # fmt: skip
            if wrong:
                lines.append(f"warning: the flow of {label}: {reason}")
    return lines


def _spread(items) -> list:
    """At most eight of `items`, evenly spread from the first to the last."""
    at = np.linspace(0, len(items) - 1, min(_SAMPLE, len(items))).round()
    return [items[int(k)] for k in at]
