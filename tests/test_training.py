"""The training loop: it learns, resumes exactly, and its files survive bad luck."""

import errno

import pytest
import torch
from test_stacks import dataset

from twostream_utils import training
from twostream_utils.evaluation import score
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.vgg import vgg19

PROFILE = get_profile("mini", rgb_frames=2, crop=32, short_side=40, positions=1)
RECIPE = Recipe(4, 0.01, batch_size=3)


def network(seed=0):
    torch.manual_seed(seed)
    return vgg19(6, 2, width=1 / 16, batch_norm=True)


def train(path, **options):
    model = network()
    data = dataset(PROFILE, streams=("rgb",))
    val = dataset(PROFILE, train=False, streams=("rgb",))
    return model, training.fit(model, data, RECIPE, path, val, **options)


def test_resume_is_exact(tmp_path):
    whole, history = train(tmp_path / "whole.pt")
    train(tmp_path / "broken.pt", stop_after=1)
    train(tmp_path / "broken.pt", stop_after=3)
    mended, history_mended = train(tmp_path / "broken.pt")
    for (name, a), b in zip(whole.state_dict().items(), mended.state_dict().values()):
        assert torch.equal(a, b), name
    assert [row["loss"] for row in history] == [row["loss"] for row in history_mended]
    assert [row["val_top1"] for row in history] == [row["val_top1"] for row in history_mended]


def test_a_network_that_was_scored_can_still_be_trained(tmp_path):
    model = network()
    score(model, dataset(PROFILE, train=False, streams=("rgb",)))
    data = dataset(PROFILE, streams=("rgb",))
    assert training.fit(model, data, RECIPE, tmp_path / "a.pt", stop_after=1)


def test_a_finished_checkpoint_is_loaded(tmp_path):
    model, history = train(tmp_path / "a.pt")
    called = []
    again, history_again = train(tmp_path / "a.pt", on_epoch=called.append)
    assert history_again == history and not called
    assert torch.equal(again.classifier[6].weight, model.classifier[6].weight)
    assert not again.training


def test_killed_in_the_middle_of_writing(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    train(path, stop_after=1)
    whole = path.read_bytes()

    def full_disk(payload, target):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="could not write checkpoint .*a.pt: No space"):
        train(path)
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "a.pt"
    train(path, stop_after=1)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="a.pt cannot be read .*delete it to train again"):
        train(path)


def test_checkpoints_are_data_never_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("code ran",)

    torch.save({"model": Trap()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="a.pt"):
        training.load_checkpoint(tmp_path / "a.pt")


def test_loss_that_is_no_number_is_reported(tmp_path):
    data = dataset(PROFILE, streams=("rgb",))
    model = network()
    with torch.no_grad():
        model.classifier[6].bias.fill_(float("inf"))
    with pytest.raises(ValueError, match="epoch 1 .*lower Recipe.lr"):
        training.fit(model, data, RECIPE, tmp_path / "a.pt")
    assert not (tmp_path / "a.pt").exists()


def test_schedule_rises_then_falls_to_zero():
    factors = [training.warmup_cosine(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0)


def test_decay_and_rates_per_group():
    recipe = Recipe(1, 0.1, head_lr=10, weight_decay=0.01)
    groups = training.parameter_groups(network(), recipe, ("classifier",))
    found = {(round(g["lr"], 6), g["weight_decay"]): len(g["params"]) for g in groups}
    assert found == {(0.1, 0.0): 48, (0.1, 0.01): 16, (1.0, 0.0): 3, (1.0, 0.01): 3}


def test_scores_of_a_model_do_not_depend_on_the_batch(tmp_path):
    model = network()
    data = dataset(PROFILE, train=False, streams=("rgb",))
    one, all_ = score(model, data, batch_size=1), score(model, data, batch_size=6)
    torch.testing.assert_close(
        torch.from_numpy(one.logits), torch.from_numpy(all_.logits), atol=1e-4, rtol=1e-4
    )
    assert one.logits.shape == (6, 2, 2)
    with pytest.raises(ValueError, match="train=False"):
        score(model, dataset(PROFILE, streams=("rgb",)))
