"""Checkers of notebook 09 accept right answers however written, and name typical wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twostream_utils.lab.exercises import own_video as ex


def cam_broadcast(maps, gradient):
    weights = gradient.mean(dim=(1, 2), keepdim=True)
    return (weights * maps).sum(dim=0).clamp(min=0)


def cam_einsum(maps, gradient):
    return np.maximum(np.einsum("k,kij->ij", gradient.numpy().mean((1, 2)), maps.numpy()), 0)


def cam_loop(maps, gradient):
    total = torch.zeros(maps.shape[1:])
    for one, slope in zip(maps, gradient):
        total += slope.mean() * one
    return torch.relu(total)


def ticks_of(times, rate):
    return np.arange(0, times[-1] + 1e-9, 1 / rate)


def nearest_table(times, rate):
    return np.abs(times[None] - ticks_of(times, rate)[:, None]).argmin(axis=1)


def nearest_loop(times, rate):
    out, k = [], 0
    while k / rate <= times[-1] + 1e-9:
        out.append(min(range(len(times)), key=lambda i: (abs(times[i] - k / rate), -i)))
        k += 1
    return out


def nearest_search(times, rate):
    middles = torch.as_tensor((times[1:] + times[:-1]) / 2)
    return torch.searchsorted(middles, torch.as_tensor(ticks_of(times, rate)))


def leaks_set(train, test, group):
    known = {group[clip] for clip in train}
    return sorted(clip for clip in test if group[clip] in known)


def leaks_loops(train, test, group):
    found = []
    for clip in sorted(test):
        for other in train:
            if group[other] == group[clip]:
                found.append(clip)
                break
    return tuple(found)


RIGHT = {
    ex.check_grad_cam: [cam_broadcast, cam_einsum, cam_loop],
    ex.check_steady_frames: [nearest_table, nearest_loop, nearest_search],
    ex.check_leaks: [leaks_set, leaks_loops],
}


def weighted(maps, gradient):
    return gradient.mean((1, 2), keepdim=True) * maps


WRONG = {
    ex.check_grad_cam: [
        (lambda m, g: weighted(m, g).sum(0), "cut off at zero at the end"),
        (lambda m, g: weighted(m, g).sum(0).abs(), "absolute value"),
        (lambda m, g: weighted(m, g).relu().sum(0), "before the sum"),
        (lambda m, g: (g * m).sum(0).relu(), "place by place"),
        (lambda m, g: (g * m).sum(0), "nothing is cut off"),
        (lambda m, g: (g.sum((1, 2), keepdim=True) * m).sum(0).relu(), "take the mean"),
        (lambda m, g: weighted(m, g).mean(0).relu(), "mean over the maps"),
        (lambda m, g: m.sum(0), "not weighted"),
        (lambda m, g: (m.mean((1, 2), keepdim=True) * m).sum(0).relu(), "come from the gradient"),
        (lambda m, g: cam_loop(m, g) / cam_loop(m, g).max(), "scaled"),
        (lambda m, g: weighted(m, g).relu(), "shape"),
        (lambda m, g: cam_loop(m.mul_(2), g), "was changed|were changed"),
        (lambda m, g: None, "return"),
    ],
    ex.check_steady_frames: [
        (lambda t, r: nearest_table(t, r) + 1, "count from 1"),
        (lambda t, r: t[nearest_table(t, r)], "times of the frames"),
        (ticks_of, "Those are the ticks"),
        (lambda t, r: np.searchsorted(t, ticks_of(t, r)), "after the tick"),
        (lambda t, r: np.searchsorted(t, ticks_of(t, r), side="right") - 1, "before the tick"),
        (
            lambda t, r: np.rint(np.arange(len(ticks_of(t, r))) * (len(t) - 1) / t[-1] / r),
            "as if the rate were steady",
        ),
        (lambda t, r: nearest_table(t, r)[:-1], "missing"),
        (lambda t, r: None, "return"),
    ],
    ex.check_leaks: [
        (lambda a, b, g: sorted({g[c] for c in a} & {g[c] for c in b}), "names of the groups"),
        (lambda a, b, g: leaks_set(b, a, g), "training clips with a twin"),
        (lambda a, b, g: sorted(set(b) - set(leaks_set(a, b, g))), "clean test clips"),
        (lambda a, b, g: sorted(set(a) & set(b)), "compare groups"),
        (lambda a, b, g: len(leaks_set(a, b, g)), "number"),
        (lambda a, b, g: leaks_set(a, b, g)[::-1], "not sorted"),
        (
            lambda a, b, g: sorted(
                c for c in b if any(g[c] == g[d] and c[0] == d[0] for d in a)
            ),
            "same class",
        ),
        (lambda a, b, g: sorted(b), "look at"),
        (lambda a, b, g: None, "return"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_right_answers_pass_however_written(check, capsys):
    for answer in RIGHT[check]:
        assert check(answer), (answer.__name__, capsys.readouterr().out)
        assert capsys.readouterr().out.startswith("✅")


@pytest.mark.parametrize("check", WRONG, ids=lambda check: check.__name__)
def test_wrong_answers_are_rejected_by_name(check, capsys):
    assert len(WRONG[check]) >= 3
    for answer, words in WRONG[check]:
        assert not check(answer), words
        said = capsys.readouterr().out
        assert said.startswith("❌") and any(word in said for word in words.split("|")), said


def test_stub_says_not_yet(capsys):
    def stub(*_):
        raise NotImplementedError("your turn")

    for check in RIGHT:
        assert not check(stub)
        assert capsys.readouterr().out.startswith("⏳")


def test_every_checker_is_tested():
    checkers = {value for name, value in vars(ex).items() if name.startswith("check_")}
    questions = {ex.check_growth, ex.check_coarse}  # tested further down
    assert checkers - questions == set(RIGHT) == set(WRONG)


def test_questions_accept_the_answer_and_name_the_slips(capsys):
    assert ex.check_growth(2) and ex.check_growth(lambda: 2.0)
    assert ex.check_coarse("b") and ex.check_coarse(lambda: "(B)")
    capsys.readouterr()
    for check, wrong, message in (
        (ex.check_growth, 0.5, "twice the time"),
        (ex.check_growth, 1, "px per frame"),
        (ex.check_growth, 4, "not squared"),
        (ex.check_coarse, "a", "sharp enough"),
        (ex.check_coarse, "c", "within a cell"),
        (ex.check_coarse, "d", "one of a, b, c"),
    ):
        assert not check(wrong)
        assert message in capsys.readouterr().out
