"""Right and wrong answers to exercises: scores, intervals and speed (04, 06, 08, 10)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import math

import numpy as np
import torch

from twostream_utils.lab.exercises import nb07, nb09, nb11


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


def bootstrap_table(hits, draws, rng):
    means = hits[rng.integers(len(hits), size=(draws, len(hits)))].mean(axis=1)
    return np.quantile(means, [0.025, 0.975])


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


def pace_branch(cores, decode_ms, gpu_clips):
    seconds = decode_ms / 1000 / cores
    return gpu_clips if seconds < 1 / gpu_clips else 1 / seconds


share_slice = lambda rank, processes, n: list(range(n))[rank::processes]
share_blocks = lambda rank, processes, n: np.array_split(np.arange(n), processes)[rank]


def share_rounded_up(rank, processes, n):
    size = math.ceil(n / processes)
    return range(rank * size, min(n, (rank + 1) * size))


def share_padded(rank, processes, n):
    return [k % n for k in range(rank, processes * math.ceil(n / processes), processes)]


scaled_in_place = lambda gradient, scale: gradient.mul_(scale).half().float() / scale


RIGHT = {
    nb07.weighted_fusion: [weighted_torch, weighted_numpy],
    nb07.paired: [paired_gain, paired_loop],
    nb07.choose_weight: [weight_even, weight_sorted],
    nb09.top_k: [top_k_argsort, top_k_torch],
    nb09.mean_class: [mean_class_loop, mean_class_matrix],
    nb09.disagreements: [differ_masks, differ_loop],
    nb11.pace: [lambda c, ms, gpu: min(1000 * c / ms, gpu), pace_branch],
    nb11.scaled: [
        lambda g, s: (g * s).half().float() / s,
        lambda g, s: torch.mul(g, s).to(torch.float16).to(torch.float32).div(s),
        lambda g, s: np.float32((g.numpy() * np.float32(s)).astype(np.float16)) / np.float32(s),
    ],
    nb11.share: [lambda r, p, n: range(r, n, p), share_slice, share_blocks],
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
    nb11.pace: [
        (lambda c, ms, gpu: max(1000 * c / ms, gpu), "slower one"),
        (lambda c, ms, gpu: 1000 * c / ms + gpu, "do not add up"),
        (lambda c, ms, gpu: min(c / ms, gpu), "1000 ms"),
        (lambda c, ms, gpu: 1 / (ms / 1000 / c + 1 / gpu), "load ahead"),
        (lambda c, ms, gpu: min(1000 / ms, gpu), "one core's"),
        (lambda c, ms, gpu: 1000 * c / ms, "faster side"),
        (lambda c, ms, gpu: 7, "you said 7"),
    ],
    nb11.scaled: [
        (lambda g, s: (g * s).half(), "float16"),
        (lambda g, s: (g * s).half().float(), "never taken out"),
        (lambda g, s: g.half().float() * s / s, "scale before the cast"),
        (lambda g, s: ((g * s).half() / s).float(), "float32 again"),
        (lambda g, s: g, "shows nothing"),
        (lambda g, s: (g / s).half().float() * s, "divided first"),
        (scaled_in_place, "was changed"),
    ],
    nb11.share: [
        (share_padded, "more than once with 7 clips"),
        (share_rounded_up, "the most"),
        (lambda r, p, n: range(r, n - n % p, p), "scored by nobody with 7"),
        (lambda r, p, n: range(r + 1, n + 1, p), "scored by nobody"),
        (lambda r, p, n: range(n), "more than once"),
        (lambda r, p, n: range(r, n + p, p), "no clip"),
    ],
}
