"""Right and wrong answers to exercises: scores and intervals (05, 07, 09)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import numpy as np
import torch

from twostream_utils.lab.exercises import nb05, nb07, nb09


def weighted_torch(a, b, w, space):
    if space == "logit":
        return torch.softmax((1 - w) * a + w * b, dim=1)
    return (1 - w) * a.softmax(1) + w * b.softmax(1)


def weighted_numpy(a, b, w, space):
    def soft(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    a, b = a.numpy(), b.numpy()
    if space == "logit":
        return soft(a + w * (b - a))
    return np.average([soft(a), soft(b)], axis=0, weights=[1 - w, w])


def softmax_of_one_clip(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


def weighted_at_once(a, b, w, space):
    if space == "logit":
        return softmax_of_one_clip((1 - w) * a + w * b)
    return (1 - w) * softmax_of_one_clip(a) + w * softmax_of_one_clip(b)


views_mean = lambda logits: logits.mean(axis=1).argmax(axis=1)
views_loop = lambda logits: [int(torch.as_tensor(clip).sum(0).argmax()) for clip in logits]


def bootstrap_table(hits, draws, rng):
    means = hits[rng.integers(len(hits), size=(draws, len(hits)))].mean(axis=1)
    return np.quantile(means, [0.025, 0.975])


def bootstrap_loop(hits, draws, rng):
    means = sorted(rng.choice(hits, len(hits)).mean() for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def bootstrap_of(values, draws, rng, tail=0.025, size=None, replace=True):
    """A bootstrap with something to get wrong."""
    values = np.asarray(values, dtype=float)
    means = [rng.choice(values, size or len(values), replace).mean() for _ in range(draws)]
    return np.quantile(means, [tail, 1 - tail])


paired_gain = lambda new, old, draws, rng: bootstrap_table(new.astype(float) - old, draws, rng)


def paired_loop(new, old, draws, rng):
    differences = []
    for _ in range(draws):
        at = rng.integers(len(new), size=len(new))
        differences.append(new[at].mean() - old[at].mean())
    return np.percentile(differences, 2.5), np.percentile(differences, 97.5)


def percentile(values, draws, rng):
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return np.percentile(means, [0.025, 0.975])


def unpaired(new, old, draws, rng):
    a, b = (x[rng.integers(len(x), size=(draws, len(x)))].mean(axis=1) for x in (new, old))
    return np.quantile(a - b, [0.025, 0.975])


def interval_ends(new, old, draws, rng):
    a, b = bootstrap_table(new, draws, rng), bootstrap_table(old, draws, rng)
    return a[0] - b[1], a[1] - b[0]


def weight_even(weights, held_out, test):
    best = np.flatnonzero(held_out == held_out.max())
    return weights[best[np.abs(weights[best] - 0.5).argmin()]]


weight_sorted = lambda weights, held_out, test: min(zip(-held_out, abs(weights - 0.5), weights))[2]


def confusion_loop(predicted, labels, classes):
    matrix = np.zeros((classes, classes), dtype=int)
    for true, said in zip(labels, predicted):
        matrix[true, said] += 1
    return matrix


def confusion_bincount(predicted, labels, classes):
    pairs = torch.as_tensor(labels) * classes + torch.as_tensor(predicted)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def top_k_argsort(scores, labels, k):
    best = np.argsort(scores, axis=1)[:, -k:]
    return np.mean([label in row for label, row in zip(labels, best)])


def top_k_torch(scores, labels, k):
    best = torch.as_tensor(scores).topk(k, dim=1).indices
    return (best == torch.as_tensor(labels)[:, None]).any(1).float().mean()


def mean_class_loop(predicted, labels):
    return np.mean([(predicted == labels)[labels == k].mean() for k in set(labels)])


def mean_class_matrix(predicted, labels):
    matrix = confusion_loop(predicted, labels, 5)
    row = matrix.sum(axis=1)
    return torch.tensor(matrix.diagonal()[row > 0] / row[row > 0]).mean()


def precision(predicted, labels):
    return np.mean([(predicted == labels)[predicted == k].mean() for k in (0, 1, 2, 4)])


def differ_masks(new, old, labels):
    a, b = new == labels, old == labels
    return (a & ~b).sum(), (b & ~a).sum()


def differ_loop(new, old, labels):
    counts = [0, 0]
    for x, y, label in zip(new, old, labels):
        if (x == label) != (y == label):
            counts[int(y == label)] += 1
    return counts


RIGHT = {
    nb07.weighted_fusion: [weighted_torch, weighted_numpy],
    nb05.views: [views_mean, views_loop],
    nb05.bootstrap: [bootstrap_table, bootstrap_loop],
    nb07.paired: [paired_gain, paired_loop],
    nb07.choose_weight: [weight_even, weight_sorted],
    nb05.confusion: [confusion_loop, confusion_bincount],
    nb09.top_k: [top_k_argsort, top_k_torch],
    nb09.mean_class: [mean_class_loop, mean_class_matrix],
    nb09.disagreements: [differ_masks, differ_loop],
}

WRONG = {
    nb07.weighted_fusion: [
        (lambda a, b, w, s: ((1 - w) * a + w * b).softmax(1), "logits are averaged, then"),
        (lambda a, b, w, s: (1 - w) * a + w * b, "no softmax"),
        (lambda a, b, w, s: a.softmax(1) + b.softmax(1), "rows sum to 2"),
        (lambda a, b, w, s: a.softmax(1) + w * b.softmax(1), "rows do not sum to 1"),
        (lambda a, b, w, s: weighted_torch(a, b, 1 - w, s), "weight of the temporal stream"),
        (lambda a, b, w, s: weighted_torch(a, b, 0.5, s), "not used"),
        (lambda a, b, w, s: a.softmax(1) * b.softmax(1), "multiplied"),
        (lambda a, b, w, s: (1 - w) * a.softmax(0) + w * b.softmax(0), "over the clips"),
        (lambda a, b, w, s: weighted_torch(a, b, w, s).softmax(1), "twice"),
        (weighted_at_once, "for a single clip"),
        (lambda a, b, w, s: weighted_torch(a, b, w, "softmax"), "in logit space"),
    ],
    nb05.views: [
        (lambda x: x[:, 0].argmax(1), "first view"),
        (lambda x: [np.bincount(row).argmax() for row in x.argmax(2)], "vote"),
        (lambda x: x.max(1).argmax(1), "surest view"),
        (lambda x: views_mean(np.exp(x) / np.exp(x).sum(2, keepdims=True)), "Softmax"),
        (lambda x: views_mean(-x), "lowest"),
        (lambda x: x.mean(1), "mean logits"),
        (lambda x: x.argmax(2), "each view"),
    ],
    nb05.bootstrap: [
        (lambda h, n, rng: bootstrap_of(h, n, rng, replace=False), "without replacement"),
        (percentile, "np.percentile counts in per cent"),
        (lambda h, n, rng: bootstrap_of(h, n, rng, tail=0.05), "90 %"),
        (lambda h, n, rng: bootstrap_of(h, n, rng, tail=0.005), "99 %"),
        (lambda h, n, rng: bootstrap_of(h, n, rng, size=len(h) // 2), "too small"),
        (lambda h, n, rng: np.quantile(rng.choice(h, n).astype(float), [0.025, 0.975]), "single"),
        (lambda h, n, rng: bootstrap_table(~h, n, rng), "around 0.8"),
    ],
    nb07.paired: [
        (unpaired, "apart"),
        (lambda a, b, n, rng: percentile(a * 1.0 - b, n, rng), "np.percentile counts in per cent"),
        (lambda a, b, n, rng: np.quantile(a * 1.0 - b, [0.025, 0.975]), "single clips"),
        (interval_ends, "two intervals"),
        (lambda a, b, n, rng: paired_gain(b, a, n, rng), "sign"),
        (lambda a, b, n, rng: bootstrap_table(a, n, rng), "accuracy of one method"),
        (lambda a, b, n, rng: bootstrap_of(a * 1.0 - b, n, rng, replace=False), "no width"),
        (lambda a, b, n, rng: bootstrap_of(a * 1.0 - b, n, rng, tail=0.05), "90 %"),
        (lambda a, b, n, rng: bootstrap_table(a & ~b, n, rng), "count −1"),
    ],
    nb07.choose_weight: [
        (lambda w, v, t: w[t.argmax()], "Chosen on the test"),
        (lambda w, v, t: v.argmax(), "place in the list"),
        (lambda w, v, t: v.max(), "accuracy"),
        (lambda w, v, t: w[v.argmax()], "the first"),
        (lambda w, v, t: w[::-1][v[::-1].argmax()], "the last"),
        (lambda w, v, t: 0.5, "Half and half"),
        (lambda w, v, t: w[v == v.max()].mean(), "mean of equally good"),
    ],
    nb05.confusion: [
        (lambda p, t, c: confusion_loop(t, p, c), "swapped"),
        (
            lambda p, t, c: (
                confusion_loop(p, t, c) / confusion_loop(p, t, c).sum(1).clip(1)[:, None]
            ),
            "shares",
        ),
        (lambda p, t, c: (confusion_loop(p, t, c) > 0).astype(int), "only once"),
        (lambda p, t, c: np.diag(np.bincount(t[t == p], minlength=c)), "diagonal"),
    ],
    nb09.top_k: [
        (lambda s, t, k: top_k_argsort(-s, t, k), "lowest"),
        (lambda s, t, k: top_k_argsort(s, t, 1), "k is ignored"),
        (lambda s, t, k: (np.argsort(-s, 1)[:, k - 1] == t).mean(), "exactly in place k"),
        (lambda s, t, k: top_k_torch(s, t, min(k + 1, 9)), "too many"),
    ],
    nb09.mean_class: [
        (lambda p, t: (p == t).mean(), "large class decides"),
        (lambda p, t: mean_class_loop(p, t) * 4 / 5, "leave it out"),
        (precision, "the class that was said; go"),
        (lambda p, t: precision(p, t) * 4 / 5, "the class that was said; go"),
        (lambda p, t: min((p == t)[t == k].mean() for k in set(t)), "worst"),
    ],
    nb09.disagreements: [
        (lambda a, b, t: differ_masks(b, a, t), "exchanged"),
        (lambda a, b, t: ((a == t).sum(), (b == t).sum()), "that both have right"),
        (lambda a, b, t: ((b != t).sum(), (a != t).sum())[::-1], "both have wrong"),
        (
            lambda a, b, t: (((a != b) & (b != t)).sum(), ((a != b) & (a != t)).sum()),
            "both are wrong",
        ),
        (lambda a, b, t: (((a == t) & (b == t)).sum(), ((a != t) & (b != t)).sum()), "agree"),
        (lambda a, b, t: np.array(differ_masks(a, b, t)) / len(t), "shares"),
    ],
}
