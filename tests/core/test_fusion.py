"""Late fusion against hand-computed values."""

import numpy as np
import pytest

from twostream_utils.experiments.fusions import svm_fusion
from twostream_utils.fusion import METHODS, late_fusion, softmax, weigh


def test_averages_by_hand():
    spatial, temporal = np.log([[0.8, 0.1, 0.1]]), np.log([[0.2, 0.7, 0.1]])
    np.testing.assert_allclose(late_fusion(spatial, temporal), [[0.5, 0.4, 0.1]])
    np.testing.assert_allclose(late_fusion(spatial, temporal, weights=(1, 3)), [[0.35, 0.55, 0.1]])
    geometric = np.sqrt([[0.16, 0.07, 0.01]])
    logit = late_fusion(spatial, temporal, space="logit")
    np.testing.assert_allclose(logit, geometric / geometric.sum())
    large = late_fusion(np.array([[10_000, 0]]), np.array([[0, 10_000]]))  # integers, too
    np.testing.assert_allclose(large, [[0.5, 0.5]])


def test_late_fusion_names_what_is_wrong():
    a, b = np.zeros((3, 10)), np.zeros((4, 10))
    with pytest.raises(ValueError, match=r"\(3, 10\).*\(4, 10\)"):
        late_fusion(a, b)
    with pytest.raises(ValueError, match="'softmax' and 'logit'"):
        late_fusion(a, a, space="max")
    for weights in ((0, 0), (np.nan, 1), (-1, 3), (np.inf, 1), (1, 1, 1)):
        with pytest.raises(ValueError, match="weights are two numbers from 0 up, not both 0; got"):
            late_fusion(a, a, weights=weights)


def test_every_method_gives_probabilities_from_the_networks_that_it_names():
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(size=(4, 3)) for name in ("spatial", "temporal", "conv")}
    for method in METHODS.values():
        told = {"weights": (0, 2, 1)} if method.weighted else {}
        fused = method.fuse({name: logits[name] for name in method.networks} | told)
        np.testing.assert_allclose(fused.sum(axis=1), 1)
    average, geometric = METHODS["average_fusion"], METHODS["logit_average"]
    a, b = softmax(logits["spatial"]), softmax(logits["temporal"])
    np.testing.assert_allclose(average.fuse(logits), (a + b) / 2)
    root = np.sqrt(a * b)
    np.testing.assert_allclose(geometric.fuse(logits), root / root.sum(axis=1, keepdims=True))
    both = softmax(2 * logits["temporal"] + logits["conv"])
    fused = METHODS["weighted_fusion"].fuse(logits | {"weights": (0, 2, 1)})
    np.testing.assert_allclose(fused, both)


def scores_of(labels, n_classes, strength, rng):
    return rng.normal(size=(len(labels), n_classes)) + strength * np.eye(n_classes)[labels]


def test_networks_are_weighed_by_what_they_know_and_not_by_how_sure_they_are():
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=400)
    good, other, guess = (scores_of(labels, 5, strength, rng) for strength in (2, 2, 0))
    a, b, none = weigh(np.stack([good, other / 4, guess]), labels)
    assert b == pytest.approx(4 * a, rel=0.3) and none < 0.2 * a
    both = a * good + b * other / 4
    right = (both.argmax(axis=1) == labels).mean()
    assert softmax(both).max(axis=1).mean() == pytest.approx(right, abs=0.05)  # as sure as right
    quiet, alone = weigh(np.stack([guess, good]), labels)
    assert alone > 0.5 > 0.1 > quiet


def test_svm_uses_both_streams_and_survives_classes_without_clips():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=600)
    # the spatial stream tells {0,1} from {2,3}, the temporal one even from odd
    spatial = scores_of(labels // 2 * 2, 4, 3, rng) + scores_of(labels // 2 * 2 + 1, 4, 3, rng)
    temporal = scores_of(labels % 2, 4, 3, rng) + scores_of(labels % 2 + 2, 4, 3, rng)
    fit, test = slice(0, 300), slice(300, 600)
    fused = svm_fusion((spatial[fit], temporal[fit]), labels[fit], spatial[test], temporal[test])
    accuracy = (fused.argmax(1) == labels[test]).mean()
    single = max((x[test].argmax(1) == labels[test]).mean() for x in (spatial, temporal))
    assert fused.shape == (300, 4) and accuracy > single + 0.2
    two = labels < 2
    fused = svm_fusion((spatial[two], temporal[two]), labels[two], spatial, temporal)
    assert set(fused.argmax(1)) == {0, 1}
    with pytest.raises(ValueError, match="two classes"):
        svm_fusion((spatial[:1], temporal[:1]), labels[:1], spatial, temporal)
