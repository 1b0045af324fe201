"""Checkers of notebook 05: views, the confusion matrix, the bootstrap, counting weights."""

import numpy as np

from .checking import (
    ExerciseError,
    as_array,
    checker,
    compare,
    compare_interval,
    number_question,
    picture,
)

__all__ = ["views", "confusion", "bootstrap", "first_layer_count", "picture"]


@checker("All views have their say, then the highest mean wins.")
def views(answer):
    """``answer(logits (N, V, C))`` → the class of each clip ``(N,)`` by its mean over views."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 5, 4)) * rng.uniform(0.5, 6, size=(60, 5, 1))
    wanted = logits.mean(axis=1).argmax(axis=1)
    votes = np.array([np.bincount(row, minlength=4).argmax() for row in logits.argmax(axis=2)])
    soft = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    slips = {
        "That is the first view alone": logits[:, 0].argmax(axis=1),
        "That is a vote of the views; average their logits, then take the highest": votes,
        "That goes by the surest view alone; average over the views": (
            logits.max(axis=1).argmax(axis=1)
        ),
        "Softmax is taken of each view first; the mean of the logits was asked for": (
            soft.mean(axis=1).argmax(axis=1)
        ),
        "The lowest mean is taken": logits.mean(axis=1).argmin(axis=1),
    }
    result = as_array(answer(logits.copy()), "the classes")
    if result.shape == (60, 4):
        raise ExerciseError("Those are the mean logits, (N, C); the class is the place of the best")
    if result.shape == (60, 5):
        raise ExerciseError("That is one class for each view; a clip has one answer")
    compare(result, wanted, "the classes", slips)


@checker("Rows are the true classes, columns what was said, and a class never seen is a row of 0.")
def confusion(answer):
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


@checker("The middle 95 % of the accuracies that might have been.")
def bootstrap(answer):
    """``answer(hits (N,) bool, draws, rng)`` → (low, high), fractions of 1."""
    hits = np.zeros(1000, dtype=bool)
    hits[::5] = True
    hits = ~hits  # 80 % right
    error = hits.std() / len(hits) ** 0.5
    single = "That is how single clips spread, not their mean: take the mean of each draw"
    slips = (
        (single, 0.5, 0.5),
        (single, 0.8, hits.std()),
        (single, 0.8, 1.96 * hits.std()),
        ("The draws are too small: each has as many clips as the test", 0.8, 1.96 * error * 2**0.5),
    )
    compare_interval(answer(hits.copy(), 4000, np.random.default_rng(0)), 0.8, error, slips)


first_layer_count = number_question(
    "64 filters of 30 channels and 3 × 3 pixels, and 64 biases.",
    right=64 * 30 * 9 + 64,
    tolerance=0,
    slips={
        "The biases are missing: one for each of the 64 filters": 64 * 30 * 9,
        "That is the layer for one RGB frame; the stack has 30 channels": 64 * 3 * 9 + 64,
        "That is the layer for one RGB frame, without biases; the stack has 30 channels": 64 * 27,
        "Ten frames have three colours each: 30 channels": 64 * 10 * 9 + 64,
        "Every filter has 3 × 3 pixels in each channel": 64 * 30 + 64,
        "Each filter has one bias, not one for each channel": 64 * 30 * 9 + 64 * 30,
        "That is one filter; the layer has 64": 30 * 9 + 1,
    },
)
