"""The training loop: it learns, resumes exactly, and its files survive bad luck."""

import copy
import multiprocessing
import platform
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from test_stacks import dataset

from twostream_utils import device, training
from twostream_utils.evaluation import score, validate
from twostream_utils.lab.results import sessions
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.stacks import inputs, make_loader
from twostream_utils.vgg import vgg19

PROFILE = get_profile("mini", rgb_frames=2, crop=32, short_side=40, positions=1)
RECIPE = Recipe(8, 0.01, batch_size=3)  # four epochs of six clips


def network(**options):
    torch.manual_seed(0)
    return vgg19(6, 2, width=1 / 16, batch_norm=True, **options)


def train(path, model=None, **options):
    model = model or network()
    data = dataset(PROFILE, streams=("rgb",))
    val = dataset(PROFILE, train=False, streams=("rgb",))
    return model, training.fit(model, data, RECIPE, path, val, **options)


def assert_same(found, expected):
    """Two networks with their histories, but for the seconds."""
    (model, rows), (other, others) = found, expected
    assert [row | {"seconds": 0} for row in rows] == [row | {"seconds": 0} for row in others]
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training in one go: the checkpoint, the network, the history."""
    path = tmp_path_factory.mktemp("whole") / "a.pt"
    return path, *train(path)


def test_resume_is_exact(whole, tmp_path):
    for epochs in (1, 3, None):
        mended = train(tmp_path / "broken.pt", stop_after=epochs)
    assert_same(mended, whole[1:])


def test_only_what_is_finished_leaves_the_scratch_folder(whole, tmp_path):
    path, scratch = tmp_path / "drive" / "a.pt", tmp_path / "local"
    train(path, stop_after=2, scratch=scratch)
    assert not path.exists() and (scratch / "a.pt").exists()
    trained = train(path, scratch=scratch)
    assert path.exists()
    assert_same(trained, whole[1:])
    assert train(path, scratch=tmp_path / "other")[1] == trained[1]


def test_a_finished_checkpoint_is_loaded_and_cannot_go_on(whole):
    path, *trained = whole
    called = []
    again = train(path, on_epoch=called.append)
    assert again[1] == trained[1] and not called and not again[0].training
    assert_same(again, trained)
    data = dataset(PROFILE, streams=("rgb",))
    with pytest.raises(ValueError, match=r"a\.pt is a finished training of 4 epochs.* go on to 9"):
        training.fit(network(), data, Recipe(18, 0.01, batch_size=3), path)


def test_a_network_that_was_scored_can_still_be_trained(whole, tmp_path):
    model = network()
    score(model, dataset(PROFILE, train=False, streams=("rgb",)))
    _, (row,) = train(tmp_path / "a.pt", model, stop_after=1)
    assert row | {"seconds": 0} == whole[2][0] | {"seconds": 0}


def test_an_epoch_is_not_lost_where_its_folder_went(whole, tmp_path):
    folder = tmp_path / "runs" / "mini"
    train(folder / "a.pt", on_epoch=lambda history: shutil.rmtree(folder.parent))
    _, (row,) = train(folder / "a.pt", stop_after=1, on_epoch=lambda history: None)
    assert row | {"seconds": 0} == whole[2][0] | {"seconds": 0}


def test_a_disk_without_room_for_a_checkpoint(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.pt"
    train(path, stop_after=1)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="could not write checkpoint .*a.pt: File too large"):
            train(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_damaged_checkpoint_is_named_and_none_is_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("code ran",)

    path = tmp_path / "a.pt"
    torch.save({"model": Trap()}, path)
    with pytest.raises(ValueError, match="a.pt cannot be read"):
        training.load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="a.pt cannot be read .*delete it to train again"):
        train(path)


def test_loss_that_is_no_number_is_reported(tmp_path):
    path, model = tmp_path / "a.pt", network()
    with torch.no_grad():
        model.classifier[6].bias.fill_(float("inf"))
    with pytest.raises(ValueError, match="epoch 1 .*lower Recipe.lr$"):
        train(path, model)
    assert not path.exists()
    train(path, stop_after=1)
    kept = torch.load(path, weights_only=True)
    kept["model"]["classifier.6.bias"].fill_(float("inf"))
    torch.save(kept, path)
    with pytest.raises(ValueError, match="epoch 2 .*a.pt holds the last good epoch"):
        train(path)


def interrupt(layer, inputs):
    interrupt.left -= 1
    if interrupt.left == 0:
        raise KeyboardInterrupt


def test_interrupted_in_the_first_epoch_the_same_model_starts_anew(whole, tmp_path, capsys):
    model, path, interrupt.left = network(), tmp_path / "broken.pt", 2
    hook = model.classifier.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(path, model)
    assert capsys.readouterr().out.startswith("Interrupted. ") and not path.exists()
    assert stopped.value._render_traceback_() == ["KeyboardInterrupt"]  # a line, no page
    hook.remove()
    assert_same(train(path, model), whole[1:])


def test_interrupted_while_the_curves_are_drawn(whole, tmp_path, capsys):
    def draw(history):
        raise KeyboardInterrupt

    model, path = network(), tmp_path / "broken.pt"
    for epoch in 1, 2:
        with pytest.raises(KeyboardInterrupt) as stopped:
            train(path, model, on_epoch=draw)
        assert f"goes on after {epoch} of 4 epochs" in capsys.readouterr().out
        assert stopped.value._render_traceback_() == ["KeyboardInterrupt"]
    assert_same(train(path, model), whole[1:])


def test_an_interrupt_keeps_no_batch_and_no_workers(tmp_path):
    """A notebook keeps the traceback; with all variables, a GPU would be full for the next run."""
    answers = []

    def loop(network, loader, *others):
        for stacks, _ in loader:
            logits = network(*stacks)
            answers.append(weakref.ref(logits))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path / "a.pt", loop=loop, workers=1)
    assert stopped.tb and answers[0]() is None and not multiprocessing.active_children()


def test_a_batch_that_does_not_fit_goes_through_in_equal_parts(tmp_path, precision):
    precision("no")  # bfloat16 rounds the gradient of each part
    recipe = Recipe(4, 0.05, batch_size=16, dropout=0.0)
    torch.manual_seed(0)
    first = vgg19(6, 2, width=1 / 8, dropout=0.0)
    sizes, found = set(), []
    for room in (16, 9):

        def fits(layer, inputs, room=room):
            if len(inputs[0]) > room:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            sizes.add((room, len(inputs[0])))

        model = copy.deepcopy(first)
        model.features[5].register_forward_pre_hook(fits)
        data = dataset(PROFILE, streams=("rgb",), repeat=6)  # 36 clips: two batches of 16
        history = training.fit(model, data, recipe, tmp_path / f"{room}.pt")
        found.append((model.state_dict(), [row["loss"] for row in history]))
    assert sizes == {(16, 16), (9, 8)}
    (whole, losses), (parts, same) = found
    assert same == pytest.approx(losses, abs=1e-6)
    assert max((whole[n] - p).abs().max() for n, p in first.state_dict().items()) > 1e-3
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("said", [
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "MPS backend out of memory (MPS allocated: 8.9 GB, max allowed: 9.1 GB)",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 1073741824 bytes.",  # Windows
])  # fmt: skip
def test_a_clip_that_does_not_fit_alone_is_told_in_words(said, tmp_path):
    def never(layer, inputs):
        raise RuntimeError(said)

    model = vgg19(6, 2, width=1 / 8)
    model.features[0].register_forward_pre_hook(never)
    data = dataset(PROFILE, streams=("rgb",))
    with pytest.raises(RuntimeError, match="not even one clip fits on .* smaller profile"):
        training.fit(model, data, Recipe(1, 0.05, batch_size=2), tmp_path / "a.pt")


def test_float16s_scale_is_in_the_gradients_and_out_again_before_the_step(tmp_path, precision):
    precision("no")
    shown = [torch.rand(3, 6, 32, 32)], torch.tensor([0, 1, 0])
    after = []
    for scale in (1.0, 1024.0):
        state = training.Training(network(dropout=0.0), RECIPE, 4, 2, tmp_path / "none.pt")
        state.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        ready = device.Prepared(state.model, torch.device("cpu"), "no", state.scaler)
        training.train_epoch(ready, [shown], state, state.schedule, training.tower_loss)
        after.append(state.model)
    last = [model.classifier[6].weight for model in after]
    torch.testing.assert_close(*last, atol=1e-7, rtol=1e-4)
    assert not torch.equal(last[0], network(dropout=0.0).classifier[6].weight)
    shares = [model.classifier[6].weight.grad.norm() for model in after]
    assert shares[1] == pytest.approx(shares[0].item(), rel=1e-3)  # clipped as float32's are


def test_schedule_rises_then_falls_to_zero():
    factors = [training.warmup_cosine(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0)


def test_biases_and_batch_norm_do_not_decay():
    groups = training.parameter_groups(network(), Recipe(1, 0.1, weight_decay=0.01))
    assert {g["weight_decay"]: len(g["params"]) for g in groups} == {0.0: 51, 0.01: 19}
    assert all(p.ndim > 1 for p in groups[0]["params"])


def test_towers_each_have_a_loss():
    logits, labels = torch.randn(4, 2, 3), torch.tensor([0, 1, 2, 0])
    alone = [torch.nn.functional.cross_entropy(logits[:, k], labels) for k in (0, 1)]
    assert training.tower_loss(logits, labels) == pytest.approx(sum(alone))


def test_scores_of_a_model_do_not_depend_on_the_batch_and_validation_sums_them_up(whole):
    model, data = whole[1], dataset(PROFILE, train=False, streams=("rgb",))
    one, all_ = score(model, data, at_once=1), score(model, data)
    torch.testing.assert_close(
        torch.from_numpy(one.logits), torch.from_numpy(all_.logits), atol=1e-4, rtol=1e-4
    )
    assert one.logits.shape == (6, 2, 2)
    logits, labels = torch.from_numpy(one.clip_logits()), torch.from_numpy(one.labels)
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
    right = (logits.argmax(1) == labels).sum().item()
    shown = inputs(make_loader(data, 4, 0, 0), device.pick_device(), ("rgb",), "")
    assert [float(n) for n in validate(model, shown)] == pytest.approx([loss, right, 6], abs=1e-4)
    assert whole[2][-1]["val_loss"] == pytest.approx(loss / 6, abs=1e-5)
    with pytest.raises(ValueError, match="train=False"):
        score(model, dataset(PROFILE, streams=("rgb",)))


def test_scoring_shows_a_clip_of_many_views_alone():
    """50 views of 8 clips at 224 px would take 10 GB before the first layer."""
    model, shown = network(), []
    model.register_forward_pre_hook(lambda layer, stacks: shown.append(len(stacks[0])))
    for positions, crops in (1, "centre"), (5, "five"):
        profile = replace(PROFILE, positions=positions)
        score(model, dataset(profile, train=False, streams=("rgb",), crops=crops))
    assert shown == [12] + [50] * 6


def test_precision_is_probed_without_a_trace_and_can_be_given(monkeypatch):
    cpu, seed, threads = torch.device("cpu"), torch.random.get_rng_state(), torch.get_num_threads()
    device.bf16_gain.cache_clear()
    assert device.bf16_gain() > 0
    assert torch.equal(torch.random.get_rng_state(), seed) and torch.get_num_threads() == threads
    monkeypatch.delenv("TWOSTREAM_PRECISION", raising=False)
    for gain, name in ((0.7, "no"), (1.1, "no"), (1.9, "bf16")):
        monkeypatch.setattr(device, "bf16_gain", lambda gain=gain: gain)
        assert device.mixed_precision(cpu) == name
    monkeypatch.setenv("TWOSTREAM_PRECISION", "no")
    assert device.mixed_precision(cpu) == "no"
    monkeypatch.setenv("TWOSTREAM_PRECISION", "half")
    with pytest.raises(ValueError, match="'half'; there are no, bf16, fp16"):
        device.mixed_precision(cpu)


def test_a_training_goes_on_in_its_precision(tmp_path, precision, monkeypatch):
    """bfloat16 in the first session; the second one's probe would choose float32."""
    path = tmp_path / "broken.pt"
    precision("bf16")
    unbroken = train(tmp_path / "whole.pt")
    train(path, stop_after=2)
    precision("no")
    with pytest.raises(ValueError, match="in bfloat16 so far, .* asks for float32: unset "):
        train(path)
    monkeypatch.delenv("TWOSTREAM_PRECISION")
    monkeypatch.setattr(device, "bf16_gain", lambda: 0.5)
    mended = train(path)
    assert_same(mended, unbroken)
    (made,) = sessions(path)
    assert made["precision"] == "bf16" and made["torch"] == torch.__version__
    precision("no")
    assert train(path)[1] == mended[1]  # finished: loaded, whatever is asked for
    kept = torch.load(path, weights_only=True)
    del kept["trained_with"]  # as in checkpoints of before
    torch.save(kept, path)
    assert train(path)[1] == mended[1]
    assert sessions(path) == sessions(tmp_path / "none.pt") == []


def test_a_precision_that_the_device_lacks_is_left(monkeypatch, tmp_path):
    monkeypatch.delenv("TWOSTREAM_PRECISION", raising=False)
    monkeypatch.setattr(device, "bf16_gain", lambda: 0.5)
    for kind, begun, goes_on in (
        ("cpu", "fp16", "no"), ("cpu", "bf16", "bf16"), ("mps", "bf16", "no"), ("mps", "no", "no"),
    ):  # fmt: skip
        found = device.precision_to_go_on(torch.device(kind), begun, tmp_path / "a.pt")
        assert found == goes_on, (kind, begun)


def test_training_in_bfloat16_learns_what_float32_does(tmp_path, precision):
    losses = {}
    for name in ("no", "bf16"):
        precision(name)
        model, history = train(tmp_path / f"{name}.pt")
        losses[name] = [row["loss"] for row in history]
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.1)
    assert losses["bf16"] != losses["no"]


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
        with pytest.raises(ValueError, match=f"{name}' on this machine: name cuda or cpu, "):
            device.pick_device()


@pytest.mark.slow
def test_compiled_training_takes_the_same_path(tmp_path, precision):
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on the CPU: g++ not found")
    precision("no")
    # Without dropout: compiled code draws other random numbers from the same seed.
    plain, history = train(tmp_path / "plain.pt", network(dropout=0.0))
    compiled, same = train(tmp_path / "compiled.pt", network(dropout=0.0), compiled=True)
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
