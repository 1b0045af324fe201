"""Checkers of notebook 09: top-k, classes that count alike, and when a difference counts."""

import numpy as np

from .checking import checker, compare, number_question, shown

__all__ = ["top_k", "mean_class", "disagreements", "sign_test", "shown"]


@checker("The label is among the k highest scores, as a share of all clips.")
def top_k(answer):
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
        compare(answer(scores, labels, k), (ranks < k).mean(), f"top-{k}", slips)


@checker("Every class counts alike, however many clips it has.")
def mean_class(answer):
    """``answer(predicted (N,), labels (N,))`` → mean over classes of the accuracy of each."""
    labels = np.repeat([0, 1, 2, 4], [20, 6, 3, 2])  # class 3 is never true
    predicted = labels.copy()
    predicted[[0, 1, 2, 20, 21, 22, 26, 29]] = [1, 3, 1, 0, 0, 4, 0, 0]
    hits = predicted == labels
    recall = np.array([hits[labels == k].mean() for k in (0, 1, 2, 4)])
    found = np.array([hits[predicted == k].mean() for k in (0, 1, 2, 4)])
    slips = {
        "That is the share of all clips: the large class decides": hits.mean(),
        "A class without test clips counts as 0; it has no accuracy, leave it out": (
            recall.sum() / 5
        ),
        "That goes by the class that was said; go by the true class": [
            found.mean(),
            found.sum() / 5,  # with a class that was never true
        ],
        "Those are per cent; give a fraction of 1": 100 * recall.mean(),
        "That is the worst class; take the mean": recall.min(),
    }
    result = answer(predicted.copy(), labels.copy())
    compare(result, recall.mean(), "the mean class accuracy", slips)


@checker("Only the clips on which the two differ count.")
def disagreements(answer):
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
    result = answer(new.copy(), old.copy(), labels.copy())
    compare(result, (9, 4), "(only new, only old)", slips)


sign_test = number_question(
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
