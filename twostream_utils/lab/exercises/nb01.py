"""Checkers of notebook 01: the official split from names alone, class numbers, leaks."""

import numpy as np

from .checking import (
    NO_RETURN,
    ExerciseError,
    as_array,
    checker,
    choice_question,
    compare,
    compare_names,
    number_question,
    picture,
    prediction,
)
from .nb00 import quantise

__all__ = [
    "official_split", "class_numbers", "leaky", "prediction",
    "quantise", "decode", "mixed_bounds", "picture",  # of stored flow: they go with its chapter
]  # fmt: skip


@checker("Whole groups, by the official rule, in every class, and nothing is lost.")
def official_split(answer):
    """``answer(names, split 1…3)`` → (train, test), each the sorted names of its clips."""
    names = [
        f"v_{label}_g{group:02d}_c{clip:02d}"
        for label in ("YoYo", "HandStandPushups", "Bowling")
        for group in range(1, 26)
        for clip in (1, 3, 4, 8)
    ]

    def group_of(name: str) -> int:
        return int(name.split("_")[-2][1:])

    for split in 2, 1, 3:  # the first split has no group before it
        first, last = 7 * split - 6, 7 * split
        numbers = range(first, last + 1)
        wanted = [name for name in sorted(names) if group_of(name) in numbers]
        rest = sorted({*names} - {*wanted})
        slips = {
            "That is the number of the clip (c03); the group is the part before it (g03)": {
                name for name in names if int(name[-2:]) in numbers
            },
            f"The last test group is missing: g{first:02d} to g{last:02d} are seven groups": {
                name for name in wanted if group_of(name) != last
            },
            f"The groups are shifted by one: the test of this split is g{first:02d} to "
            f"g{last:02d}": {name for name in names if group_of(name) + 1 in numbers},
            "Those are the test clips of split 1, whatever the split": {
                name for name in names if group_of(name) <= 7
            },
            "One clip of each group is not enough: its siblings stay in the training set": {
                name for name in wanted if name.endswith("c01")
            },
            "Cut by position in the sorted list: a group, and most classes, lie on both sides": (
                sorted(names)[: len(wanted)]
            ),
        }
        result = answer(list(names), split)
        if result is None:
            raise ExerciseError(NO_RETURN.format("The result"))
        try:
            train, test = map(list, result)
        except (TypeError, ValueError):
            raise ExerciseError("Return two lists, the training clips and the test clips") from None
        if sorted(train) == wanted and sorted(test) == rest:
            raise ExerciseError("The two lists are swapped: training first, then the test")
        compare_names(test, wanted, slips, f"test of split {split}")
        twice = {"Test clips are in the training list as well": names}
        compare_names(train, rest, twice, f"training of split {split}")
    try:
        answer(list(names), 4)
    except ExerciseError as error:
        if isinstance(error.__cause__, ValueError):
            return
    raise ExerciseError("There is no split 4: raise a ValueError, or somebody will train on it")


@checker("Counted from 0, in the order in which UCF101 counts them.")
def class_numbers(answer):
    """``answer(labels)`` → ``{label: number}``, from 0, A to Z without regard to upper case."""
    labels = ["YoYo", "JumpRope", "HammerThrow", "JumpingJack", "Archery", "Hammering"]
    order = ["Archery", "Hammering", "HammerThrow", "JumpingJack", "JumpRope", "YoYo"]
    wanted = {label: number for number, label in enumerate(order)}
    slips = {
        "sorted() puts capital letters before small ones, so HammerThrow overtakes Hammering. Sort "
        "without regard to upper case": {k: i for i, k in enumerate(sorted(labels))},
        "Counted from 1, as in the file classInd.txt; a network counts its outputs from 0": {
            label: number + 1 for label, number in wanted.items()
        },
        "Numbered in the order in which they come in: another list gives other numbers": {
            label: number for number, label in enumerate(labels)
        },
        "Numbers lead to classes; the other way round was asked for": dict(enumerate(order)),
        "The labels are changed: only the order takes no notice of upper case": {
            label.lower(): number for label, number in wanted.items()
        },
    }
    result = answer(list(labels))
    if result is None:
        raise ExerciseError(NO_RETURN.format("The result"))
    if not isinstance(result, dict):
        raise ExerciseError(f"The result should be a dict, not {type(result).__name__}")
    for slip, numbers in slips.items():
        if result == numbers:
            raise ExerciseError(slip)
    for label in order:
        if label not in result:
            raise ExerciseError(f"{label} has no number")
        if result[label] != wanted[label]:
            raise ExerciseError(f"{label} has number {result[label]}, expected {wanted[label]}")
    if len(result) > len(order):
        raise ExerciseError(f"{len(result)} numbers for {len(order)} classes")


leaky = choice_question(
    "Every test clip has siblings in training: same person, same room.",
    right="b",
    wrong={
        "a": "Those are whole groups, the test of the official split 2",
        "c": "Not the official test, so it compares with no others, but its groups are whole",
        "d": "The groups are whole. Without validation clips one is tempted to choose on the test, "
        "which is another mistake",
    },
)


@checker("Back in px per frame: −20 to 20, as fractions.")
def decode(answer):
    """``answer(q uint8)`` → flow in px per frame: 0…255 back onto ±20 px."""
    q = np.array([[0, 1, 100, 127], [128, 134, 200, 255]], dtype=np.uint8)
    wanted = q * (40 / 255) - 20
    slips = {
        "The middle is not taken off: 0 should become −20 px, not 0": wanted + 20,
        "q * 40 wraps around in uint8: make the numbers float before you multiply": (
            q * np.uint8(40) / 255 - 20
        ),
        "Divided by 256; there are 255 steps between 0 and 255": q * (40 / 256) - 20,
        "Rest is put exactly at 128. The scale runs from 0 (−20 px) to 255 (20 px), and its middle "
        "is 127.5": (q - 128.0) * (40 / 255),
        "Twice too fast: ±127.5 levels stand for ±20 px, so one level is 20 / 127.5": (
            (q - 127.5) * (40 / 127.5)
        ),
        "Scaled to ±1; the unit asked for is px per frame, ±20": q / 127.5 - 1,
    }
    result = as_array(answer(q.copy()), "the flow")
    if result.shape == wanted.shape and np.array_equal(result, np.trunc(wanted)):
        raise ExerciseError("The fractions are gone: the result should be float, not whole numbers")
    compare(result, wanted, "the flow", slips)
    compare(answer(q[:1, 2:]), wanted[:1, 2:], "the flow of a smaller field", {})


mixed_bounds = number_question(
    "Four times as fast, and nothing would warn you.",
    right=153 * 40 / 255 - 20,
    tolerance=0.1,
    slips={
        "That would need both to use one bound. Written: 255 · (1 + 5) / 10 = 153. Read: ±20": 1.0,
        "The other way round: it is written with ±5 px and read with ±20 px": 0.25,
        "That is the stored level; read it back with ±20 px": 153.0,
        "The middle is not taken off: level 153 read with ±20 px is 153 · 40 / 255 − 20": 24.0,
    },
)
