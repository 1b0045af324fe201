"""Class order, clip names, groups, and splits that never tear a group apart."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

# In the order of classInd.txt, which is A to Z whatever the case.
UCF101_CLASSES = tuple(Path(__file__).with_name("ucf101_classes.txt").read_text("utf-8").split())

_NAME = re.compile(r"v_(.+)_(g\d{2})_c(\d{2})")
# The one class of two spellings: in videos and lists; in frame archives and classInd.txt.
SPELLING = {"HandStandPushups": "HandstandPushups"}


class ClipName(NamedTuple):
    """The parts of `v_<Class>_gNN_cMM`: label, group ("g07") and number within the group."""

    label: str
    group: str
    number: int


class Split(NamedTuple):
    """Sorted clip names of the two sides of a split; `test` may serve as validation set."""

    train: list[str]
    test: list[str]


def parse_name(name: str) -> ClipName:
    """Parts of a name `v_JumpRope_g07_c02`; ValueError, if it has another form."""
    if not (match := _NAME.fullmatch(name)):
        raise ValueError(f"clip name {name!r} is not like v_JumpRope_g07_c02, v_<Class>_gNN_cMM")
    label, group, number = match.groups()
    return ClipName(SPELLING.get(label, label), group, int(number))


def other_spelling(clip: str) -> str | None:
    """The other name of a HandstandPushups clip (see `SPELLING`); None for all other clips."""
    match = re.fullmatch("(v_Hand)([Ss])(tandPushups_.*)", clip)
    return match and match[1] + match[2].swapcase() + match[3]


def class_order(labels: Iterable[str]) -> list[str]:
    """The classes among `labels`, A to Z whatever the case; the position is the class index."""
    return sorted(set(labels), key=lambda name: (name.lower(), name))


def official_split(groups: Mapping[str, str], split: int) -> Split:
    """UCF101's split 1, 2 or 3 of the clips in `groups` (clip → "gNN").

    As the official lists (Soomro et al., CRCV-TR-12-01): groups 1–7 are the test of split 1, 8–14
    of split 2, 15–21 of split 3. Raises ValueError: no such split or group.
    """
    if split not in (1, 2, 3):
        raise ValueError(f"UCF101 has splits 1, 2 and 3, not {split!r}")
    held_out = {f"g{number:02d}" for number in range(7 * split - 6, 7 * split + 1)}
    if strangers := {clip for clip, group in groups.items() if not re.fullmatch(r"g\d{2}", group)}:
        raise ValueError(f"clip {min(strangers)} has no group gNN: the official splits are for "
                         "UCF101 names; use group_folds or hold_out_groups")  # fmt: skip
    return _split_by(groups, groups, held_out)


def group_folds(groups: Mapping[str, str], k: int = 3, seed: int = 0) -> list[Split]:
    """`k` folds over whole groups (clip → group), with clip numbers as even as the groups allow.

    Every clip is tested in one fold. Raises ValueError: fewer groups than folds.
    """
    sizes = Counter(groups.values())
    if len(sizes) < k:
        raise ValueError(
            f"{k} folds need {k} groups; all clips here are of {', '.join(sorted(sizes))}: "
            "a test needs other persons or places than training. Name the group of each clip "
            "(wave_g01_c02.mp4), or say where it stands in the name (group_pattern, in make GROUPS)"
        )
    folds: list[set[str]] = [set() for _ in range(k)]
    for group in sorted(_shuffled(sizes, seed), key=lambda name: -sizes[name]):
        min(folds, key=lambda fold: (sum(map(sizes.get, fold)), len(fold))).add(group)
    return [_split_by(groups, groups, fold) for fold in folds]


def given_split(sides: Mapping[str, str]) -> tuple[list[str], list[str], list[str]]:
    """Clips whose side is "train", "val", "test"; without a test the validation is the test."""
    train, val, test = (sorted(c for c in sides if sides[c] == s) for s in ("train", "val", "test"))
    return (train, val, test) if test else (train, [], val)


def hold_out_groups(clips: Iterable[str], groups: Mapping[str, str], fraction: float = 0.2,
                    seed: int = 0, labels: Mapping[str, str] | None = None) -> Split:  # fmt: skip
    """Hold out about `fraction` of `clips`, between 0 and 1, as `.test`, in whole groups.

    With `labels` (clip → label) every class gives about its fraction, and none goes whole if that
    can be helped. Raises ValueError: fewer than two groups.
    """
    clips = sorted(clips)
    counts: dict[str, Counter] = {}
    for clip in clips:
        counts.setdefault(groups[clip], Counter())[labels[clip] if labels else ""] += 1
    if len(counts) < 2:
        raise ValueError(f"{len(clips)} clips of one group cannot be split: two groups at least")
    total, taken, held = sum(counts.values(), Counter()), Counter(), set()

    def worth(group: str) -> tuple[bool, float]:
        """Does it spare every class, and how much nearer does it bring `taken` to the aim?"""
        n = counts[group]
        off = {label: taken[label] - fraction * total[label] for label in n}
        gain = sum(off[label] ** 2 - (off[label] + n[label]) ** 2 for label in n)
        return all(taken[label] + n[label] < total[label] for label in n), gain

    order = _shuffled(counts, seed)
    for group in order:
        if worth(group) > (True, 0):
            held.add(group)
            taken.update(counts[group])
    return _split_by(clips, groups, held or {max(order, key=worth)})


def _shuffled(names: Iterable[str], seed: int) -> list[str]:
    names = sorted(names)
    random.Random(seed).shuffle(names)
    return names


def _split_by(clips: Iterable[str], groups: Mapping[str, str], held_out: set[str]) -> Split:
    split = Split([], [])
    for clip in sorted(clips):
        split[groups[clip] in held_out].append(clip)
    return split
