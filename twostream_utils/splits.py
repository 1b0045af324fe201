"""Class order, clip names, groups, and splits that never tear a group apart.

Clips of one group share person and scene, so a network can know a clip by its sofa: whatever is
measured on must hold out whole groups.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# Order of classInd.txt; `sorted()` would swap HammerThrow/Hammering and JumpRope/JumpingJack.
UCF101_CLASSES = tuple(
    """
ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch
Basketball BasketballDunk BenchPress Biking Billiards BlowDryHair BlowingCandles BodyWeightSquats
Bowling BoxingPunchingBag BoxingSpeedBag BreastStroke BrushingTeeth CleanAndJerk CliffDiving
CricketBowling CricketShot CuttingInKitchen Diving Drumming Fencing FieldHockeyPenalty
FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut Hammering HammerThrow HandstandPushups
HandstandWalking HeadMassage HighJump HorseRace HorseRiding HulaHoop IceDancing JavelinThrow
JugglingBalls JumpingJack JumpRope Kayaking Knitting LongJump Lunges MilitaryParade Mixing
MoppingFloor Nunchucks ParallelBars PizzaTossing PlayingCello PlayingDaf PlayingDhol PlayingFlute
PlayingGuitar PlayingPiano PlayingSitar PlayingTabla PlayingViolin PoleVault PommelHorse PullUps
Punch PushUps Rafting RockClimbingIndoor RopeClimbing Rowing SalsaSpin ShavingBeard Shotput
SkateBoarding Skiing Skijet SkyDiving SoccerJuggling SoccerPenalty StillRings SumoWrestling
Surfing Swing TableTennisShot TaiChi TennisSwing ThrowDiscus TrampolineJumping Typing UnevenBars
VolleyballSpiking WalkingWithDog WallPushups WritingOnBoard YoYo
""".split()
)

_NAME = re.compile(r"v_(?P<label>.+)_g(?P<group>\d{2})_c(?P<number>\d{2})")
# The one class whose clips carry two spellings; classInd.txt has the second.
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
    """Parts of a UCF101 clip name, e.g. `v_JumpRope_g07_c02` → ("JumpRope", "g07", 2).

    UCF101 spells one class two ways, `v_HandStandPushups_*` (videos, lists) and
    `v_HandstandPushups_*` (frame archives): both give the label "HandstandPushups".

    Raises:
        ValueError: the name has another form.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(
            f"clip name {name!r} does not have the form v_<Class>_gNN_cMM, e.g. v_JumpRope_g07_c02"
        )
    label = SPELLING.get(match["label"], match["label"])
    return ClipName(label, f"g{match['group']}", int(match["number"]))


def other_spelling(clip: str) -> str | None:
    """The other name of a HandstandPushups clip (see `parse_name`); None for all other clips."""
    for one, other in (*SPELLING.items(), *((b, a) for a, b in SPELLING.items())):
        if clip.startswith(f"v_{one}_"):
            return clip.replace(one, other, 1)
    return None


def class_order(labels: Iterable[str]) -> list[str]:
    """The classes among `labels`: in classInd.txt's order if all are UCF101's, else A to Z.

    Position in this list is the class index, 0-based. A to Z takes no notice of upper case.
    """
    found = set(labels)
    if found <= set(UCF101_CLASSES):
        return [name for name in UCF101_CLASSES if name in found]
    return sorted(found, key=lambda name: (name.lower(), name))


def official_split(groups: Mapping[str, str], split: int) -> Split:
    """UCF101's split 1, 2 or 3 of the clips in `groups` (clip → "gNN").

    The official lists (Soomro et al., "UCF101", CRCV-TR-12-01) follow a rule without exception:
    groups 1–7 are the test set of split 1, 8–14 of split 2, 15–21 of split 3; all else is train.

    Raises:
        ValueError: no such split, or a group that is not gNN.
    """
    if split not in (1, 2, 3):
        raise ValueError(f"UCF101 has splits 1, 2 and 3, not {split!r}")
    held_out = {f"g{number:02d}" for number in range(7 * split - 6, 7 * split + 1)}
    for clip, group in groups.items():
        if not re.fullmatch(r"g\d{2}", group):
            raise ValueError(
                f"clip {clip} has group {group!r}, not gNN: the official splits are for UCF101 "
                "names; use group_folds or hold_out_groups for other data"
            )
    return _split_by(groups, groups, held_out)


def group_folds(groups: Mapping[str, str], k: int = 3, seed: int = 0) -> list[Split]:
    """`k` folds over whole groups (clip → group), with clip numbers as even as the groups allow.

    Every clip is tested in exactly one fold. The same groups, k and seed give the same folds.

    Raises:
        ValueError: k below 2, or fewer groups than folds.
    """
    sizes = Counter(groups.values())
    if k < 2:
        raise ValueError(f"folds need k of 2 or more, got {k}")
    if len(sizes) < k:
        raise ValueError(
            f"{k} folds need at least {k} groups, found {len(sizes)}: {', '.join(sorted(sizes))}"
        )
    folds: list[set[str]] = [set() for _ in range(k)]
    filled = [0] * k
    for group in sorted(_shuffled(sizes, seed), key=lambda name: -sizes[name]):
        emptiest = min(range(k), key=lambda fold: (filled[fold], len(folds[fold])))
        folds[emptiest].add(group)
        filled[emptiest] += sizes[group]
    return [_split_by(groups, groups, fold) for fold in folds]


def hold_out_groups(
    clips: Iterable[str],
    groups: Mapping[str, str],
    fraction: float = 0.2,
    seed: int = 0,
    labels: Mapping[str, str] | None = None,
) -> Split:
    """Hold out about `fraction` of `clips` for validation (`.test`), as whole groups.

    A group is held out by its name in all classes at once, which is right for UCF101 (g07 of one
    class and g07 of another are two persons, either side may have them) and for data in which
    one person acts in every class. With `labels` (clip → label), every class gives about its
    `fraction`, and none is taken out of training whole if that can be avoided.

    Raises:
        ValueError: fewer than two groups, or a fraction that is not between 0 and 1.
    """
    clips = sorted(clips)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    counts: dict[str, Counter] = {}
    for clip in clips:
        label = labels[clip] if labels else ""
        counts.setdefault(groups[clip], Counter())[label] += 1
    if len(counts) < 2:
        raise ValueError(
            f"{len(clips)} clips of {len(counts)} group(s) cannot be split by groups; "
            "two groups are the least"
        )
    total = sum(counts.values(), Counter())
    target = {label: fraction * n for label, n in total.items()}
    held: set[str] = set()
    taken: Counter = Counter()

    def gain(group: str) -> float:
        """How much nearer to the target numbers this group brings the validation set."""
        return sum(
            (taken[label] - target[label]) ** 2 - (taken[label] + n - target[label]) ** 2
            for label, n in counts[group].items()
        )

    def empties_a_class(group: str) -> bool:
        return any(taken[label] + n >= total[label] for label, n in counts[group].items())

    order = _shuffled(counts, seed)
    for group in order:
        if gain(group) > 0 and not empties_a_class(group):
            held.add(group)
            taken.update(counts[group])
    if not held:
        held.add(max(order, key=lambda group: (not empties_a_class(group), gain(group))))
    return _split_by(clips, groups, held)


def _shuffled(names: Iterable[str], seed: int) -> list[str]:
    names = sorted(names)
    random.Random(seed).shuffle(names)
    return names


def _split_by(clips: Iterable[str], groups: Mapping[str, str], held_out: set[str]) -> Split:
    split = Split([], [])
    for clip in sorted(clips):
        split[groups[clip] in held_out].append(clip)
    return split
