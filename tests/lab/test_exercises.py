"""Checkers accept right answers however written, and name typical wrong ones."""

from __future__ import annotations

import data_answers
import layer_answers
import numpy as np
import pytest
import score_answers
import speed_answers
import stack_answers
import torch

from twostream_utils.lab.exercises import questions
from twostream_utils.lab.exercises.checking import ExerciseError, compare

TOPICS = data_answers, stack_answers, layer_answers, score_answers, speed_answers
RIGHT = {check: answers for topic in TOPICS for check, answers in topic.RIGHT.items()}
WRONG = {check: answers for topic in TOPICS for check, answers in topic.WRONG.items()}
NAMES = {
    check: name
    for topic in TOPICS
    for name, check in vars(topic.ex).items()
    if name.startswith("check_")
}


@pytest.mark.parametrize("check", RIGHT, ids=NAMES.get)
def test_right_answers_pass_however_written(check, capsys):
    assert len(RIGHT[check]) >= 2
    for answer in RIGHT[check]:
        assert check(answer), (answer, capsys.readouterr().out)
        assert capsys.readouterr().out.startswith("✅")


def test_a_single_number_has_no_place():
    for actual, wanted, said in ((2.0, 3.0, "loss is 2, exp"), ([2.0], [3.0], r"loss\[0\] is 2")):
        with pytest.raises(ExerciseError, match=said):
            compare(actual, np.array(wanted), "loss", {})


@pytest.mark.parametrize("check", WRONG, ids=NAMES.get)
def test_wrong_answers_are_rejected_by_name(check, capsys):
    assert len(WRONG[check]) >= 3
    for answer, word in WRONG[check]:
        assert not check(answer), word
        said = capsys.readouterr().out
        assert said.startswith("❌") and word in said, (word, said)


def unsolved(*_):
    raise NotImplementedError("your turn")


def test_stub_says_not_yet_and_the_notebook_runs_on(capsys):
    for check in RIGHT:
        assert not check(unsolved)
        assert capsys.readouterr().out.startswith("⏳")


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.ex.__name__)
def test_every_checker_is_tested(topic):
    own = {value for name, value in vars(topic.ex).items() if name.startswith("check_")}
    assert own == set(topic.RIGHT) == set(topic.WRONG)


# --- answers that a run decides -----------------------------------------------------------------

INTERVALS = {"reversed": (-0.12, -0.02), "shuffled": (-0.05, 0.01), "doubled": (0.01, 0.04)}
KINDS = {"a": "mirrored", "b": "only mirrored", "c": "v negated"}


@pytest.mark.parametrize(
    ("answer", "measured", "within"),
    [
        (33.3, 100 / 3, 0.1),
        (lambda: torch.tensor([33.3]), np.float32(100 / 3), 0.1),
        ((3, 9, 9), torch.Size([3, 9, 9]), 0),
        (np.array([3, 9, 9]), (3, 9, 9), 0),
        ("rgb", "rgb", 0),
        (0, 0.0, 0),
    ],
)
def test_a_prediction_that_the_run_confirms(answer, measured, within, capsys):
    assert questions.check_prediction(answer, lambda: measured, within=within)
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
        (0, -1.0, "too high"),
        ((9, 9), (3, 9, 9), "3 entries"),
        ((1, 7, 7), (3, 9, 9), "the run says (3, 9, 9)"),
        ("flow", "rgb", "You said flow"),
        (float("nan"), 1.0, "finite"),
        (lambda: None, 1.0, "return"),
        (lambda: 1 / 0, 1.0, "ZeroDivisionError"),
        ("much", 1.0, "one number"),
    ],
)
def test_a_prediction_that_the_run_refutes(answer, measured, word, capsys):
    assert not questions.check_prediction(answer, lambda: measured, within=0.01)
    said = capsys.readouterr().out
    assert said.startswith("❌") and word in said, said


def test_nothing_is_run_before_there_is_a_prediction(capsys):
    assert not questions.check_prediction(unsolved, lambda: pytest.fail("ran"), within=1)
    assert capsys.readouterr().out.startswith("⏳")


def test_a_run_that_fails_is_not_blamed_on_the_answer(capsys):
    assert not questions.check_prediction(3, unsolved, within=1)
    said = capsys.readouterr().out
    assert said.startswith(
        "❌ The run stopped with NotImplementedError: your turn. That says nothing"
    )


def test_the_letter_of_a_picture(capsys):
    for answer in "a", " A) ", lambda: "(a).":
        assert questions.check_picture(answer, KINDS, "mirrored")
        assert "b is “only mirrored”" in capsys.readouterr().out
    wrong = ("b", "b is “only mirrored”"), ("d", "one of a, b, c"), (1, "one of a, b, c")
    for answer, word in *wrong, (lambda: None, "return"):
        assert not questions.check_picture(answer, KINDS, "mirrored")
        assert word in capsys.readouterr().out
    assert not questions.check_picture(unsolved, KINDS, "mirrored")
    assert capsys.readouterr().out.startswith("⏳")


def test_which_differences_are_shown(capsys):
    for answer in ["reversed", "doubled"], lambda: ("doubled", "reversed"):
        assert questions.check_shown(answer, INTERVALS), capsys.readouterr().out
    assert questions.check_shown([], {"shuffled": (-0.05, 0.01)})
    capsys.readouterr()
    wrong = [
        (["reversed", "shuffled", "doubled"], "holds 0"),
        (["doubled"], "reversed is missing: its interval, -12.0% to -2.0%, lies wholly below 0"),
        (["reversed"], "above 0"),
        ("reversed", "list of names"),
        (["backwards"], "no row"),
        (lambda: None, "return"),
    ]
    for answer, word in wrong:
        assert not questions.check_shown(answer, INTERVALS)
        said = capsys.readouterr().out
        assert said.startswith("❌") and word in said, said
