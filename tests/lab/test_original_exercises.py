"""Checkers of notebook 11 accept right answers however written, and name typical wrong ones."""

import numpy as np
import pytest
import torch

from twostream_utils.lab.exercises import original as ex


def by_loop(weight):
    kinds = []
    for w in weight:
        if not any(torch.equal(w, other) for other in kinds):
            kinds.append(w)
    return len(kinds)


def by_numpy(weight):
    return np.unique(weight.numpy().reshape(len(weight), -1), axis=0).shape[0]


@pytest.mark.parametrize("answer", [by_loop, by_numpy])
def test_counting_is_accepted(answer, capsys):
    assert ex.check_count_filters(answer)
    assert "✅" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda w: len(w), "equal ones counted again"),
        (lambda w: len(torch.unique(w)), "whole filters"),
        (lambda w: 1, "different from filter 0"),
        (lambda w: len(torch.unique(w.sum(dim=(1, 2, 3)))) + 1, "Counted"),
        (lambda w: None, "return"),
    ],
)
def test_wrong_counts_are_named(answer, message, capsys):
    assert not ex.check_count_filters(answer)
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [lambda s: torch.cat([s[-2:], s[:-2]]), lambda s: np.roll(s.numpy(), 2, axis=0)],
)
def test_turning_back_is_accepted(answer):
    assert ex.check_unrotate(answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda s: s.roll(-2, dims=0), "one field further"),
        (lambda s: s.roll(1, dims=0), "two channels"),
        (lambda s: s.flip(0), "reversed"),
        (lambda s: s, "unchanged"),
        (lambda s: s[:-2], r"shape"),
    ],
)
def test_wrong_turns_are_named(answer, message, capsys):
    assert not ex.check_unrotate(answer)
    assert message in capsys.readouterr().out


@pytest.mark.parametrize("answer", [0.8, lambda: 194 / 243])
def test_share_is_accepted(answer):
    assert ex.check_constant_share(answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (49 / 243, "carries a picture"),
        (32 / 81, "3×9×9"),
        (2 / 3, "has a border"),
        (194, "share of 1"),
        ("most", "one number"),
    ],
)
def test_wrong_shares_are_named(answer, message, capsys):
    assert not ex.check_constant_share(answer)
    assert message in capsys.readouterr().out
