"""Late fusion: one answer from the scores of two streams, and the table of all methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from .profiles import INPUTS


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
    ``space="softmax"`` averages probabilities, ``"logit"`` the logits, with the softmax afterwards;
    ``weights`` are (spatial, temporal), from 0 up. Returns probabilities ``(N, classes)``. Raises
    ``ValueError`` for shapes that differ, other weights, or an unknown space.
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


def weigh(logits: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """Return weights w, from 0 up, with which softmax(Σ wₖ·zₖ) fits held-out clips best.

    ``logits`` z are those of K networks, ``(K, N, classes)``, for clips whose groups none of them
    was trained on; ``labels`` is ``(N,)``. Best is the lowest mean negative log-likelihood. The sum
    of w is free, so that a network that is less sure than it may be does not count as worse.
    """
    shares = [s for s in product(range(11), repeat=len(logits)) if sum(s) == 10]
    grid = [tuple(total * s / 10 for s in share) for share in shares for total in (0.5, 1, 2, 4, 8)]

    def loss(weights: tuple[float, ...]) -> float:
        fused = softmax(np.tensordot(weights, logits, axes=1))
        return -np.log(fused[np.arange(len(labels)), labels] + 1e-12).mean()

    return min(grid, key=loss)


@dataclass(frozen=True)
class Method:
    """One way to an answer.

    ``networks`` have to be trained for it, ``"conv"`` with ``choices`` (see ``course.Course``);
    ``fuse`` maps the logits ``{network: (N, classes)}`` to probabilities ``(N, classes)``. If
    ``weighted``, it finds what :func:`weigh` returns under ``"weights"``.
    """

    title: str
    networks: tuple[str, ...]
    fuse: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    choices: Mapping[str, object] = field(default_factory=dict)
    weighted: bool = False


# Every table, bar chart and results.json has these methods in this order.
METHODS = {
    "spatial": Method("Spatial stream", ("spatial",), lambda z: softmax(z["spatial"])),
    "temporal": Method("Temporal stream", ("temporal",), lambda z: softmax(z["temporal"])),
    "average_fusion": Method("Average fusion", ("spatial", "temporal"),
                             lambda z: late_fusion(z["spatial"], z["temporal"])),
    "logit_average": Method("Average of logits", ("spatial", "temporal"),
                            lambda z: late_fusion(z["spatial"], z["temporal"], space="logit")),
    "conv_fusion": Method("Conv fusion", tuple(INPUTS), lambda z: softmax(z["conv"])),
    "weighted_fusion": Method("Weighted fusion", tuple(INPUTS), weighted=True, fuse=lambda z:
                              softmax(sum(w * z[n] for n, w in zip(INPUTS, z["weights"])))),
}  # fmt: skip
