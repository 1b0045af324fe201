"""Accuracies of the mini set's lessons, against cases counted by hand."""

import numpy as np

from twostream_utils.experiments.lessons import LESSONS, best_weight, right, table, ways

CLASSES = ("Other", *LESSONS["where"])


def test_a_pair_is_counted_over_all_classes_and_within_itself():
    labels = np.array([0, 1, 1, 2, 2])
    scores = np.array([[1, 0, 0], [9, 5, 1], [0, 5, 1], [0, 2, 1], [5, 1, 2.0]])
    assert right(scores, labels, CLASSES, "where").tolist() == [False, True, False, False]
    within = right(scores, labels, CLASSES, "where", within=True)
    assert within.tolist() == [True, True, False, True]
    row = table({"a way": scores}, labels, CLASSES)["a way"]
    assert row == {"all": 0.4, "where": 0.25, "where within": 0.75}  # no ring, no time pair here
    assert not len(right(scores, labels, CLASSES, "ring", within=True))


def test_no_weight_repairs_what_neither_stream_knows():
    labels = np.array([1, 2] * 20)
    unsure = np.random.default_rng(0).normal(size=(2, 40, 3))
    known = unsure + 9 * np.eye(3)[labels]
    assert best_weight(*unsure, labels, CLASSES, "where") < 0.8
    assert best_weight(unsure[0], known[1], labels, CLASSES, "where") == 1
    held_out = known[0], unsure[1], labels
    found = ways(known[0], unsure[1], conv=known[1], held_out=held_out)
    assert list(found)[-2:] == ["SVM", "conv"]
    assert np.array_equal(found["product"].argmax(1), found["average of logits"].argmax(1))
    assert right(found["SVM"], labels, CLASSES, "where", within=True).mean() > 0.9
