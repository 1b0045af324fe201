"""Metrics and intervals against hand-computed values and the libraries."""

import numpy as np
import pytest

from twostream_utils import evaluation as ev
from twostream_utils.lab.results import check_same_clips

LOGITS = np.array([[3.0, 1, 0], [0, 2, 1], [1, 0, 2], [5, 4, 3]])
LABELS = np.array([0, 2, 2, 1])


def make(**changes):
    fields = dict(
        clips=("a", "b", "c", "d"), labels=LABELS,
        logits=np.stack([LOGITS, LOGITS], 1).astype(np.float32), classes=("x", "y", "z"),
        seconds=1.5,
    )  # fmt: skip
    return ev.Scores(**(fields | changes))


def test_top_k_by_hand():
    assert ev.correct(LOGITS, LABELS).tolist() == [True, False, True, False]
    assert ev.correct(LOGITS, LABELS, k=2).tolist() == [True, True, True, True]
    assert ev.correct(LOGITS, LABELS, k=5).all()
    with pytest.raises(ValueError, match="scores of 4 clips, but 1 labels"):
        ev.correct(LOGITS, LABELS[:1])


def test_bootstrap_interval_agrees_with_the_normal_approximation():
    hits = np.r_[np.ones(160), np.zeros(40)]
    low, high = ev.bootstrap_interval(hits)
    error = 1.96 * np.sqrt(0.8 * 0.2 / 200)
    assert low == pytest.approx(0.8 - error, abs=0.01)
    assert high == pytest.approx(0.8 + error, abs=0.01)
    assert ev.bootstrap_interval(np.ones(10)) == (1.0, 1.0)


def test_bootstrap_draws_seeds_and_clips():
    """Seeds that agree on every clip add nothing; seeds that differ as wholes widen it."""
    hits = np.r_[np.ones(60), np.zeros(40)]
    one = ev.bootstrap_interval(hits)
    assert ev.bootstrap_interval(hits[None]) == one
    assert ev.bootstrap_interval(np.stack([hits] * 3)) == pytest.approx(one, abs=0.011)
    low, high = ev.bootstrap_interval(np.stack([hits, 1 - hits, hits]))
    assert high - low > 1.2 * (one[1] - one[0])


def test_whole_groups_are_drawn():
    """Two groups of 1 and 3 clips: the draws are 11, 12, 21, 22, whose means are known."""
    ends = ev.bootstrap_interval([1, 0, 0, 0], ["a", "b", "b", "b"])
    assert ends == (0, 1)  # each of both extremes is a quarter of the draws
    ends = ev.bootstrap_interval([1, 0, 0, 0], ["a", "b", "b", "b"], confidence=0.4)
    assert ends == (0.25, 0.25)  # the mean of the drawn clips, not of the two groups, 0.5
    one = ev.bootstrap_interval([1, 0, 1, 0], list("aabb"))
    assert one == (0.5, 0.5)  # groups that are all alike have nothing to say


def test_groups_widen_what_they_share_and_nothing_else():
    rng = np.random.default_rng(0)
    of_groups = rng.random(70) < 0.8
    groups = np.repeat(np.arange(70), 4)
    low, high = ev.bootstrap_interval(np.repeat(of_groups, 4), groups)
    alone = ev.bootstrap_interval(of_groups)  # copies of a clip add nothing
    assert (low, high) == pytest.approx(alone, abs=1e-9)
    single = ev.bootstrap_interval(np.repeat(of_groups, 4))
    assert high - low == pytest.approx(2 * (single[1] - single[0]), rel=0.1)
    free = rng.random(280) < 0.8  # groups that share nothing: as clips
    wide, narrow = (np.diff(ev.bootstrap_interval(free, g))[0] for g in (groups, None))
    assert wide == pytest.approx(narrow, rel=0.15)
    shuffled = rng.permutation(280)
    again = ev.bootstrap_interval(free[shuffled], groups[shuffled])
    assert again == ev.bootstrap_interval(free, groups)  # the order of clips does not matter
    with pytest.raises(ValueError, match="values of 280 clips, but 70 groups"):
        ev.bootstrap_interval(free, np.arange(70))


def test_paired_difference_is_tighter_than_two_intervals():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    worse = np.eye(3)[np.where(rng.random(300) < 0.7, labels, (labels + 1) % 3)]
    better = worse.copy()
    mended = np.flatnonzero(worse.argmax(1) != labels)[:30]
    better[mended] = np.eye(3)[labels[mended]]
    gain, (low, high) = ev.paired_difference(better, worse, labels)
    assert gain == pytest.approx(0.1)
    assert 0 < low < 0.1 < high < 0.16


def test_scores_round_trip_and_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "deep" / "scores.npz"
    make().save(path)
    loaded = ev.Scores.load(path)
    assert loaded.clips == make().clips and loaded.classes == make().classes
    assert loaded.seconds == 1.5
    np.testing.assert_array_equal(loaded.logits, make().logits)
    np.testing.assert_allclose(loaded.clip_logits(), LOGITS)
    assert [p.name for p in path.parent.iterdir()] == ["scores.npz"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="scores.npz.*score again"):
        ev.Scores.load(path)
    with pytest.raises(FileNotFoundError):
        ev.Scores.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clips": ("a", "b", "c", "e")}, "clips, 4 and 4: number 4 is d in the first and e in"),
        ({"clips": ("a", "c", "b", "d")}, "clips, 4 and 4: number 2 is b .* and c in the second"),
        ({"clips": ("a", "b", "c")}, "clips, 4 and 3: number 4 is d .* and None"),
        ({"classes": ("x", "y", "w")}, "classes, 3 and 3: number 3 is z .* and w"),
        ({"labels": np.array([0, 0, 2, 1])}, "labels, 4 and 4: number 2 is 2 .* and 0"),
    ],
)
def test_scores_of_other_clips_are_named(changes, said):
    check_same_clips(make(), make())
    with pytest.raises(ValueError, match=f"scores of different {said}"):
        check_same_clips(make(), make(**changes))
