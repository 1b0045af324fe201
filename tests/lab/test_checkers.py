"""Checkers accept right answers however written, and name typical wrong ones.

The answers are in answers_*.py: RIGHT maps a checker to right answers written in different ways,
WRONG to pairs of a wrong answer and a part of the message that names its slip.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from twostream_utils.lab.exercises import checking, nb01, nb04, nb06, nb09
from twostream_utils.lab.exercises.checking import prediction

TOPICS = [
    importlib.import_module(path.stem)
    for path in sorted(Path(__file__).parent.glob("answers_*.py"))
]
RIGHT = {check: answers for topic in TOPICS for check, answers in topic.RIGHT.items()}
WRONG = {check: answers for topic in TOPICS for check, answers in topic.WRONG.items()}
MODULES = [
    importlib.import_module(f"{checking.__package__}.{path.stem}")
    for path in sorted(Path(checking.__file__).parent.glob("nb*.py"))
]
CHECKERS = {getattr(module, name): name for module in MODULES for name in module.__all__}
QUESTIONS = [check for check in CHECKERS if hasattr(check, "slips")]
OF_A_RUN = {checking.picture, checking.prediction, checking.shown}  # tested further down


def test_every_checker_is_tested():
    assert set(CHECKERS) - OF_A_RUN == {*RIGHT, *QUESTIONS} and set(RIGHT) == set(WRONG)
    assert all(len(RIGHT[check]) >= 2 and len(WRONG[check]) >= 3 for check in RIGHT)


@pytest.mark.parametrize("check", RIGHT, ids=CHECKERS.get)
def test_right_answers_pass_however_written(check, capsys):
    for answer in RIGHT[check]:
        assert check(answer), (answer, capsys.readouterr().out)
        assert capsys.readouterr().out.startswith("✅")


@pytest.mark.parametrize("check", WRONG, ids=CHECKERS.get)
@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_wrong_answers_are_rejected_by_name(check, capsys):
    for answer, word in WRONG[check]:
        assert not check(answer), word
        printed = capsys.readouterr().out
        assert printed.startswith("❌") and word in printed, (word, printed)


@pytest.mark.parametrize("check", QUESTIONS, ids=CHECKERS.get)
def test_questions_know_the_answer_and_their_slips(check, capsys):
    for answer in check.right, lambda: check.right:
        assert check(answer)
    for slip, wrong in check.slips.items():
        capsys.readouterr()
        assert not check(wrong) and slip in capsys.readouterr().out
    strange = "z" if isinstance(check.right, str) else [4, 5]
    assert not check(strange) and "should be one" in capsys.readouterr().out


def test_questions_take_answers_as_people_write_them(capsys):
    for answer in 630, np.float32(630.4), torch.tensor([630]):
        assert nb09.groups_needed(answer)
    for answer in "b", " B) ", "(b).":
        assert checking.letter_of(answer, "abc") == "b"
    capsys.readouterr()
    for answer, word in ("630", "one number"), (900, "too high"), (float("nan"), "finite"):
        assert not nb09.groups_needed(answer) and word in capsys.readouterr().out


# --- the mechanism ------------------------------------------------------------------------------


def unsolved(*_):
    raise NotImplementedError("your turn")


def test_stub_says_not_yet_and_the_notebook_runs_on(capsys):
    for check in {*CHECKERS} - OF_A_RUN:
        assert not check(unsolved)
        assert capsys.readouterr().out.startswith("⏳")


def test_what_stops_an_answer_is_named_with_its_line(capsys):
    def shape_off(state, *sizes):
        mean = state["features.0.weight"].mean(dim=1)
        return mean.sum(dim=7)

    def own_assert(state, n, *sizes):
        assert n == 3
        return state

    def no_stub(state, *sizes):
        raise NotImplementedError("no kernel for this type")

    for answer, line, words in (
        (shape_off, 2, "(return mean.sum(dim=7)) with IndexError: Dimension out of range"),
        (own_assert, 1, "(assert n == 3) with AssertionError"),
        (no_stub, 1, "with NotImplementedError: no kernel"),
        (lambda state, *sizes: 1 / 0, 0, "with ZeroDivisionError: division by zero"),
    ):
        assert not nb04.pretrained_vgg(answer)
        printed = capsys.readouterr().out
        place = f" stopped in line {answer.__code__.co_firstlineno + line} "
        assert printed.startswith("❌") and place in printed and words in printed, printed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda q: [[1.0, 2.0], [3.0]], "parts have different shapes"),
        (lambda q: "as it was", "not text"),
        (lambda q: {"flow": q}, "array or a tensor, not dict"),
        (lambda q: None, "return"),
        (lambda q: torch.from_numpy(q.copy()).bfloat16(), ", expected "),
        (lambda q: q.ravel(), "shape"),
        (lambda q: q * np.nan, "not finite"),
    ],
)
def test_results_that_are_no_array_of_numbers(answer, word, capsys):
    assert not nb06.mirror_stack(answer)
    printed = capsys.readouterr().out
    assert printed.startswith("❌") and word in printed and "stopped" not in printed, printed


def test_what_a_check_fails_on_is_not_blamed_on_the_answer(capsys):
    def lazy(names, split):
        return names, [[name] for name in names]

    assert not nb01.official_split(lazy)
    assert "This check cannot read what lazy returned" in capsys.readouterr().out


# --- answers that a run decides -----------------------------------------------------------------

INTERVALS = {"reversed": (-0.12, -0.02), "shuffled": (-0.05, 0.01), "doubled": (0.01, 0.04)}
KINDS = {"a": "mirrored", "b": "only mirrored", "c": "v negated"}


@pytest.mark.parametrize(
    ("answer", "measured", "within"),
    [
        (lambda: torch.tensor([33.3]), np.float32(100 / 3), 0.1),
        ((3, 9, 9), torch.Size([3, 9, 9]), 0),
        (np.array([3, 9, 9]), (3, 9, 9), 0),
        ("rgb", "rgb", 0),
        ("Whole groups ", "whole groups", 0),
        (0, 0.0, 0),
    ],
)
def test_a_prediction_that_the_run_confirms(answer, measured, within, capsys):
    assert prediction(answer, lambda: measured, within=within)
    assert capsys.readouterr().out.startswith("✅ As predicted: the run says")


@pytest.mark.parametrize(
    ("answer", "measured", "word"),
    [
        (0.841, 84.1, "per cent, not a fraction"),
        (84.1, 0.841, "fraction of 1"),
        (-3.2, 3.2, "sign"),
        (0.03, 100 / 3, "upside down"),
        (100, 100 / 3, "too high"),
        (10, 100 / 3, "too low"),
        ((9, 9), (3, 9, 9), "3 entries"),
        ((1, 7, 7), (3, 9, 9), "the run says (3, 9, 9)"),
        ("flow", "rgb", "You said flow"),
        (lambda: None, 1.0, "return"),
    ],
)
def test_a_prediction_that_the_run_refutes(answer, measured, word, capsys):
    assert not prediction(answer, lambda: measured, within=0.01)
    printed = capsys.readouterr().out
    assert printed.startswith("❌") and word in printed, printed


def test_a_run_comes_after_the_prediction_and_its_failure_is_not_blamed_on_it(capsys):
    assert not prediction(unsolved, lambda: pytest.fail("ran"), within=1)
    assert capsys.readouterr().out.startswith("⏳")
    assert not prediction(3, unsolved, within=1)
    words = "❌ The run stopped with NotImplementedError: your turn. That says nothing"
    assert capsys.readouterr().out.startswith(words)


def test_the_letter_of_a_picture(capsys):
    for answer in "a", " A) ", lambda: "(a).":
        assert checking.picture(answer, KINDS, "mirrored")
        assert "b is “only mirrored”" in capsys.readouterr().out
    wrong = ("b", "b is “only mirrored”"), ("d", "one of a, b, c"), (1, "one of a, b, c")
    for answer, word in *wrong, (lambda: None, "return"):
        assert not checking.picture(answer, KINDS, "mirrored")
        assert word in capsys.readouterr().out


def test_which_differences_are_shown(capsys):
    for answer in ["reversed", "doubled"], lambda: ("doubled", "reversed"):
        assert checking.shown(answer, INTERVALS), capsys.readouterr().out
    assert checking.shown([], {"shuffled": (-0.05, 0.01)})
    capsys.readouterr()
    wrong = [
        (["reversed", "shuffled", "doubled"], "includes 0"),
        (["doubled"], "reversed is missing: its interval, -12.0% to -2.0%, lies wholly below 0"),
        (["reversed"], "above 0"),
        ("reversed", "list of names"),
        (["backwards"], "no row"),
    ]
    for answer, word in wrong:
        assert not checking.shown(answer, INTERVALS)
        printed = capsys.readouterr().out
        assert printed.startswith("❌") and word in printed, printed
