"""Late fusion: one answer from the scores of two streams, and the table of all methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, the same shape, float64."""
    logits = np.asarray(logits, np.float64)
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def late_fusion(
    spatial: np.ndarray, temporal: np.ndarray, weights: Sequence[float] = (1, 1),
    space: str = "softmax",
) -> np.ndarray:  # fmt: skip
    """Average the two streams' scores (Simonyan & Zisserman 2014, §2).

    ``spatial`` and ``temporal`` are logits ``(N, classes)`` of the same clips in the same order.
    ``space="softmax"`` averages probabilities, ``"logit"`` averages the logits and takes the
    softmax afterwards; ``weights`` are (spatial, temporal). Returns probabilities
    ``(N, classes)``, each row summing to 1.

    Raises ``ValueError`` for shapes that differ, weights that are not two numbers from 0 up with a
    sum above 0, or an unknown space.
    """
    if spatial.shape != temporal.shape:
        shapes = f"{spatial.shape} and {temporal.shape}"
        raise ValueError(f"scores of different clips or classes: {shapes}")
    if len(weights) != 2 or min(weights) < 0 or not 0 < sum(weights) < np.inf:
        raise ValueError(f"weights are two numbers from 0 up, not both 0; got {tuple(weights)}")
    a, b = np.array(weights) / sum(weights)
    if space == "softmax":
        return a * softmax(spatial) + b * softmax(temporal)
    if space == "logit":
        return softmax(a * spatial + b * temporal)
    raise ValueError(f"no space {space!r}; there are 'softmax' and 'logit'")


@dataclass(frozen=True)
class Method:
    """One way to an answer.

    ``networks`` have to be trained for it, ``"conv"`` with ``choices`` (see ``course.Course``);
    ``fuse`` maps the logits ``{network: (N, classes)}`` to probabilities ``(N, classes)``.
    ``published`` is the top-1 in % on UCF101, split 1, of Feichtenhofer et al. 2016 (VGG-16, conv
    fusion in 2D, as quoted in notes on the paper), if there is one.
    """

    title: str
    networks: tuple[str, ...]
    fuse: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    published: float | None = None
    choices: Mapping[str, object] = field(default_factory=dict)


# Every table, bar chart and results.json has these methods in this order.
METHODS = {
    "spatial": Method("Spatial stream", ("spatial",), lambda z: softmax(z["spatial"]), 82.61),
    "temporal": Method("Temporal stream", ("temporal",), lambda z: softmax(z["temporal"]), 86.25),
    "average_fusion": Method(
        "Average fusion", ("spatial", "temporal"),
        lambda z: late_fusion(z["spatial"], z["temporal"]), 90.62,
    ),
    "logit_average": Method(
        "Average of logits", ("spatial", "temporal"),
        lambda z: late_fusion(z["spatial"], z["temporal"], space="logit"),
    ),
    "conv_fusion": Method(
        "Conv fusion", ("spatial", "temporal", "conv"), lambda z: softmax(z["conv"]), 89.35
    ),
}  # fmt: skip


def choose_weights(
    spatial: np.ndarray, temporal: np.ndarray, labels: np.ndarray, space: str = "softmax"
) -> tuple[float, float]:
    """Return the weights (spatial, temporal), sum 1, that fuse held-out clips best.

    ``spatial`` and ``temporal`` are logits ``(N, classes)`` of clips whose groups were held out of
    the training set, never of test clips; ``labels`` is ``(N,)``. Best is the lowest mean negative
    log-likelihood on a grid of 0.05: it is smooth where the accuracy of few clips has steps.

    Raises ``ValueError`` for shapes that differ or another number of labels.
    """
    if len(labels) != len(spatial):
        raise ValueError(f"scores of {len(spatial)} clips, but {len(labels)} labels")
    best, lowest = None, np.inf
    for b in np.linspace(0, 1, 21).tolist():
        fused = late_fusion(spatial, temporal, (1 - b, b), space)
        of_truth = fused[np.arange(len(labels)), labels]
        loss = -np.log(of_truth + 1e-12).mean()
        if loss < lowest:
            best, lowest = (1 - b, b), loss
    return best
