"""The training loop: it learns, resumes exactly, and its files survive bad luck."""

import errno
import platform
import shutil
import subprocess
import sys
import threading
import time

import pytest
import torch
from test_stacks import RampStore, dataset

from twostream_utils import batches, device, training, validation
from twostream_utils.evaluation import score
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.validation import Validation
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
    with pytest.raises(ValueError, match="epoch 1 .*lower Recipe.lr$"):
        training.fit(model, data, RECIPE, tmp_path / "a.pt")
    assert not (tmp_path / "a.pt").exists()


def test_a_loss_that_goes_wrong_later_leaves_the_last_good_epoch(tmp_path):
    path = tmp_path / "a.pt"
    train(path, stop_after=1)
    kept = torch.load(path, weights_only=True)
    kept["model"]["classifier.6.bias"].fill_(float("inf"))
    torch.save(kept, path)
    with pytest.raises(ValueError, match="epoch 2 .*a.pt holds the last good epoch"):
        train(path)


def test_interrupted_in_the_first_epoch_the_same_model_starts_anew(tmp_path, monkeypatch):
    whole, history = train(tmp_path / "whole.pt")
    step, steps = training._gradients, []

    def interrupted(*arguments):
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(training, "_gradients", interrupted)
    model, path = network(), tmp_path / "broken.pt"
    data = dataset(PROFILE, streams=("rgb",))
    val = dataset(PROFILE, train=False, streams=("rgb",))
    with pytest.raises(KeyboardInterrupt):
        training.fit(model, data, RECIPE, path, val)
    assert not path.exists()
    again = training.fit(model, data, RECIPE, path, val)
    assert [row["loss"] for row in again] == [row["loss"] for row in history]
    for (name, a), b in zip(whole.state_dict().items(), model.state_dict().values()):
        assert torch.equal(a, b), name


def test_schedule_rises_then_falls_to_zero():
    factors = [training.warmup_cosine(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0)


def test_biases_and_batch_norm_do_not_decay():
    groups = training.parameter_groups(network(), Recipe(1, 0.1, weight_decay=0.01))
    assert {g["weight_decay"]: len(g["params"]) for g in groups} == {0.0: 51, 0.01: 19}
    assert all(p.ndim > 1 for p in groups[0]["params"])


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


def test_whole_frames_of_several_sizes_are_scored_alike_in_any_batch():
    class Mixed(RampStore):
        """Every other clip stands upright."""

        def size(self, clip):
            return (40, 64) if int(clip[-1]) % 2 else (64, 40)

        def images(self, clip, indices, flow=False):
            self.shape = self.size(clip)
            yield from super().images(clip, indices, flow)

    data = dataset(PROFILE, train=False, streams=("rgb",), store=Mixed(), crops="whole")
    model = network()
    model.window = 1
    one, all_ = score(model, data, batch_size=1), score(model, data, batch_size=6)
    assert (one.logits == all_.logits).all()
    with pytest.raises(ValueError, match="several sizes make no batch: 40×64 .*, 64×40 "):
        data.batch([0, 1])
    assert data.batch([0, 2])["rgb"].shape == (2, 2, 6, 40, 64)


def test_frozen_trunks_see_the_validation_clips_once(tiny, monkeypatch):
    from twostream_utils.conv_fusion import ConvFusion

    streams = (tiny.new_stream("spatial"), tiny.new_stream("temporal"))
    clips = tiny.dataset("test", crops="centre")
    for trained, runs in ((False, 1), (True, 3)):
        model = ConvFusion(*streams, train_trunks=trained)
        calls = []
        monkeypatch.setattr(
            model, "trunks", lambda *s, m=model, c=calls: c.append(1) or ConvFusion.trunks(m, *s)
        )
        validate = Validation(clips, 4 * len(clips), 0, torch.device("cpu"))
        first = validate(model)
        torch.testing.assert_close(validate(model), first)
        with torch.no_grad():
            model.classifier[6].bias += torch.tensor([5.0, 0.0])
        changed = validate(model)
        assert len(calls) == runs and not torch.allclose(changed, first)
        fresh = Validation(clips, 8, 0, torch.device("cpu"))(model)
        torch.testing.assert_close(changed, fresh)


def test_maps_that_do_not_fit_are_not_kept(tiny, monkeypatch):
    from twostream_utils.conv_fusion import ConvFusion

    monkeypatch.setattr(validation, "MAPS_GB", 1e-9)
    model = ConvFusion(tiny.new_stream("spatial"), tiny.new_stream("temporal"))
    validate = Validation(tiny.dataset("test", crops="centre"), 8, 0, torch.device("cpu"))
    torch.testing.assert_close(validate(model), validate(model))
    assert validate.maps is None and not validate.maps_fit  # and are not gathered again


def test_a_finished_training_cannot_go_on(tmp_path):
    data, path = dataset(PROFILE, streams=("rgb",)), tmp_path / "a.pt"
    training.fit(network(), data, Recipe(1, 0.01, batch_size=3), path)
    with pytest.raises(ValueError, match=r"a\.pt is a finished training of 1 epochs.* go on to 2"):
        training.fit(network(), data, Recipe(2, 0.01, batch_size=3), path)


def test_the_probe_of_bfloat16_runs_on_one_thread(monkeypatch):
    set_to, real = [], torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda n: set_to.append(n) or real(n))
    before = torch.get_num_threads()
    device.bf16_gain.cache_clear()
    assert device.bf16_gain() > 0
    assert set_to == [1, before] and torch.get_num_threads() == before


def test_the_next_batch_is_read_while_one_is_used():
    read = []

    def source():
        for k in range(5):
            read.append(k)
            yield {"x": torch.full((2,), k)}

    got = []
    for batch in batches.ahead(source(), torch.device("cpu")):
        for _ in range(100):
            if len(read) > len(got) + 1 or len(read) == 5:
                break
            time.sleep(0.01)
        got.append(batch["x"][0].item())
        assert len(read) == min(5, len(got) + 1)
    assert got == [0, 1, 2, 3, 4]


def test_an_error_while_reading_ahead_reaches_the_loop():
    def source():
        yield {"x": torch.zeros(1)}
        raise ValueError("frame 7 is damaged")

    with pytest.raises(ValueError, match="frame 7"):
        list(batches.ahead(source(), torch.device("cpu")))


def test_precision_is_probed_and_can_be_given(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.delenv("TWOSTREAM_PRECISION", raising=False)
    for gain, name in ((0.7, "no"), (1.1, "no"), (1.9, "bf16")):
        monkeypatch.setattr(device, "bf16_gain", lambda gain=gain: gain)
        assert device.mixed_precision(cpu) == name
    monkeypatch.setenv("TWOSTREAM_PRECISION", "no")
    assert device.mixed_precision(cpu) == "no"
    monkeypatch.setenv("TWOSTREAM_PRECISION", "half")
    with pytest.raises(ValueError, match="'half'; there are no, bf16, fp16"):
        device.mixed_precision(cpu)


def test_the_probe_draws_nothing_from_the_seed():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    device.bf16_gain.cache_clear()
    device.bf16_gain()
    assert torch.equal(torch.rand(3), expected)


def test_a_training_goes_on_in_its_precision(tmp_path, precision, monkeypatch):
    """bfloat16 in the first session; the second one's probe would choose float32."""
    path = tmp_path / "broken.pt"
    precision("bf16")
    whole, history = train(tmp_path / "whole.pt")
    train(path, stop_after=2)
    monkeypatch.setenv("TWOSTREAM_PRECISION", "no")
    with pytest.raises(ValueError, match="in bfloat16 so far, .* asks for float32: unset "):
        train(path)
    monkeypatch.delenv("TWOSTREAM_PRECISION")
    monkeypatch.setattr(device, "bf16_gain", lambda: 0.5)
    mended, again = train(path)
    assert [row["loss"] for row in again] == [row["loss"] for row in history]
    assert torch.equal(whole.classifier[6].weight, mended.classifier[6].weight)
    (made,) = training.made_on(path)
    assert made["precision"] == "bf16" and made["torch"] == torch.__version__
    monkeypatch.setenv("TWOSTREAM_PRECISION", "no")
    assert train(path)[1] == again  # finished: loaded, whatever is asked for


def test_a_precision_that_the_device_lacks_is_left(monkeypatch, tmp_path):
    monkeypatch.delenv("TWOSTREAM_PRECISION", raising=False)
    monkeypatch.setattr(device, "bf16_gain", lambda: 0.5)
    for kind, begun, goes_on in (
        ("cpu", "fp16", "no"), ("cpu", "bf16", "bf16"), ("mps", "bf16", "no"), ("mps", "no", "no"),
    ):  # fmt: skip
        found = device.precision_to_go_on(torch.device(kind), begun, tmp_path / "a.pt")
        assert found == goes_on, (kind, begun)


def test_a_checkpoint_that_does_not_say_where_it_was_made_is_loaded(tmp_path):
    path = tmp_path / "a.pt"
    for epochs in (1, None):
        model, history = train(path, stop_after=epochs)
        kept = torch.load(path, weights_only=True)
        assert [list(made) for made in kept.pop("made_on")] == [["device", "precision", "torch"]]
        torch.save(kept, path)
    again, history_again = train(path)
    assert history_again == history and len(history) == RECIPE.epochs
    assert training.made_on(path) == training.made_on(tmp_path / "none.pt") == []


def test_the_device_can_be_given(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.delenv("TWOSTREAM_DEVICE", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert device.pick_device() == torch.device("cuda")
    monkeypatch.setenv("TWOSTREAM_DEVICE", "cpu")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.pick_device() == torch.device("cpu")
    monkeypatch.setenv("TWOSTREAM_DEVICE", "cuda")
    assert device.pick_device() == torch.device("cuda", 1)
    for name in ("mps", "gpu"):
        monkeypatch.setenv("TWOSTREAM_DEVICE", name)
        with pytest.raises(ValueError, match=f"{name}' on this machine; it has cuda and cpu"):
            device.pick_device()


def test_only_cuda_is_copied_to_by_the_thread_that_reads():
    class Value:
        def to(self, where, **options):
            copied.append((where.type, options, threading.current_thread()))
            return self

    for kind in ("mps", "cpu"):
        copied = []
        list(batches.ahead([{"x": Value()}, {"x": Value()}], torch.device(kind)))
        assert copied == [(kind, {}, threading.main_thread())] * 2


def test_training_in_bfloat16_learns_what_float32_does(tmp_path, precision):
    losses = {}
    for name in ("no", "bf16"):
        precision(name)
        model, history = train(tmp_path / f"{name}.pt")
        losses[name] = [row["loss"] for row in history]
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.1)
    assert losses["bf16"] != losses["no"]


@pytest.mark.slow
def test_compiled_training_takes_the_same_path(tmp_path, precision, monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on the CPU: g++ not found")
    precision("no")
    # Compiled code draws other random numbers from the same seed.
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)
    plain, history = train(tmp_path / "plain.pt")
    compiled, same = train(tmp_path / "compiled.pt", compiled=True)
    assert [r["loss"] for r in same] == pytest.approx([r["loss"] for r in history], rel=1e-3)
    kept = training.load_checkpoint(tmp_path / "compiled.pt")["model"]
    assert list(kept) == list(compiled.state_dict()) == list(plain.state_dict())


FAULTS = """
import resource, torch
from twostream_utils.device import keep_freed_memory

def step():
    held = [torch.ones(1 << 22) for _ in range(8)]  # 16 MB each, all freed at the end

def faults():
    step(), step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(), step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

free = faults()
keep_freed_memory()
print(free, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, which gives back")
def test_memory_of_a_step_is_kept_for_the_next():
    """In a process of its own: training in this one has asked for it already."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    free, kept = map(int, done.stdout.split())
    assert kept < free / 10, done.stderr
