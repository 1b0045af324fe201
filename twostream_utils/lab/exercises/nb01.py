"""Checkers of notebook 01: the official split from names alone, class numbers, leaks."""

from .checking import ExerciseError, checker, choice_question, compare_names, prediction, returned

__all__ = ["official_split", "class_numbers", "leaky", "prediction"]


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
            "Numbers below 10 have two digits in a name: it's g07, not g7": {
                name for name in wanted if group_of(name) >= 10
            },
            "Cut by position in the sorted list: a group, and most classes, lie on both sides": (
                sorted(names)[: len(wanted)]
            ),
        }
        result = returned(answer(list(names), split))
        try:
            train, test = map(list, [] if isinstance(result, dict) else result)
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
    result = returned(answer(list(labels)))
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
