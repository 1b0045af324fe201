from __future__ import annotations

import itertools

import pytest

from twostream_utils.splits import (
    UCF101_CLASSES,
    class_order,
    group_folds,
    hold_out_groups,
    official_split,
    other_spelling,
    parse_name,
)  # fmt: skip

# From the official lists: train and test clips of splits 1, 2, 3.
OFFICIAL_COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}


def listed(path):
    return [line.split()[0].split("/")[1].removesuffix(".avi") for line in path.open()]


@pytest.fixture(scope="module")
def lists(shared_data):
    folder = shared_data / "ucf101_splits"
    if not folder.is_dir():
        pytest.skip(f"official lists not found at {folder}")
    return folder


@pytest.mark.parametrize("split", [1, 2, 3])
def test_official_split_equals_the_list_files(lists, split):
    train = listed(lists / f"trainlist{split:02d}.txt")
    test = listed(lists / f"testlist{split:02d}.txt")
    groups = {name: parse_name(name).group for name in train + test}
    made = official_split(groups, split)
    assert made.train == sorted(train)
    assert made.test == sorted(test)
    assert (len(made.train), len(made.test)) == OFFICIAL_COUNTS[split]


def test_class_order_equals_the_index_file(lists):
    index = [line.split()[1] for line in (lists / "classInd.txt").open() if line.strip()]
    assert list(UCF101_CLASSES) == index
    assert class_order(reversed(index)) == index


def test_class_order_where_sorted_is_wrong():
    names = ["JumpingJack", "JumpRope", "HammerThrow", "Hammering"]
    assert class_order(names) == ["Hammering", "HammerThrow", "JumpingJack", "JumpRope"]
    assert sorted(names) != class_order(names)
    assert class_order(["walk", "Run", "bend"]) == ["bend", "Run", "walk"]


def test_parse_name():
    assert parse_name("v_JumpRope_g07_c02") == ("JumpRope", "g07", 2)
    assert parse_name("v_my_own_class_g12_c01") == ("my_own_class", "g12", 1)
    one, other = "v_HandStandPushups_g01_c03", "v_HandstandPushups_g01_c03"
    assert {parse_name(name).label for name in (one, other)} == {"HandstandPushups"}
    assert (other_spelling(one), other_spelling(other)) == (other, one)
    assert other_spelling("v_HandstandWalking_g01_c03") is None


@pytest.mark.parametrize("bad", ["", "daria_bend", "v_JumpRope_g7_c02", "v_JumpRope_g07_c02.avi"])
def test_parse_name_names_what_it_cannot_read(bad):
    with pytest.raises(ValueError, match="v_<Class>_gNN_cMM") as error:
        parse_name(bad)
    assert repr(bad) in str(error.value)


def test_official_split_by_hand():
    groups = {f"v_YoYo_g{g:02d}_c01": f"g{g:02d}" for g in (1, 7, 8, 14, 15, 21, 22, 25)}
    tests = {split: official_split(groups, split).test for split in (1, 2, 3)}
    assert tests[1] == ["v_YoYo_g01_c01", "v_YoYo_g07_c01"]
    assert tests[2] == ["v_YoYo_g08_c01", "v_YoYo_g14_c01"]
    assert tests[3] == ["v_YoYo_g15_c01", "v_YoYo_g21_c01"]
    with pytest.raises(ValueError, match="1, 2 and 3"):
        official_split(groups, 0)
    with pytest.raises(ValueError, match="daria"):
        official_split({"v_bend_daria_bend": "daria"}, 1)


def weizmann():
    persons = "daria denis eli ido ira lena lyova moshe shahar".split()
    actions = "bend jack jump pjump run side skip walk wave1 wave2".split()
    clips = {f"v_{a}_{p}_{a}": (p, a) for p, a in itertools.product(persons, actions)}
    return {k: person for k, (person, _) in clips.items()}, {k: a for k, (_, a) in clips.items()}


def assert_group_pure(split, groups):
    assert not {groups[c] for c in split.train} & {groups[c] for c in split.test}
    assert sorted(split.train + split.test) == sorted(groups)


def test_folds_are_group_pure_even_and_complete():
    groups, _ = weizmann()
    folds = group_folds(groups, 3)
    for fold in folds:
        assert_group_pure(fold, groups)
        assert len(fold.test) == 30
    assert sorted(c for fold in folds for c in fold.test) == sorted(groups)
    assert group_folds(dict(reversed(groups.items())), 3) == folds
    assert group_folds(groups, 3, seed=1) != folds
    uneven = {f"{g}{i}": g for g, n in zip("abcdef", (8, 5, 4, 3, 2, 2)) for i in range(n)}
    assert sorted(len(fold.test) for fold in group_folds(uneven, 3)) == [7, 8, 9]
    with pytest.raises(ValueError, match="3 folds need 3 groups; all clips here are of a, b: a t"):
        group_folds({"x": "a", "y": "b", "z": "b"}, 3)


def test_hold_out_where_one_person_acts_in_every_class():
    groups, labels = weizmann()
    split = hold_out_groups(groups, groups, 0.2, labels=labels)
    assert_group_pure(split, groups)
    assert len({groups[c] for c in split.test}) == 2
    assert {labels[c] for c in split.test} == set(labels.values())
    assert hold_out_groups(reversed(groups), groups, 0.2, labels=labels) == split


def test_hold_out_keeps_every_class_in_training_and_never_empties_a_side():
    # Each clip its own group, one class with a single clip.
    groups = {name: name for name in ("a1", "a2", "a3", "a4", "b1")}
    labels = {name: name[0] for name in groups}
    for seed in range(20):
        split = hold_out_groups(groups, groups, 0.25, seed, labels)
        assert "b1" in split.train and len(split.test) == 1
        assert all(hold_out_groups(["x", "y"], {"x": "1", "y": "2"}, 0.01, seed))
        assert all(hold_out_groups(["x", "y"], {"x": "1", "y": "2"}, 0.99, seed))
    with pytest.raises(ValueError, match="two groups"):
        hold_out_groups(["x", "y"], {"x": "1", "y": "1"})
