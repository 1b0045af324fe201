"""Checkers of notebook 07: late fusion, the paired interval, choosing a weight."""

import numpy as np
import torch

from .checking import checker, compare, compare_interval, picture, prediction

__all__ = ["weighted_fusion", "paired", "choose_weight", "picture", "prediction"]


@checker("One vote for each stream, or one for each logit; each row sums to 1.")
def weighted_fusion(answer):
    """``answer(spatial (N, C), temporal (N, C), w, space)`` → probabilities ``(N, C)``.

    ``w`` is the weight of the temporal stream; ``space`` is "softmax" or "logit".
    """
    generator = torch.Generator().manual_seed(0)
    spatial = 4 * torch.randn(6, 5, generator=generator)
    temporal = torch.randn(6, 5, generator=generator)
    p, q = spatial.softmax(1), temporal.softmax(1)

    def whole(x: torch.Tensor) -> torch.Tensor:
        return x.flatten().softmax(0).view_as(x)

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
            "The softmax runs over all clips at once: the one above is for a single clip. Take it "
            "row by row, with dim=1": (1 - w) * whole(spatial) + w * whole(temporal),
        }
        result = answer(spatial, temporal, w, "softmax")
        compare(result, wanted, f'the score for w = {w} in "softmax"', slips)
        slips = {
            "That is the average of softmax; in logit space the logits are averaged": wanted,
            "The logits are averaged, but no softmax makes probabilities of them": logits,
            "The logits are added and not averaged: that is twice too sure": (
                (spatial + temporal).softmax(1)
            ),
            "w is the weight of the temporal stream, also in logit space": (
                w * spatial + (1 - w) * temporal
            ).softmax(1),
            "The softmax runs over all clips at once: take it by row, with dim=1": whole(logits),
            "w is not used in logit space": ((spatial + temporal) / 2).softmax(1),
        }
        result = answer(spatial, temporal, w, "logit")
        compare(result, logits.softmax(1), f'the score for w = {w} in "logit"', slips)


@checker("The same clips for both methods in every draw.")
def paired(answer):
    """``answer(new (N,) bool, old (N,) bool, draws, rng)`` → (low, high) of new − old."""
    old = np.arange(1000) % 5 > 0
    new = old.copy()
    new[np.flatnonzero(~old)[:60]] = True  # 60 clips won
    new[np.flatnonzero(old)[:20]] = False  # 20 lost
    gain = new.astype(float) - old
    middle, error = gain.mean(), gain.std() / 1000**0.5
    each, won = (new.std(), old.std()), np.maximum(gain, 0)
    single = "That is how single clips spread, not their mean: take the mean of each draw"
    one = "That is the accuracy of one method; their difference was asked for"
    slips = (
        ("The clips are drawn for each method apart. Draw once, and use the same clips for both: "
         "what is easy for both then drops out", middle, 1.96 * np.hypot(*each) / 1000**0.5),
        ("That is the gap between the ends of two intervals, one for each method: take the "
         "difference on each draw", middle, 1.96 * sum(each) / 1000**0.5),
        ("The sign is the other way round: new − old, so a gain lies above 0",
         -middle, 1.96 * error),
        (one, new.mean(), 1.96 * each[0] / 1000**0.5),
        (one, old.mean(), 1.96 * each[1] / 1000**0.5),
        ("Lost clips count −1, not 0: take new − old, clip by clip",
         won.mean(), 1.96 * won.std() / 1000**0.5),
        (single, 0.5, 0.5),
        (single, middle, gain.std()),
        (single, middle, 1.96 * gain.std()),
    )  # fmt: skip
    result = answer(new.copy(), old.copy(), 4000, np.random.default_rng(0))
    compare_interval(result, middle, error, slips)


@checker("Chosen on clips that are not the test, and the most even of equally good weights.")
def choose_weight(answer):
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
        result = answer(weights.copy(), held_out.copy(), test.copy())
        compare(result, weights[place], "the weight", slips, tolerance=1e-6)
