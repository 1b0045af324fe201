"""The arithmetic of memory agrees with what autograd keeps, and parts of a batch with the whole."""

import copy

import pytest
import torch
from test_stacks import dataset

from twostream_utils import course as pipeline
from twostream_utils import memory, training
from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.profiles import INPUTS, Recipe, get_profile
from twostream_utils.vgg import vgg19


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("width", "crop", "channels"), [(1 / 8, 96, 30), (1 / 4, 64, 100)])
def test_activations_are_those_that_autograd_keeps(width, crop, channels, batch_norm):
    model = vgg19(channels, 10, width, batch_norm)
    small, large = (
        memory.kept_bytes(model, torch.zeros(n, channels, crop, crop)) for n in (2, 5)
    )  # their difference has no part that is the same for every batch
    expected = memory.activation_bytes(channels, crop, width, batch_norm)
    assert (large - small) / 3 == pytest.approx(expected, rel=0.02)


def test_full_size_streams_in_numbers():
    """VGG-19 at 224 px keeps 14.8 M activations and 1.5 M maxima, as the paper's table adds up."""
    per_clip = memory.activation_bytes(100, 224, element=2)
    convs = 224**2 * (2 * 64 + 2 * 128 / 4 + 4 * 256 / 16 + 4 * 512 / 64 + 4 * 512 / 256)
    pools = 224**2 * (64 / 4 + 128 / 16 + 256 / 64 + 512 / 256 + 512 / 1024)
    assert per_clip == pytest.approx(2 * (100 * 224**2 + convs) + 10 * pools, rel=0.01)
    assert 50e6 < per_clip < 60e6


def test_frozen_trunks_keep_little():
    profile = get_profile("ucf101", crop=64, width=1 / 8)
    streams = [vgg19(c, 10, 1 / 8) for c in (30, 100)]
    model = ConvFusion(*streams)
    kept = memory.kept_bytes(model, torch.zeros(2, 30, 64, 64), torch.zeros(2, 100, 64, 64)) / 2
    assert kept < memory.clip_bytes((30, 100), profile, frozen=True) - 5 * 130 * 64**2


def test_a_batch_is_cut_into_few_equal_parts():
    gigabyte = 10**9
    part = memory.largest_part
    assert part(16, gigabyte // 10, gigabyte, 15 * gigabyte) == 16  # all of it
    assert part(16, gigabyte, gigabyte, 15 * gigabyte) == 8  # 11 fit: two parts of eight
    assert part(16, gigabyte, gigabyte, 8 * gigabyte) == 4  # 5 fit: four of four
    assert part(16, gigabyte, 9 * gigabyte, 8 * gigabyte) == 1  # nothing fits: try one at a time


def test_a_t4_holds_the_recipes_batch_of_every_network():
    """15 GB of 10⁹ bytes, with weights and momentum in it; in half precision and in float32."""
    profile = get_profile("ucf101")
    with torch.device("meta"):
        streams = [vgg19(profile.channels[kind], 101) for kind in ("rgb", "flow")]
        networks = dict(zip(INPUTS, (*streams, ConvFusion(*streams))))
    for name, model in networks.items():
        channels = [profile.channels[kind] for kind in INPUTS[name]]
        for element in 2, 4:
            clip = memory.clip_bytes(channels, profile, name == "conv", element)
            fixed = memory.parameter_bytes(model, element)
            fits = memory.largest_batch(clip, fixed, 15 * 10**9)
            assert fits >= 96 > getattr(profile, name).batch_size  # 96: that of 2016


@pytest.mark.parametrize("name", ["spatial", "temporal", "conv"])
def test_the_device_decides(monkeypatch, name):
    gpu = torch.device("cuda")
    monkeypatch.setattr(memory, "mixed_precision", lambda device: "fp16")
    profile = get_profile("ucf101")
    with torch.device("meta"):
        model = vgg19(30, 101)
    monkeypatch.setattr(memory, "free_memory", lambda device: 15 * 2**30)
    assert memory.micro_batch(profile, name, model, gpu) == 16  # a T4 takes the recipe's batch
    monkeypatch.setattr(memory, "free_memory", lambda device: 3 * 2**30)
    assert 1 <= memory.micro_batch(profile, name, model, gpu) < 16
    mini = get_profile("mini")
    if name != "conv":
        assert memory.micro_batch(mini, name, model, gpu) == 32  # batch norm: never cut
    monkeypatch.undo()
    assert memory.micro_batch(profile, name, model, torch.device("cpu")) == 16


def test_parts_of_a_batch_train_like_the_whole(tmp_path, precision):
    precision("no")  # bfloat16 rounds the gradient of each part
    profile = get_profile("mini", rgb_frames=2, crop=32, short_side=40, batch_norm=False)
    recipe = Recipe(2, 0.05, batch_size=16, dropout=0.0)
    torch.manual_seed(0)
    first = vgg19(6, 2, width=1 / 8, dropout=0.0)
    models, losses = [], []
    for size in (None, 8, 6):
        model = copy.deepcopy(first)
        data = dataset(profile, streams=("rgb",), repeat=6)  # 36 clips: two batches of 16
        history = training.fit(model, data, recipe, tmp_path / f"{size}.pt", micro_batch=size)
        models.append(model.state_dict())
        losses.append([row["loss"] for row in history])
    moved = max((models[0][n] - p).abs().max().item() for n, p in first.state_dict().items())
    assert moved > 1e-3
    for model, loss in zip(models[1:], losses[1:]):
        assert loss == pytest.approx(losses[0], abs=1e-6)
        for name, value in models[0].items():
            torch.testing.assert_close(model[name], value, atol=1e-6, rtol=0, msg=name)


def test_the_course_passes_the_choice_on(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(pipeline, "micro_batch", lambda *arguments: 5)
    monkeypatch.setattr(pipeline, "fit", lambda *a, **options: given.update(options) or [])
    course = object.__new__(pipeline.Course)
    course.profile, course.val, course.run_dir = get_profile("mini"), [], tmp_path
    course.workers, course.seed, course.split = 0, 0, 1
    monkeypatch.setattr(pipeline.Course, "dataset", lambda *a: None)
    monkeypatch.setattr(pipeline.Course, "checkpoint", lambda *a: tmp_path / "a.pt")
    course.fit("spatial", None)
    assert given["micro_batch"] == 5
