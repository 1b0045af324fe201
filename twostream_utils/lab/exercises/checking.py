"""What all exercise checkers share: verdicts, comparing an answer, and questions with one answer.

A checker computes what it expects in a few lines of its own, so that it tests the reader's answer
and not the module. A wrong answer that has a name (a known slip) is called by that name.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import linecache
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import torch


class ExerciseError(Exception):
    """An answer that is wrong; the message says how, in the reader's terms."""


class NotYet(Exception):
    """The exercise is still the stub."""


class Verdict:
    """Truth value of a check. As the last line of a cell it shows nothing: all is printed."""

    def __init__(self, right: bool):
        self.right = right

    def __bool__(self) -> bool:
        return self.right

    def _ipython_display_(self) -> None:
        """Show nothing."""


def checker(praise: str) -> Callable:
    """Make ``check(answer, …)``, which raises ``ExerciseError``, one that prints and returns.

    The stub's ``NotImplementedError`` becomes "not yet", so that a notebook runs on; any other
    exception of the reader's code becomes a message with its line. What a check itself fails on is
    not blamed on the reader. Returns a :class:`Verdict`; ``check`` may return its own praise.
    """

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def run(answer: object, *given: object, **named: object) -> Verdict:
            try:
                message = check(guarded(answer) if callable(answer) else answer, *given, **named)
            except NotYet:
                print("⏳ Not yet: replace the line that raises, then run this cell again.")
            except ExerciseError as error:
                print(f"❌ {error}")
            except Exception as error:
                print(
                    f"❌ This check cannot read what {name_of(answer)} returned. It stopped with "
                    f"{type(error).__name__}: {error}"
                )
            else:
                print(f"✅ {message or praise}")
                return Verdict(True)
            return Verdict(False)

        return run

    return decorate


def name_of(answer: object) -> str:
    """The name of the reader's function, or "your answer"."""
    name = getattr(answer, "__name__", "<lambda>")
    return "your answer" if name == "<lambda>" else name


def guarded(answer: Callable) -> Callable:
    """The reader's function; what it raises becomes ``NotYet`` or an ``ExerciseError``."""

    def ask(*given: object, **named: object) -> object:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # no fault of the reader's
                return answer(*given, **named)
        except Exception as error:
            if isinstance(error, NotImplementedError) and error.args in ((), ("your turn",)):
                raise NotYet from None
            what = f"{type(error).__name__}: {error}".removesuffix(": ")
            place = _line(answer, error)
            raise ExerciseError(f"{name_of(answer)} stopped{place} with {what}") from error

    return ask


def _line(answer: Callable, error: Exception) -> str:
    """Where in the cell of ``answer`` it stopped, with the line's text."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [n for frame, n in traceback.walk_tb(error.__traceback__)
             if frame.f_code.co_filename == file]  # fmt: skip
    if not lines:
        return ""
    text = linecache.getline(file, lines[-1]).strip()
    return f" in line {lines[-1]} ({text})" if text else f" in line {lines[-1]}"


@contextlib.contextmanager
def unchanged(complaint: str, *given: np.ndarray | torch.Tensor) -> Iterator[None]:
    """Raise ``ExerciseError(complaint)`` if the block changes what was ``given`` to an answer."""
    before = [copy.deepcopy(value) for value in given]
    yield
    if not all(map(np.array_equal, given, before)):
        raise ExerciseError(complaint)


def returned(value: object, what: str = "The result") -> object:
    """What a reader's function returned. ``ExerciseError`` for None: it lacks a return."""
    if value is None:
        raise ExerciseError(f"{what} is None: is there a return at the end?")
    return value


def as_array(value: object, what: str) -> np.ndarray:
    """A reader's array, tensor or list of numbers as numpy. ``ExerciseError`` for all else."""
    if isinstance(returned(value, what), torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    try:
        array = np.asarray(value)
    except Exception:
        raise ExerciseError(f"{what} is no array: its parts have different shapes") from None
    if array.dtype.kind in "US":
        raise ExerciseError(f"{what} should hold numbers, not text")
    if array.dtype.kind not in "biuf":
        raise ExerciseError(f"{what} should be an array or a tensor, not {type(value).__name__}")
    return array


def number_in(value: object, what: str) -> float:
    """A reader's single number, as it is or in an array. ``ExerciseError`` for all else."""
    array = as_array(value, what)
    if array.size != 1:
        raise ExerciseError(f"{what} should be one number, not {array.size}")
    return float(array.reshape(-1)[0])


def compare(
    actual: object, wanted: object, what: str, slips: Mapping[str, object], tolerance=1e-4
) -> None:
    """Raise ``ExerciseError`` unless ``actual`` has the shape and the values of ``wanted``.

    ``slips`` maps the explanation of a likely mistake to the values that it gives, or to a list of
    such values. Values are arrays, tensors or numbers.
    """
    array, wanted = as_array(actual, what), np.asarray(wanted, dtype=np.float64)
    if array.shape != wanted.shape:
        raise ExerciseError(f"{what} has shape {array.shape}, expected {wanted.shape}")
    array = array.astype(np.float64)
    if np.allclose(array, wanted, atol=tolerance):
        return
    for slip, found in slips.items():
        for values in found if isinstance(found, list) else [found]:
            values = np.asarray(values, dtype=np.float64)
            if values.shape == array.shape and np.allclose(array, values, atol=tolerance):
                raise ExerciseError(slip)
    place = np.unravel_index(np.argmax(np.abs(array - wanted)), wanted.shape)
    index = f"[{', '.join(str(int(i)) for i in place)}]" if place else ""
    raise ExerciseError(
        f"{what}{index} is {array[place]:.4g}, expected {wanted[place]:.4g}"
        if np.isfinite(array).all()
        else f"{what} holds values that are not finite (nan or inf)"
    )


def compare_names(
    result: object, wanted: list[str], slips: Mapping[str, Iterable[str]], case: str
) -> None:
    """Raise ``ExerciseError`` unless ``result`` is the list ``wanted``; ``case`` says for what."""
    if isinstance(returned(result), str) or not isinstance(result, Iterable):
        raise ExerciseError(f"The names of the clips are asked for, a list, not {result!r}")
    result = list(result)
    if sorted(result) == wanted != result:
        raise ExerciseError("The right clips, but not sorted")
    for slip, names in slips.items():
        if set(result) == set(names) != set(wanted):
            raise ExerciseError(f"{slip} ({case})")
    if result != wanted:
        odd = sorted(set(result) ^ set(wanted)) or ["a clip that comes twice"]
        raise ExerciseError(f"Look at {odd[0]} ({case})")


# --- questions: the answer is a number, a letter or a few names ----------------------------------


def value_of(answer: object) -> object:
    """The answer itself, or what a function without arguments returns."""
    return returned(answer() if callable(answer) else answer, "The answer")


def number_of(answer: object) -> float:
    """The answer as one finite number. Raises ``ExerciseError`` if it is none."""
    value = value_of(answer)
    if isinstance(value, bool | str):
        raise ExerciseError(f"The answer should be one number, not {value!r}")
    number = number_in(value, "The answer")
    if not np.isfinite(number):
        raise ExerciseError(f"The answer should be a finite number, not {number}")
    return number


def letter_of(answer: object, letters: Iterable[str]) -> str:
    """The answer as one of ``letters``, lower case. Raises ``ExerciseError`` if it is none."""
    letters = sorted(letters)
    value = value_of(answer)
    letter = value.strip().strip("().").lower() if isinstance(value, str) else None
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

    check.right, check.slips = right, slips
    return check


def choice_question(praise: str, right: str, wrong: Mapping[str, str]) -> Callable:
    """Make the checker of a letter; ``wrong`` says of each other letter why it is wrong."""

    @checker(praise)
    def check(answer: object) -> None:
        letter = letter_of(answer, {right, *wrong})
        if letter != right:
            raise ExerciseError(wrong[letter])

    check.right, check.slips = right, {reason: letter for letter, reason in wrong.items()}
    return check


@checker("As predicted.")
def prediction(answer: object, measure: Callable, within: float = 0.0) -> str:
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
        guess = value.strip() if isinstance(value, str) else tuple(np.atleast_1d(value).tolist())
        found = measured if isinstance(measured, str) else tuple(measured)
        if guess == found or str(guess).lower() == str(found).lower():
            return f"As predicted: the run says {found}."
        same = isinstance(found, str) or len(guess) == len(found)
        length = "" if same else f" It should have {len(found)} entries."
        raise ExerciseError(f"You said {guess}, the run says {found}.{length}")
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
def picture(answer: object, kinds: Mapping[str, str], wanted: str) -> str:
    """``kinds`` says what each lettered picture is; the answer is the letter of ``wanted``."""
    letter = letter_of(answer, kinds)
    if kinds[letter] != wanted:
        raise ExerciseError(f"Picture {letter} is “{kinds[letter]}”. Look again for “{wanted}”")
    return "Well seen. " + "; ".join(f"{at} is “{kinds[at]}”" for at in sorted(kinds)) + "."


@checker("Just those: an interval that includes 0 shows nothing, whatever its middle is.")
def shown(answer: object, intervals: Mapping[str, tuple[float, float]]) -> None:
    """The answer is a list of the names whose interval ``(low, high)`` does not include 0."""
    value = value_of(answer)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ExerciseError(f"Return a list of names, also if it is one or none; not {value!r}")
    names = list(value)
    for name in names:
        if name not in intervals:
            raise ExerciseError(f"There is no row {name!r}; there are {', '.join(intervals)}")
        low, high = intervals[name]
        if low <= 0 <= high:
            raise ExerciseError(
                f"{name}: its interval, {low:+.1%} to {high:+.1%}, includes 0, so these clips do "
                "not show a difference"
            )
    for name, (low, high) in intervals.items():
        if name not in names and not low <= 0 <= high:
            side = "above" if low > 0 else "below"
            raise ExerciseError(
                f"{name} is missing: its interval, {low:+.1%} to {high:+.1%}, lies wholly {side} 0"
            )
