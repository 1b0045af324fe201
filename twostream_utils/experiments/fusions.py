"""Fusions beside those of the course, to compare them with."""

from __future__ import annotations

import numpy as np

from twostream_utils.fusion import softmax


def svm_fusion(
    held_out: tuple[np.ndarray, np.ndarray],
    labels: np.ndarray,
    spatial: np.ndarray,
    temporal: np.ndarray,
) -> np.ndarray:
    """Fuse by a linear SVM on stacked L2-normalised softmax scores (Simonyan & Zisserman 2014, §5).

    Trained on ``held_out`` = (spatial, temporal) logits, each ``(M, classes)``, with ``labels``
    ``(M,)``: clips that the streams were not trained on, or their scores are too sure to learn
    from. Returns the decision values of the test clips, ``(N, classes)``, one against the rest;
    a class without a clip among the held-out ones gets the lowest value. C = 1.

    Raises ``ValueError`` for other classes among the test clips, or labels of fewer than two.
    """
    from sklearn.svm import LinearSVC

    known = np.unique(labels)
    if len(known) < 2:
        raise ValueError(f"an SVM needs clips of two classes or more, got labels {known.tolist()}")
    classes = np.shape(held_out[0])[1], np.shape(spatial)[1]
    if classes[0] != classes[1]:
        raise ValueError(f"{classes[0]} classes in the held-out scores, {classes[1]} in the others")
    machine = LinearSVC(C=1.0, dual="auto").fit(_stacked(*held_out), labels)
    values = machine.decision_function(_stacked(spatial, temporal))
    if len(known) == 2:
        values = np.stack([-values, values], axis=1)
    scores = np.full((len(values), np.shape(spatial)[1]), values.min() - 1)
    scores[:, known] = values
    return scores


def _stacked(spatial: np.ndarray, temporal: np.ndarray) -> np.ndarray:
    both = [softmax(x) for x in (spatial, temporal)]
    return np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in both], axis=1)
