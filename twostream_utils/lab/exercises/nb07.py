"""Checkers of notebook 07: choosing the weights of late fusion."""

import numpy as np

from .checking import ExerciseError, as_array, checker, compare, picture, prediction

__all__ = ["choose_weights", "picture", "prediction"]


def _probabilities(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@checker("The weights that make the true classes of the held-out clips most probable.")
def choose_weights(answer):
    """``answer(spatial (N, C), temporal (N, C), labels (N,))`` → weights (spatial, temporal)."""
    grid = np.linspace(0, 1, 21)
    results, wanted, slips = [], [], {}
    # Three pairs of streams: seed, how strong, how noisy the second. One pair of weights can come
    # about by several slips, so a slip is named only if it explains the weights of all three.
    for seed, strong, weak, noise in (0, 2.0, 1.5, 2.5), (4, 1.5, 2.0, 1.5), (9, 2.0, 3.0, 3.5):
        rng = np.random.default_rng(seed)
        labels = rng.integers(4, size=60)
        truth = np.eye(4)[labels]
        a = rng.normal(size=(60, 4)) * 1.5 + strong * truth
        b = rng.normal(size=(60, 4)) * noise + weak * truth
        p, q = _probabilities(a), _probabilities(b)
        fused = np.array([(1 - w) * p + w * q for w in grid])
        of_truth = fused[:, np.arange(60), labels]
        likelihood = np.log(of_truth).mean(axis=1)
        hits = (fused.argmax(axis=2) == labels).mean(axis=1)
        surest = np.log(fused.max(axis=2)).mean(axis=1)
        plain = np.array([(1 - w) * a + w * b for w in grid])
        in_logits = np.log([_probabilities(x)[np.arange(60), labels] for x in plain]).mean(axis=1)

        def weights(values: np.ndarray, last: bool = False) -> tuple[float, float]:
            w = grid[len(grid) - 1 - values[::-1].argmax() if last else values.argmax()]
            return 1 - w, w

        best = weights(likelihood)
        every_second = grid[::2][likelihood[::2].argmax()]
        found = {
            "The order is (spatial, temporal), and it's the other way round": [best[::-1]],
            "That's the probability of the class that the fusion puts first; take that of the true "
            "class, labels[k] in row k": [weights(surest), weights(-surest)],
            "That's the weight with the highest accuracy. The log-likelihood of the true class was "
            "asked for: it's smooth where accuracy has steps": [weights(hits), weights(hits, True)],
            "That's the highest loss; the lowest one is the best": [weights(-likelihood)],
            "Take the logarithm of each clip's probability first and the mean then, not the other "
            "way round": [weights(of_truth.mean(axis=1))],
            "The logits were averaged; average the probabilities, as late_fusion does by itself": [
                weights(in_logits)
            ],
            "No softmax was taken: logits aren't probabilities": [
                weights(plain[:, np.arange(60), labels].mean(axis=1))
            ],
            "The grid is too coarse: 0, 0.05, … 1 are 21 weights": [
                (1 - every_second, every_second)
            ],
            "Half and half, whatever the held-out clips say": [(0.5, 0.5)],
        }
        for slip, choices in found.items():
            slips[slip] = [*slips.get(slip, []), choices]
        result = as_array(answer(a.copy(), b.copy(), labels.copy()), "the result")
        if result.shape != (2,):
            raise ExerciseError("Return both weights, (spatial, temporal), and nothing else")
        results.append(result)
        wanted.append(best)
    slips = {slip: list(np.swapaxes(choices, 0, 1)) for slip, choices in slips.items()}
    compare(results, wanted, "the weights, a row a pair of streams,", slips, tolerance=1e-6)
