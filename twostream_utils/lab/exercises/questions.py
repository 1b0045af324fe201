"""Checkers of predictions and of figures read: the answer is a number, a letter or a few names.

``number_question`` and ``choice_question`` make checkers of questions whose answer is known. The
three ``check_…`` functions here are for answers that only a run decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch

from .checking import ExerciseError, checker


def value_of(answer: object) -> object:
    """The answer itself, or what a function without arguments returns.

    Raises ``ExerciseError`` for None, and whatever the function raises.
    """
    value = answer() if callable(answer) else answer
    if value is None:
        raise ExerciseError("The answer is None: is there a return at the end?")
    return value


def number_of(answer: object) -> float:
    """The answer as one finite number. Raises ``ExerciseError`` if it is none."""
    value = value_of(answer)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool | str) or not isinstance(value, int | float | np.number):
        raise ExerciseError(f"The answer should be one number, not {value!r}")
    if not np.isfinite(value):
        raise ExerciseError(f"The answer should be a finite number, not {value!r}")
    return float(value)


def letter_of(answer: object, letters: Iterable[str]) -> str:
    """The answer as one of ``letters``, lower case. Raises ``ExerciseError`` if it is none."""
    letters = sorted(letters)
    value = value_of(answer)
    letter = value.strip().strip("().").lower() if isinstance(value, str) else value
    if letter not in letters:
        raise ExerciseError(f"The answer should be one of {', '.join(letters)}, not {value!r}")
    return letter


def number_question(
    praise: str, right: float, slips: Mapping[str, float], tolerance: float
) -> Callable:
    """Make the checker of a number; ``slips`` maps likely mistakes to what they give."""

    @checker(praise)
    def check(answer: object) -> None:
        value = number_of(answer)
        if abs(value - right) <= tolerance:
            return
        for slip, wrong in slips.items():
            if abs(value - wrong) <= tolerance:
                raise ExerciseError(slip)
        raise ExerciseError(f"{value:g} is too {'high' if value > right else 'low'}")

    return check


def choice_question(praise: str, right: str, wrong: Mapping[str, str]) -> Callable:
    """Make the checker of a letter; ``wrong`` says of each other letter why it is wrong."""

    @checker(praise)
    def check(answer: object) -> None:
        letter = letter_of(answer, {right, *wrong})
        if letter != right:
            raise ExerciseError(wrong[letter])

    return check


@checker("As predicted.")
def check_prediction(answer: object, measure: Callable, within: float = 0.0) -> str:
    """Compare a prediction with what ``measure()`` gives; it runs once a prediction is made.

    Both are numbers, at most ``within`` apart, or both are sequences or strings, and equal.
    """
    value = value_of(answer)
    try:
        measured = measure()
    except Exception as error:
        raise ExerciseError(
            f"The run stopped with {type(error).__name__}: {error}. That says nothing about your "
            "answer; run all cells further up, then this one again"
        ) from error
    if isinstance(measured, str | tuple | list):
        said = value if isinstance(value, str) else tuple(np.atleast_1d(value).tolist())
        found = measured if isinstance(measured, str) else tuple(measured)
        if said != found:
            length = "" if isinstance(found, str) or len(said) == len(found) else (
                f" It should have {len(found)} entries."
            )  # fmt: skip
            raise ExerciseError(f"You said {said}, the run says {found}.{length}")
        return f"As predicted: the run says {found}."
    value, measured = number_of(value), float(measured)
    if abs(value - measured) <= within:
        return f"As predicted: the run says {measured:.4g}, you said {value:.4g}."
    close = max(within, 0.02 * abs(measured))
    hints = {
        "The sign is the other way round.": -measured,
        "Give per cent, not a fraction of 1.": measured / 100,
        "Give a fraction of 1, not per cent.": 100 * measured,
        "That is the factor upside down.": 1 / measured if measured else np.inf,
    }
    hint = next(
        (text for text, slip in hints.items() if abs(value - slip) <= min(close, abs(slip) / 10)),
        "That is too high." if value > measured else "That is too low.",
    )
    raise ExerciseError(
        f"You said {value:.4g}, the run says {measured:.4g}. {hint} Find out why, then answer again"
    )


@checker("Well seen.")
def check_picture(answer: object, kinds: Mapping[str, str], wanted: str) -> str:
    """``kinds`` says what each lettered picture is; the answer is the letter of ``wanted``."""
    letter = letter_of(answer, kinds)
    if kinds[letter] != wanted:
        raise ExerciseError(f"Picture {letter} is “{kinds[letter]}”. Look again for “{wanted}”")
    return "Well seen. " + "; ".join(f"{at} is “{kinds[at]}”" for at in sorted(kinds)) + "."


@checker("Just those: an interval that holds 0 shows nothing, whatever its middle is.")
def check_shown(answer: object, intervals: Mapping[str, tuple[float, float]]) -> None:
    """The answer is a list of the names whose interval ``(low, high)`` does not hold 0."""
    value = value_of(answer)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ExerciseError(f"Return a list of names, also if it is one or none; not {value!r}")
    said = list(value)
    for name in said:
        if name not in intervals:
            raise ExerciseError(f"There is no row {name!r}; there are {', '.join(intervals)}")
        low, high = intervals[name]
        if low <= 0 <= high:
            raise ExerciseError(
                f"{name}: its interval, {low:+.1%} to {high:+.1%}, holds 0, so these clips do not "
                "show a difference"
            )
    for name, (low, high) in intervals.items():
        if name not in said and not low <= 0 <= high:
            side = "above" if low > 0 else "below"
            raise ExerciseError(
                f"{name} is missing: its interval, {low:+.1%} to {high:+.1%}, lies wholly {side} 0"
            )
