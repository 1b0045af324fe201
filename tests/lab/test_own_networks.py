"""What trained networks answer, how far that was right, and the one file that holds them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from twostream_utils.course import INPUTS
from twostream_utils.evaluation import correct
from twostream_utils.fusion import METHODS
from twostream_utils.lab.own_networks import Trained, trained


@pytest.fixture(scope="module")
def mine(tiny):
    return trained(tiny)


def test_a_prediction_for_a_test_clip_is_that_of_the_score_file(tiny, mine):
    clip = tiny.test[3]
    predicted = mine.predict(tiny.store, clip)
    for name in INPUTS:
        saved = tiny.scores(name)
        row = saved.clip_logits()[saved.clips.index(clip)]
        np.testing.assert_allclose(predicted.logits[name], row, atol=1e-4)
    assert list(predicted.scores) == list(METHODS)
    for values in predicted.scores.values():
        assert values.shape == (2,) and abs(values.sum() - 1) < 1e-6
    (first, best), (_, second) = predicted.top("temporal")
    values = predicted.scores["temporal"]
    assert first == predicted.classes[values.argmax()] and best == values.max() >= second
    mean = (predicted.scores["spatial"] + predicted.scores["temporal"]) / 2
    np.testing.assert_allclose(predicted.scores["average_fusion"], mean)
    answer = predicted.scores["weighted_fusion"]
    together = sum(w * predicted.logits[n] for n, w in zip(INPUTS, tiny.weights[0], strict=True))
    assert predicted.answer == predicted.classes[together.argmax()]
    assert (answer.argsort() == together.argsort()).all()


def test_the_record_counts_held_out_clips_of_the_answer(tiny, mine):
    probabilities, labels, _ = tiny.method_scores()["weighted_fusion"]
    assert mine.held_out.trace() == correct(probabilities, labels).sum()
    assert mine.held_out.sum() == len(tiny.test)
    some = Trained({}, tiny.profile, ("a", "b"), np.array([[3, 1], [2, 4]]))
    said = some.record("a")
    assert "4 showed a and 3 of them were recognised" in said
    assert "answer a came 5 times and was right 3 times" in said


@pytest.mark.parametrize("names", [("conv", "temporal", "spatial"), ("temporal",)])
def test_saved_networks_answer_the_same_elsewhere(tiny, mine, names, tmp_path):
    some = {n: mine.networks[n] for n in names}
    ours = replace(mine, networks=some, weights=mine.weights * (len(names) == 3))
    path = ours.save(tmp_path / "mine.safetensors")
    again = Trained.load(path)
    assert again.profile.channels == tiny.profile.channels and again.classes == ours.classes
    assert (again.held_out == ours.held_out).all() and {*again.networks} == {*names}
    for clip in tiny.test[:2]:
        before, after = ours.predict(tiny.store, clip), again.predict(tiny.store, clip)
        assert after.answer == before.answer and list(after.scores) == list(before.scores)
        for name in names:
            np.testing.assert_allclose(after.logits[name], before.logits[name], atol=1e-5)
    with safe_open(str(path), "pt") as file:
        assert not [key for key in file.keys() if key.startswith("conv.spatial.")]
        told = json.loads(file.metadata()["two_stream"])
    assert told["classes"] == tiny.classes


def test_conv_fusion_over_several_moments_is_asked_and_carried_away(tiny, networks, tmp_path):
    profile = replace(tiny.profile, chunks=2, fusion="paper")
    course = replace(tiny, profile=profile)  # the same streams, whose checkpoints are there
    mine = trained(course)
    path = mine.save(tmp_path / "mine.safetensors")
    saved, clip = course.scores("conv"), course.test[0]
    row = saved.clip_logits()[saved.clips.index(clip)]
    for asked in mine, Trained.load(path):
        np.testing.assert_allclose(asked.predict(course.store, clip).logits["conv"], row, atol=1e-4)
    assert trained(course, mine.networks).held_out.sum() == len(course.test)


def test_other_files_are_refused_in_a_sentence(tiny, mine, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"a letter")
    with pytest.raises(ValueError, match="make it with Trained.save"):
        Trained.load(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="make it with Trained.save"):
        Trained.load(path)
    mine.save(path)
    with safe_open(str(path), "pt") as file:
        told = json.loads(file.metadata()["two_stream"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    for change in {"profile": told["profile"] | {"wings": 2}}, {"classes": ["a", "b", "c"]}:
        save_file(tensors, path, {"two_stream": json.dumps(told | change)})
        with pytest.raises(ValueError, match="make it with Trained.save"):
            Trained.load(path)
    first = next(key for key in tensors if key.startswith("spatial."))
    save_file({k: t for k, t in tensors.items() if k != first}, path,
              {"two_stream": json.dumps(told)})  # fmt: skip
    with pytest.raises(ValueError, match="make it with Trained.save"):
        Trained.load(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Trained.load(tmp_path / "nowhere")
