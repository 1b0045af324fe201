"""What only a CUDA device can show; `make gpu-check` runs these."""

import numpy as np
import pytest
import torch
from test_stacks import dataset

from twostream_utils import device, evaluation, stacks, training
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.stacks import make_loader
from twostream_utils.vgg import vgg19

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PROFILE = get_profile(
    "mini", rgb_frames=2, crop=64, short_side=72, positions=1, width=1 / 4, batch_norm=False
)
RECIPE = Recipe(6, 0.01, batch_size=3)  # three epochs of six clips
GPU = torch.device("cuda")


def network(seed=0):
    torch.manual_seed(seed)
    return vgg19(6, 2, PROFILE.width)


def train(path, **options):
    model = network()
    return model, training.fit(model, dataset(PROFILE, streams=("rgb",)), RECIPE, path, **options)


halves = pytest.mark.parametrize("kind", ["bf16", "fp16"])  # a T4 has no bf16


@halves
def test_training_in_mixed_precision_stays_finite_and_changes_every_layer(
    tmp_path, precision, kind
):
    precision(kind)
    assert device.pick_device() == GPU and device.mixed_precision(GPU) == kind
    before = network().state_dict()
    model, history = train(tmp_path / "a.pt")
    assert all(np.isfinite(row["loss"]) for row in history)
    for name, value in model.state_dict().items():
        assert value.isfinite().all(), name
        assert value.dtype == torch.float32 and value.is_cuda, name
        assert not torch.equal(value.cpu(), before[name]), name


@halves
def test_an_interrupted_training_goes_on(tmp_path, precision, kind):
    precision(kind)
    whole, history = train(tmp_path / "whole.pt")
    train(tmp_path / "broken.pt", stop_after=1)
    mended, again = train(tmp_path / "broken.pt")
    assert len(again) == len(history) == 3
    losses = [[row["loss"] for row in rows] for rows in (history, again)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)  # GPU sums are not in a fixed order
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(mended.state_dict()[name], value, rtol=0, atol=0.01, msg=name)


def test_an_epoch_never_waits_for_the_gpu(tmp_path, monkeypatch):
    data = dataset(PROFILE, streams=("rgb",))
    batches = list(make_loader(data, 3, 0, 0))
    state = training.Training(network(), RECIPE, 3, len(batches), tmp_path / "a.pt")
    there = [{name: value.to(GPU) for name, value in batch.items()} for batch in batches]
    monkeypatch.setattr(stacks, "progress", lambda *arguments: iter(there))
    ready = device.Prepared(state.model, GPU, state.precision, state.scaler, at_once=3)
    for mode in ("default", "error"):  # the first time chooses kernels and copies constants
        torch.cuda.set_sync_debug_mode(mode)
        try:
            shown = stacks.inputs(there, GPU, ("rgb",), "")
            *_, seen = training.train_epoch(
                ready, shown, state, state.schedule, training.tower_loss
            )
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert seen == len(data)


def test_a_batch_that_does_not_fit_goes_through_in_parts(tmp_path):
    losses = []
    for most in (3, 2):

        def fits(layer, inputs, most=most):
            if len(inputs[0]) > most:
                torch.empty(2**50, dtype=torch.uint8, device=GPU)  # a petabyte

        model = network()
        model.features[2].register_forward_pre_hook(fits)
        data = dataset(PROFILE, streams=("rgb",))
        history = training.fit(model, data, RECIPE, tmp_path / f"{most}.pt")
        losses.append([row["loss"] for row in history])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_workers_batches_arrive_whole():
    data = dataset(PROFILE, streams=("rgb",), repeat=10)
    shown = stacks.progress(make_loader(data, 3, 2, 0, reuse=True), GPU, "")
    for batch, expected in zip(shown, make_loader(data, 3, 0, 0), strict=True):
        torch.rand(8192, 8192, device=GPU).inverse()  # busy while the next batch is copied
        assert batch["rgb"].is_cuda and torch.equal(batch["rgb"].cpu(), expected["rgb"])


def test_scores_equal_those_of_the_cpu(monkeypatch):
    data = dataset(PROFILE, train=False, streams=("rgb",))
    on_gpu = evaluation.score(network(), data)
    monkeypatch.setattr(evaluation, "pick_device", lambda: torch.device("cpu"))
    on_cpu = evaluation.score(network(), data)
    spread = np.abs(on_cpu.logits).max()
    assert np.abs(on_gpu.logits - on_cpu.logits).max() < 0.03 * spread  # 8 bits of a bf16


def test_convolutions_lie_channels_last():
    model = device.to_model_layout(network(), GPU)
    for name, value in model.named_parameters():
        if value.ndim == 4:
            assert value.is_contiguous(memory_format=torch.channels_last), name
    maps = model.maps(torch.rand(2, 6, 64, 64, device=GPU))
    assert maps.is_contiguous(memory_format=torch.channels_last)
