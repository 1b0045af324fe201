"""Exercise checkers for scores: fusing them, measuring with them, comparing by them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .checking import ExerciseError, as_array, checker, compare
from .questions import number_question


@checker("One vote for each stream, or one for each logit; each row sums to 1.")
def check_weighted_fusion(answer: Callable) -> None:
    """``answer(spatial (N, C), temporal (N, C), w, space)`` → probabilities ``(N, C)``.

    ``w`` is the weight of the temporal stream; ``space`` is "softmax" or "logit".
    """
    generator = torch.Generator().manual_seed(0)
    spatial = 4 * torch.randn(6, 5, generator=generator)
    temporal = torch.randn(6, 5, generator=generator)
    p, q = spatial.softmax(1), temporal.softmax(1)
    for w in 0.5, 0.7:
        wanted = (1 - w) * p + w * q
        logits = (1 - w) * spatial + w * temporal
        slips = {
            "The logits are averaged, then softmaxed. Each stream gets its softmax first: "
            "otherwise the stream with the larger logits decides alone": logits.softmax(1),
            "The logits are averaged and no softmax is taken": logits,
            "The two softmax outputs are added but not weighted: rows sum to 2": p + q,
            "The spatial stream keeps weight 1: rows do not sum to 1": p + w * q,
            "w is the weight of the temporal stream, and 1 − w that of the spatial one": (
                w * p + (1 - w) * q
            ),
            "w is not used: that is half and half": (p + q) / 2,
            "The two softmax outputs are multiplied; the average was asked for": p * q,
            "The softmax runs over the clips (dim 0); it runs over the classes (dim 1)": (
                (1 - w) * spatial.softmax(0) + w * temporal.softmax(0)
            ),
            "Softmax is taken twice": wanted.softmax(1),
        }
        slips = {text: values.numpy() for text, values in slips.items()}
        result = answer(spatial, temporal, w, "softmax")
        compare(result, wanted.numpy(), f'the score for w = {w} in "softmax"', slips)
        slips = {
            "That is the average of softmax; in logit space the logits are averaged": wanted,
            "The logits are averaged, but no softmax makes probabilities of them": logits,
            "The logits are added and not averaged: that is twice too sure": (
                (spatial + temporal).softmax(1)
            ),
            "w is the weight of the temporal stream, also in logit space": (
                w * spatial + (1 - w) * temporal
            ).softmax(1),
            "w is not used in logit space": ((spatial + temporal) / 2).softmax(1),
        }
        slips = {text: values.numpy() for text, values in slips.items()}
        result = answer(spatial, temporal, w, "logit")
        compare(result, logits.softmax(1).numpy(), f'the score for w = {w} in "logit"', slips)


@checker("All views have their say, then the highest mean wins.")
def check_views(answer: Callable) -> None:
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


def _pair(value: object, what: str) -> tuple[float, float]:
    """An answer as (low, high). Raises ``ExerciseError`` for anything else."""
    array = as_array(value, what).astype(float).ravel()
    if array.shape != (2,):
        raise ExerciseError(f"{what} should be two numbers, (low, high), not {array.size}")
    if not np.isfinite(array).all():
        raise ExerciseError(f"{what} holds values that are not finite (nan or inf)")
    if array[0] > array[1]:
        raise ExerciseError(f"{what}: the low end stands first, then the high end")
    return float(array[0]), float(array[1])


def _compare_widths(
    ends: tuple[float, float], middle: float, wanted: float, widths: dict[str, float]
) -> None:
    """Raise ``ExerciseError`` unless an interval has the width ``wanted`` and the right middle."""
    low, high = ends
    if max(abs(low), abs(high)) > 1.5:
        raise ExerciseError("Give fractions of 1, not per cent")
    if abs((high - low) / wanted - 1) > 0.08:
        slip, width = min(widths.items(), key=lambda item: abs(high - low - item[1]))
        if abs(high - low - width) < 0.08 * width + 1e-9:
            raise ExerciseError(slip)
        size = "narrow" if high - low < wanted else "wide"
        raise ExerciseError(f"{low:.3f} to {high:.3f} is too {size}; it should span {wanted:.3f}")
    if abs((low + high) / 2 - middle) > 0.1 * wanted:
        raise ExerciseError(f"{low:.3f} to {high:.3f} should lie around {middle:.3f}")


@checker("The middle 95 % of the accuracies that might have been.")
def check_bootstrap(answer: Callable) -> None:
    """``answer(hits (N,) bool, draws, rng)`` → (low, high), fractions of 1."""
    hits = np.zeros(1000, dtype=bool)
    hits[::5] = True
    hits = ~hits  # 80 % right
    deviation = hits.std()
    error = deviation / len(hits) ** 0.5
    widths = {
        "It has no width: were clips drawn without replacement? Every draw is all of them": 0.0,
        "That is the middle 90 %: cut off 2.5 % at each end, not 5 %": 2 * 1.645 * error,
        "That is the middle 99 %: cut off 2.5 % at each end": 2 * 2.576 * error,
        "That is one deviation to each side, the middle 68 %": 2 * error,
        "That is how single clips spread, not their mean: take the mean of each draw": 1.0,
        "The draws are too small: each has as many clips as the test": 2 * 1.96 * error * 2**0.5,
    }
    result = _pair(answer(hits.copy(), 4000, np.random.default_rng(0)), "the interval")
    _compare_widths(result, 0.8, 2 * 1.96 * error, widths)


@checker("The same clips for both methods in every draw.")
def check_paired(answer: Callable) -> None:
    """``answer(new (N,) bool, old (N,) bool, draws, rng)`` → (low, high) of new − old."""
    old = np.arange(1000) % 5 > 0
    new = old.copy()
    new[np.flatnonzero(~old)[:60]] = True  # 60 clips won
    new[np.flatnonzero(old)[:20]] = False  # 20 lost
    gain = new.astype(float) - old
    error, apart = gain.std() / 1000**0.5, np.hypot(new.std(), old.std()) / 1000**0.5
    low, high = _pair(
        answer(new.copy(), old.copy(), 4000, np.random.default_rng(0)), "the interval"
    )
    if abs(low + high) / 2 > 1.5:
        raise ExerciseError("Give fractions of 1, not per cent")
    if high < 0.02:
        raise ExerciseError("The sign is the other way round: new − old, so a gain lies above 0")
    if low > 0.5:
        raise ExerciseError("That is the accuracy of one method; their difference was asked for")
    if abs((low + high) / 2 - np.maximum(gain, 0).mean()) < 0.1 * (high - low):
        raise ExerciseError("Lost clips count −1, not 0: take new − old, clip by clip")
    widths = {
        "The clips are drawn for each method apart. Draw once, and use the same clips for both: "
        "what is easy for both then drops out": 2 * 1.96 * apart,
        "That is the gap between the ends of two intervals, one for each method: take the "
        "difference on each draw": 1.96 * 2 * (new.std() + old.std()) / 1000**0.5,
        "It has no width: were clips drawn without replacement?": 0.0,
        "That is the middle 90 %: cut off 2.5 % at each end, not 5 %": 2 * 1.645 * error,
    }
    _compare_widths((low, high), gain.mean(), 2 * 1.96 * error, widths)


@checker("Chosen on clips that are not the test, and the most even of equally good weights.")
def check_choose_weight(answer: Callable) -> None:
    """``answer(weights (K,), held_out (K,), test (K,))``, top-1 each → the weight to use."""
    weights = np.linspace(0, 1, 11)
    plateau = np.array([0.5, 0.6, 0.7, 0.8, 0.8, 0.7, 0.7, 0.8, 0.8, 0.8, 0.5])
    peak = np.array([0.5, 0.6, 0.7, 0.9, 0.8, 0.8, 0.8, 0.8, 0.7, 0.6, 0.5])
    test = np.array([0.5, 0.6, 0.7, 0.7, 0.8, 0.8, 0.8, 0.8, 0.9, 0.6, 0.5])
    for held_out in peak, plateau, plateau[::-1]:
        best = np.flatnonzero(held_out == held_out.max())
        place = best[np.abs(weights[best] - 0.5).argmin()]
        slips = {
            "Chosen on the test: the accuracy there would be one part luck": weights[test.argmax()],
            "That is the place in the list; return the weight that stands there": place,
            "That is the accuracy; return the weight that reaches it": held_out.max(),
            "Of equally good weights take the most even one, nearest to 0.5; that is the first": (
                weights[best[0]]
            ),
            "Of equally good weights take the most even one, nearest to 0.5; that is the last": (
                weights[best[-1]]
            ),
            "Half and half, whatever the held-out clips say": 0.5,
            "The mean of equally good weights need not be good itself": weights[best].mean(),
        }
        slips = {text: np.asarray(float(value)) for text, value in slips.items()}
        result = answer(weights.copy(), held_out.copy(), test.copy())
        compare(result, np.asarray(weights[place]), "the weight", slips, tolerance=1e-6)


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


@checker("Every class counts alike, however many clips it has.")
def check_mean_class(answer: Callable) -> None:
    """``answer(predicted (N,), labels (N,))`` → mean over classes of the accuracy of each."""
    labels = np.repeat([0, 1, 2, 4], [20, 6, 3, 2])  # class 3 is never true
    predicted = labels.copy()
    predicted[[0, 1, 2, 20, 21, 22, 26, 29]] = [1, 3, 1, 0, 0, 4, 0, 0]
    hits = predicted == labels
    recall = np.array([hits[labels == k].mean() for k in (0, 1, 2, 4)])
    said = np.array([hits[predicted == k].mean() for k in (0, 1, 2, 4)])
    slips = {
        "That is the share of all clips: the large class decides": hits.mean(),
        "A class without test clips counts as 0; it has no accuracy, leave it out": (
            recall.sum() / 5
        ),
        "That asks how often a class is right where it was said; go by the true class": said.mean(),
        "That asks how often a class is right where it was said, and counts a class that was never "
        "true": said.sum() / 5,
        "Those are per cent; give a fraction of 1": 100 * recall.mean(),
        "That is the worst class; take the mean": recall.min(),
    }
    slips = {text: np.asarray(float(value)) for text, value in slips.items()}
    result = answer(predicted.copy(), labels.copy())
    compare(result, np.asarray(recall.mean()), "the mean class accuracy", slips)


@checker("Only the clips on which the two differ count.")
def check_disagreements(answer: Callable) -> None:
    """``answer(new (N,), old (N,), labels (N,))``, classes → (only new right, only old right)."""
    labels = np.zeros(30, dtype=int)
    new, old = labels.copy(), labels.copy()
    old[:9] = 1  # 9 clips only new has right
    new[9:13] = 2  # 4 only old has right
    new[13:18], old[13:18] = 1, 2  # both wrong, and not alike
    new[18:20], old[18:20] = 1, 1  # both wrong alike
    both = int(((new == labels) & (old == labels)).sum())
    slips = {
        "The two are exchanged: first the clips that only the new method has right": (4, 9),
        "Those are all clips that each has right; leave out those that both have right": (
            (new == labels).sum(),
            (old == labels).sum(),
        ),
        "Those are all clips that each has wrong; leave out those that both have wrong": (
            (new != labels).sum(),
            (old != labels).sum(),
        ),
        "Clips on which the answers differ but both are wrong are counted as well": (14, 9),
        "That is where both are right and where both are wrong: there the methods agree": (both, 7),
        "Those are shares; the counts were asked for": (9 / 30, 4 / 30),
    }
    slips = {text: np.array(values, dtype=float) for text, values in slips.items()}
    result = answer(new.copy(), old.copy(), labels.copy())
    compare(result, np.array([9.0, 4.0]), "(only new, only old)", slips)


check_sign_test = number_question(
    "2 · (1 + 9) / 512: rare enough to doubt the coin, from nine clips.",
    right=2 * 10 / 512,
    tolerance=5e-4,
    slips={
        "That is one side. A coin that falls 1 to 8 is as odd as one that falls 8 to 1": 10 / 512,
        "That is exactly 8 to 1; count what is at least as uneven, 9 to 0 as well": 9 / 512,
        "That is exactly 8 to 1 and 1 to 8; count 9 to 0 and 0 to 9 as well": 18 / 512,
        "That is the share of clips won, no probability under a fair coin": 8 / 9,
        "Give a fraction of 1, not per cent": 100 * 20 / 512,
        "That is 9 to 0 and 0 to 9 only; 8 to 1 is what was seen": 2 / 512,
    },
)
