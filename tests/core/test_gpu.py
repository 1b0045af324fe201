"""What only a CUDA device can show; `make gpu-check` runs these."""

import numpy as np
import pytest
import torch
from test_stacks import dataset

from twostream_utils import batches, device, evaluation, memory, training
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.vgg import vgg19

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PROFILE = get_profile(
    "mini", rgb_frames=2, crop=64, short_side=72, positions=1, width=1 / 4, batch_norm=False
)
RECIPE = Recipe(3, 0.01, batch_size=3)
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


def test_a_step_never_waits_for_the_gpu():
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision=device.mixed_precision(GPU))
    model = device.to_model_layout(network(), GPU).train()
    optimizer = torch.optim.SGD(model.parameters(), RECIPE.lr, momentum=0.9, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    optimizer = accelerator.prepare_optimizer(optimizer)
    batch = dataset(PROFILE, streams=("rgb",)).batch(range(3))
    batch = {name: value.to(GPU) for name, value in batch.items()}
    for mode in ("default", "error"):  # the first time chooses kernels and copies constants
        torch.cuda.set_sync_debug_mode(mode)
        try:
            sums = training._gradients(model, batch, ("rgb",), RECIPE, accelerator, None)
            accelerator.clip_grad_norm_(model.parameters(), RECIPE.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert sums[2].item() == 3


def test_batches_are_copied_ahead_and_arrive_whole():
    cpu = [{"x": torch.full((1000, 1000), k).pin_memory()} for k in range(6)]
    seen = []
    for batch in batches.ahead(iter(cpu), GPU):
        assert batch["x"].is_cuda
        torch.cuda._sleep(10_000_000)  # the network is busy while the next batch is copied
        seen.append((batch["x"].min(), batch["x"].max()))
    assert [(low.item(), high.item()) for low, high in seen] == [(k, k) for k in range(6)]


def test_parts_of_a_batch_train_like_the_whole(tmp_path):
    losses = [
        [row["loss"] for row in train(tmp_path / f"{size}.pt", micro_batch=size)[1]]
        for size in (None, 1)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


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


def test_memory_of_a_step_is_what_was_calculated():
    model = device.to_model_layout(vgg19(30, 101), GPU)
    batch = torch.randint(0, 255, (4, 1, 30, 224, 224), dtype=torch.uint8)
    stacks = {"rgb": batch.to(GPU)}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    with device.autocast(GPU):
        loss = batches.run_batch(model, stacks, ("rgb",)).float().sum()
    kept = torch.cuda.memory_allocated() - start
    loss.backward()
    halves = 2 * sum(p.numel() for p in model.parameters())
    expected = 4 * memory.activation_bytes(30, 224, element=2) + halves
    assert kept == pytest.approx(expected, rel=0.15)
    profile = get_profile("ucf101")
    need = 4 * memory.clip_bytes((30,), profile, element=2) + memory.parameter_bytes(model, 2)
    assert torch.cuda.max_memory_allocated() < need / (1 - memory.RESERVE)
