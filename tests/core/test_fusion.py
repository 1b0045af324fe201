"""Late fusion against hand-computed values."""

import numpy as np
import pytest

from twostream_utils.experiments.fusions import svm_fusion
from twostream_utils.fusion import METHODS, choose_weights, late_fusion, softmax


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
        fused = method.fuse({name: logits[name] for name in method.networks})
        np.testing.assert_allclose(fused.sum(axis=1), 1)
    average, geometric = METHODS["average_fusion"], METHODS["logit_average"]
    a, b = softmax(logits["spatial"]), softmax(logits["temporal"])
    np.testing.assert_allclose(average.fuse(logits), (a + b) / 2)
    root = np.sqrt(a * b)
    np.testing.assert_allclose(geometric.fuse(logits), root / root.sum(axis=1, keepdims=True))


def scores_of(labels, n_classes, strength, rng):
    return rng.normal(size=(len(labels), n_classes)) + strength * np.eye(n_classes)[labels]


def test_chosen_weights_follow_the_better_stream():
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=400)
    good, poor = scores_of(labels, 5, 4, rng), scores_of(labels, 5, 0, rng)
    for space in ("softmax", "logit"):
        spatial, temporal = choose_weights(poor, good, labels, space)
        assert spatial + temporal == pytest.approx(1) and temporal > 0.8
        assert choose_weights(good, poor, labels, space)[0] > 0.8
    with pytest.raises(ValueError, match="scores of 400 clips, but 399 labels"):
        choose_weights(good, poor, labels[1:])


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
