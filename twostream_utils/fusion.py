"""Late fusion: one answer from the scores of two streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, the same shape, float64."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def late_fusion(
    spatial: np.ndarray,
    temporal: np.ndarray,
    weights: Sequence[float] = (1, 1),
    space: str = "softmax",
) -> np.ndarray:
    """Average the two streams' scores (Simonyan & Zisserman 2014, §2).

    ``spatial`` and ``temporal`` are logits ``(N, classes)`` of the same clips in the same order.
    ``space="softmax"`` averages probabilities, ``"logit"`` averages the logits and takes the
    softmax afterwards; ``weights`` are (spatial, temporal). Returns probabilities
    ``(N, classes)``, each row summing to 1.

    Raises ``ValueError`` for shapes that differ, weights that are not two numbers from 0 up with a
    sum above 0, or an unknown space.
    """
    spatial, temporal = _same_shape(spatial, temporal)
    if len(weights) != 2:
        raise ValueError(f"two streams have two weights, got {len(weights)}: {tuple(weights)}")
    a, b = np.asarray(weights, dtype=np.float64)
    if not (a >= 0 and b >= 0 and 0 < a + b < np.inf):  # no comparison holds for NaN
        raise ValueError(f"weights must be numbers from 0 up, not both 0; got {tuple(weights)}")
    a, b = a / (a + b), b / (a + b)
    if space == "softmax":
        return a * softmax(spatial) + b * softmax(temporal)
    if space == "logit":
        return softmax(a * spatial + b * temporal)
    raise ValueError(f"no space {space!r}; there are 'softmax' and 'logit'")


def product_fusion(spatial: np.ndarray, temporal: np.ndarray) -> np.ndarray:
    """Multiply the two streams' probabilities and normalise: ``(N, classes)``, rows sum to 1.

    The right rule if the streams erred independently given the class (Kittler et al. 1998, §2.1).
    It equals the softmax of the *sum* of logits, so it ranks the classes as their average does.
    """
    spatial, temporal = _same_shape(spatial, temporal)
    return softmax(spatial + temporal)


def choose_weights(
    spatial: np.ndarray, temporal: np.ndarray, labels: np.ndarray, space: str = "softmax"
) -> tuple[float, float]:
    """Return the weights (spatial, temporal), sum 1, that fuse held-out clips best.

    ``spatial`` and ``temporal`` are logits ``(N, classes)`` of clips whose groups were held out of
    the training set, never of test clips; ``labels`` is ``(N,)``. Best is the lowest mean negative
    log-likelihood on a grid of 0.05: it is smooth where the accuracy of few clips has steps.

    Raises ``ValueError`` for shapes that differ or another number of labels.
    """
    labels = np.asarray(labels)
    if len(labels) != len(spatial):
        raise ValueError(f"scores of {len(spatial)} clips, but {len(labels)} labels")

    def loss(b: float) -> float:
        fused = late_fusion(spatial, temporal, (1 - b, b), space)
        return -np.log(fused[np.arange(len(labels)), labels] + 1e-12).mean()

    b = min(np.linspace(0, 1, 21), key=loss)
    return float(1 - b), float(b)


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

    Raises ``ValueError`` for shapes that differ, other classes among the test clips, or fewer than
    two classes among ``labels``.
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
    both = [softmax(x) for x in _same_shape(spatial, temporal)]
    return np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in both], axis=1)


def _same_shape(spatial: np.ndarray, temporal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spatial, temporal = np.asarray(spatial), np.asarray(temporal)
    if spatial.shape != temporal.shape:
        raise ValueError(
            f"scores of different clips or classes: spatial is {spatial.shape}, "
            f"temporal is {temporal.shape}"
        )
    return spatial, temporal
