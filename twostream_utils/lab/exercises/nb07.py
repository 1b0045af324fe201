"""Checkers of notebook 07: choosing the weights of late fusion; the paired interval."""

import numpy as np

from .checking import ExerciseError, checker, compare, compare_interval, picture, prediction

__all__ = ["choose_weights", "paired", "picture", "prediction"]


def _probabilities(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@checker("The weights that make the true classes of the held-out clips most probable.")
def choose_weights(answer):
    """``answer(spatial (N, C), temporal (N, C), labels (N,))`` → weights (spatial, temporal)."""
    grid = np.linspace(0, 1, 21)
    # streams for which each slip gives weights of its own: seed, how strong, how noisy the second
    for seed, strong, weak, noise in (0, 2.0, 1.5, 2.5), (8, 1.0, 1.5, 1.5), (20, 2.0, 2.5, 1.5):
        rng = np.random.default_rng(seed)
        labels = rng.integers(4, size=60)
        truth = np.eye(4)[labels]
        a = rng.normal(size=(60, 4)) * 1.5 + strong * truth
        b = rng.normal(size=(60, 4)) * noise + weak * truth
        p, q = _probabilities(a), _probabilities(b)
        fused = np.array([(1 - w) * p + w * q for w in grid])
        of_truth = fused[:, np.arange(60), labels]
        hits = (fused.argmax(axis=2) == labels).mean(axis=1)
        loss = -np.log(of_truth).mean(axis=1)

        def weights(values: np.ndarray) -> tuple[float, float]:
            w = grid[values.argmax()]
            return 1 - w, w

        wanted = weights(-loss)
        logits = np.array([_probabilities((1 - w) * a + w * b) for w in grid])
        in_logits = -np.log(logits[:, np.arange(60), labels]).mean(axis=1)
        plain = np.array([(1 - w) * a + w * b for w in grid])[:, np.arange(60), labels]
        slips = {
            "The order is (spatial, temporal), and it's the other way round": wanted[::-1],
            "That's the weight with the highest accuracy. The log-likelihood of the true class was "
            "asked for: it's smooth where accuracy has steps": weights(hits),
            "That's the highest loss; the lowest one is the best": weights(loss),
            "Take the logarithm of each clip's probability first and the mean then, not the other "
            "way round": weights(np.log(of_truth.mean(axis=1))),
            "The logits were averaged; average the probabilities, as late_fusion does by itself": (
                weights(-in_logits)
            ),
            "No softmax was taken: logits aren't probabilities": weights(plain.mean(axis=1)),
            "Half and half, whatever the held-out clips say": (0.5, 0.5),
        }
        result = answer(a.copy(), b.copy(), labels.copy())
        size = np.size(result) if result is not None else 2
        if size == 1:
            raise ExerciseError("Return both weights, (spatial, temporal), not one number")
        compare(result, wanted, "the weights", slips, tolerance=1e-6)


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
