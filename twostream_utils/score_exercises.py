"""Exercise checkers for scores and fusion; each prints a verdict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .checking import ExerciseError, as_array, checker, compare


@checker("The average of two softmax outputs: each row still sums to 1.")
def check_late_fusion(answer: Callable) -> None:
    """``answer(spatial_logits (N, C), temporal_logits (N, C))`` → probabilities ``(N, C)``."""
    generator = torch.Generator().manual_seed(0)
    spatial = 4 * torch.randn(6, 5, generator=generator)
    temporal = torch.randn(6, 5, generator=generator)
    p, q = spatial.softmax(1), temporal.softmax(1)
    wanted = ((p + q) / 2).numpy()
    product = p * q
    slips = {
        "The logits are averaged, then softmaxed. Each stream gets its softmax first: otherwise "
        "the stream with the larger logits decides alone": ((spatial + temporal) / 2).softmax(1),
        "The logits are averaged and no softmax is taken": (spatial + temporal) / 2,
        "The two softmax outputs are added but not halved: rows sum to 2": p + q,
        "The two softmax outputs are multiplied; the average was asked for": product,
        "The two softmax outputs are multiplied; the average was asked for.": product
        / product.sum(1, keepdim=True),
        "The softmax runs over the clips (dim 0); it runs over the classes (dim 1)": (
            spatial.softmax(0) + temporal.softmax(0)
        )
        / 2,
        "Softmax is taken twice": ((p + q) / 2).softmax(1),
    }
    slips = {text: values.numpy() for text, values in slips.items()}
    compare(answer(spatial, temporal), wanted, "the fused score", slips)


@checker("Rows are the true classes, columns what was said, and a class never seen is a row of 0.")
def check_confusion(answer: Callable) -> None:
    """``answer(predicted (N,), labels (N,), classes: int)`` → counts ``(classes, classes)``."""
    rng = np.random.default_rng(0)
    labels, predicted, classes = rng.integers(4, size=30), rng.integers(5, size=30), 6
    wanted = np.zeros((classes, classes))
    np.add.at(wanted, (labels, predicted), 1)
    share = wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1)
    slips = {
        "Rows and columns are swapped: a row is a true class, a column a prediction": wanted.T,
        "Those are shares of each row; the counts were asked for": share,
        "Each pair counts at most once: m[i, j] += 1 on index arrays adds only once per place. "
        "Loop over the clips, or use np.add.at": np.minimum(wanted, 1),
        "Only the hits on the diagonal are counted": np.diag(wanted.diagonal()),
    }
    compare(answer(predicted, labels, classes), wanted, "the matrix", slips)


@checker("Map o of the result is a mix of map o of both streams, and of no other.")
def check_identity_mix(answer: Callable) -> None:
    """``answer(channels M, mix (spatial, temporal))`` → 1×1 conv weight ``(M, 2M, 1, 1)``."""
    for channels, (a, b) in (4, (0.25, 0.75)), (3, (1.0, 0.5)):
        eye = np.eye(channels)
        wanted = np.concatenate([a * eye, b * eye], axis=1)[:, :, None, None]
        slips = {
            "The temporal half stands first; the maps are concatenated [spatial, temporal]": (
                np.concatenate([b * eye, a * eye], axis=1)[:, :, None, None]
            ),
            "Every output map mixes all input maps; it should see map o of each stream only": (
                np.repeat([[a] * channels + [b] * channels], channels, axis=0)[:, :, None, None]
            ),
            "Input and output channels are swapped: a Conv2d weight is (out, in, 1, 1)": (
                wanted.transpose(1, 0, 2, 3)
            ),
            "The mix is not used: both streams get weight 1": (wanted > 0).astype(float),
        }
        result = as_array(answer(channels, (a, b)), "the weight")
        if result.shape == (2 * channels, channels, 1, 1):
            raise ExerciseError(list(slips)[2])
        compare(result, wanted, "the weight", slips)


@checker("The label is among the k highest scores, as a share of all clips.")
def check_top_k(answer: Callable) -> None:
    """``answer(scores (N, C), labels (N,), k)`` → fraction of clips with the label in the top k."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(40, 9)), rng.integers(9, size=40)
    ranks = (scores > scores[np.arange(40), labels][:, None]).sum(axis=1)
    for k in (3, 1, 9):
        slips = {
            "The k lowest scores were taken; argsort puts the highest last": (8 - ranks < k).mean(),
            "That is the number of clips, not their share": (ranks < k).sum(),
            "k is ignored: that is top-1": (ranks < 1).mean(),
            "Only the clips whose label is exactly in place k are counted": (ranks == k - 1).mean(),
            "One place too many: the label may be in places 1 to k": (ranks < k + 1).mean(),
        }
        slips = {text: np.asarray(float(value)) for text, value in slips.items()}
        compare(answer(scores, labels, k), np.asarray((ranks < k).mean()), f"top-{k}", slips)
