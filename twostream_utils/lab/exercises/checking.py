"""The mechanism behind the exercise checkers: verdicts, messages, and comparing an answer.

A checker computes what it expects in a few lines of its own, so that it tests the reader's answer
and not the module. A wrong answer that has a name (a known slip) is called by that name.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch


class ExerciseError(Exception):
    """An answer that is wrong; the message says how, in the reader's terms."""


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
    exception of the reader's code becomes a message that names it. Returns a :class:`Verdict`.
    ``check`` may return a praise of its own.
    """

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def run(answer: object, *given: object, **named: object) -> Verdict:
            try:
                said = check(answer, *given, **named)
            except NotImplementedError:
                print("⏳ Not yet: replace the line that raises, then run this cell again.")
                return Verdict(False)
            except (ExerciseError, AssertionError) as error:
                print(f"❌ {error}")
                return Verdict(False)
            except Exception as error:
                name = getattr(answer, "__name__", "your answer")
                print(f"❌ {name} stopped with {type(error).__name__}: {error}")
                return Verdict(False)
            print(f"✅ {said or praise}")
            return Verdict(True)

        return run

    return decorate


@contextlib.contextmanager
def unchanged(complaint: str, *given: np.ndarray | torch.Tensor) -> Iterator[None]:
    """Raise ``ExerciseError(complaint)`` if the block changes what was ``given`` to an answer."""
    before = [copy.deepcopy(value) for value in given]
    yield
    if not all(map(np.array_equal, given, before)):
        raise ExerciseError(complaint)


def as_array(value: object, what: str) -> np.ndarray:
    """A reader's array, tensor or list as numpy. ``ExerciseError`` if it is none of these."""
    if value is None:
        raise ExerciseError(f"{what} is None: is there a return at the end?")
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype == object:
        raise ExerciseError(f"{what} should be an array or a tensor, not {type(value).__name__}")
    return array


def compare(
    actual: object, wanted: np.ndarray, what: str, slips: dict[str, np.ndarray], tolerance=1e-4
) -> None:
    """Raise ``ExerciseError`` unless ``actual`` has the shape and the values of ``wanted``.

    ``slips`` maps the explanation of a likely mistake to the values that it gives.
    """
    array = as_array(actual, what)
    if array.shape != wanted.shape:
        raise ExerciseError(f"{what} has shape {array.shape}, expected {wanted.shape}")
    array = array.astype(np.float64)
    if np.allclose(array, wanted, atol=tolerance):
        return
    for slip, values in slips.items():
        if values.shape == array.shape and np.allclose(array, values, atol=tolerance):
            raise ExerciseError(slip)
    place = np.unravel_index(np.argmax(np.abs(array - wanted)), wanted.shape)
    index = f"[{', '.join(str(int(i)) for i in place)}]" if place else ""
    raise ExerciseError(
        f"{what}{index} is {array[place]:.4g}, expected {wanted[place]:.4g}"
        if np.isfinite(array).all()
        else f"{what} holds values that are not finite (nan or inf)"
    )
