"""Extraction of a large set: every Nth field, RAFT, the lock, the estimate, turned videos."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import moving_frames, read_video, texture, write_video
from test_extract import ENV, command, run_script
from torchvision.models.optical_flow import raft_small

from twostream_utils.data import estimate as estimate_module
from twostream_utils.data import pool, raft
from twostream_utils.data.estimate import Estimate, duration
from twostream_utils.data.extract import encode_clip, extract
from twostream_utils.data.lock import NAME, locked
from twostream_utils.profiles import get_profile
from twostream_utils.stacks import flow_positions, read_stacks
from twostream_utils.store import FrameStore, StoreError
from twostream_utils.views import View

# Every Nth field


@pytest.fixture(scope="module")
def thinned(video_folder, tmp_path_factory):
    """All fields, and every 3rd, of clips of 8, 9 and 10 frames."""
    roots = [tmp_path_factory.mktemp(name) for name in ("all", "thinned")]
    for root, every in zip(roots, (1, 3)):
        extract(video_folder, root, every=every, workers=1, progress=False)
    return [FrameStore(root) for root in roots]


def test_every_third_field_under_its_own_number(thinned):
    whole, thin = thinned
    for clip, numbers in (
        ("v_YoYo_g01_c01", [1, 4, 7]),
        ("v_YoYo_g02_c01", [1, 4, 7]),
        ("v_YoYo_g03_c01", [1, 4, 7]),
    ):
        thin.check(clip)
        assert (thin.n_flow(clip), thin.flow_every(clip)) == (3, 3)
        assert thin.flow_numbers(clip).tolist() == numbers
        assert thin.n_frames(clip) == whole.n_frames(clip)
        assert np.array_equal(thin.read_flow(clip, numbers), whole.read_flow(clip, numbers))
        assert np.array_equal(thin.read_flow(clip, [7, 1]), whole.read_flow(clip, [7, 1]))
    assert whole.flow_numbers(clip).tolist() == list(range(1, 10))


@pytest.mark.parametrize("cache_gb", [0, 1])
def test_field_that_was_left_out_is_named(thinned, cache_gb):
    store = FrameStore(thinned[1].root, cache_gb)
    for i in (0, 2, 3, 5, 8, 10):
        with pytest.raises(IndexError, match=rf"v_YoYo_g03_c01 has no flow field {i}: .*1, 4, … u"):
            store.flow("v_YoYo_g03_c01", i)
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.flow("v_YoYo_g03_c01", 4), thinned[0].flow("v_YoYo_g03_c01", 4))


def test_missing_field_among_every_third(thinned, tmp_path):
    clip = "v_YoYo_g03_c01"
    root = shutil.copytree(thinned[1].root, tmp_path / "copy")
    with zipfile.ZipFile(root / "YoYo.zip") as file:
        files = {n: file.read(n) for n in file.namelist()}
    for axis in "uv":
        del files[f"tvl1_flow/{axis}/{clip}/frame000004.jpg"]
    with zipfile.ZipFile(root / "YoYo.zip", "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    with pytest.raises(StoreError, match=f"{clip} has 10 frames, 2 u and 2 v"):
        FrameStore(root).check(clip)
    files |= {f"tvl1_flow/{axis}/{clip}/frame000005.jpg": b"" for axis in "uv"}
    with zipfile.ZipFile(root / "YoYo.zip", "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    with pytest.raises(StoreError, match=rf"{clip}, u field 4: it is missing"):
        FrameStore(root).check(clip)


def test_stacks_of_a_thinned_store(thinned):
    whole, thin = thinned
    clip = "v_YoYo_g03_c01"  # fields 1, 4, 7 of 9
    profile = replace(get_profile("mini"), flow_fields=2, flow_step=3, crop=48)
    for start in (1, 4):
        assert flow_positions(thin, clip, profile, start).tolist() == [start, start + 3]
        view = View(start, 0, 0, 48, False)
        assert torch.equal(
            read_stacks(thin, clip, [view], profile, "flow"),
            read_stacks(whole, clip, [view], profile, "flow"),
        )
    # A start between two fields that are there goes back to the one before it.
    assert flow_positions(thin, clip, profile, 3).tolist() == [1, 4]
    assert flow_positions(whole, clip, profile, 3).tolist() == [3, 6]
    six = replace(profile, flow_step=6)
    assert flow_positions(thin, clip, six, 1).tolist() == [1, 7]
    long = replace(profile, flow_fields=5)
    assert flow_positions(thin, clip, long, 4).tolist() == [4, 7, 1, 4, 7]
    words = "one flow field in 3.*2 apart.*without --every.*multiple of 3"
    with pytest.raises(ValueError, match=words):
        flow_positions(thin, clip, replace(profile, flow_step=2), 1)


def test_every_is_a_setting_of_the_shard(video_folder, tmp_path):
    def again(**settings):
        return len(extract(video_folder, tmp_path, workers=1, progress=False, **settings).written)

    assert [again(classes=["YoYo"]), again(classes=["YoYo"])] == [3, 0]
    assert [again(classes=["YoYo"], every=2), again(classes=["YoYo"], every=2)] == [3, 0]
    with zipfile.ZipFile(tmp_path / "YoYo.zip") as file:
        assert json.loads(file.read("clips.json"))["v_YoYo_g03_c01"]["flow_every"] == 2
        assert json.loads(file.read("clips.json"))["v_YoYo_g03_c01"]["frames"] == 10
        assert len(file.namelist()) == (8 + 9 + 10) + 2 * (4 + 4 + 5) + 2
    with pytest.raises(ValueError, match="every must be 1 or more"):
        again(every=0)


# RAFT


@pytest.fixture
def raft_weights(tmp_path, monkeypatch):
    """Weights of the right shapes where the download would put them: the model is real, its
    training is not, so what is tested is all but the quality of the flow."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(raft_small().state_dict(), folder / raft._WEIGHTS.url.rsplit("/", 1)[1])
    raft.load_raft.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other crawl on a busy machine
    yield
    torch.set_num_threads(threads)
    raft.load_raft.cache_clear()


def test_raft_is_the_model_on_padded_batches(raft_weights):
    frames = moving_frames(4, 60, 90)
    flow = raft.raft_flow(frames[:-1], frames[1:])
    assert flow.shape == (3, 60, 90, 2) and flow.dtype == np.float32
    alone = raft.raft_flow(frames[1:2], frames[2:3])
    assert np.abs(alone[0] - flow[1]).max() < 1e-2
    # By hand: scaled to ±1, the border repeated up to 128 px.
    model = raft.load_raft().cpu()
    pair = [
        torch.from_numpy(np.pad(f, ((0, 68), (0, 38), (0, 0)), "edge")).permute(2, 0, 1)[None]
        for f in frames[1:3]
    ]
    with torch.inference_mode():
        expected = model(*(p / 255 * 2 - 1 for p in pair))[-1][0, :, :60, :90]
    assert np.abs(alone[0] - expected.permute(1, 2, 0).numpy()).max() < 1e-2


def test_raft_fills_batches(raft_weights, monkeypatch):
    from twostream_utils.data import shards

    sizes = []
    real = raft.raft_flow
    monkeypatch.setattr(raft, "raft_flow", lambda a, b: sizes.append(len(a)) or real(a, b))
    monkeypatch.setattr(shards, "RAFT_BATCH", 3)
    frames = moving_frames(6)
    batched = encode_clip("a", frames, "raft")
    assert sizes == [3, 2]
    monkeypatch.setattr(shards, "RAFT_BATCH", 1)
    single = encode_clip("a", frames, "raft")
    assert [name for name, _ in batched] == [name for name, _ in encode_clip("a", frames)]
    assert [name for name, _ in single] == [name for name, _ in batched]
    every = encode_clip("a", frames, "raft", every=2)
    assert [n for n, _ in every if "/u/" in n] == [
        f"tvl1_flow/u/a/frame{k:06d}.jpg" for k in (1, 3, 5)
    ]


def test_raft_through_the_script(raft_weights, tmp_path):
    write_video(tmp_path / "in" / "a" / "x.avi", moving_frames(3))
    done = subprocess.run(
        command(tmp_path / "in", tmp_path / "out", "--flow", "raft", "--workers", 1),
        env={**ENV, "TORCH_HOME": os.environ["TORCH_HOME"], "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert FrameStore(tmp_path / "out").n_flow("v_a_x") == 2


def test_raft_without_its_weights_says_what_to_do(video_folder, tmp_path, monkeypatch):
    weights = replace(raft._WEIGHTS.value, url="http://127.0.0.1:9/raft.pth")
    monkeypatch.setattr(raft._WEIGHTS, "_value_", weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    raft.load_raft.cache_clear()
    with pytest.raises(RuntimeError, match=r"could not be fetched.*raft.*put it at .*torch.*dis"):
        extract(video_folder, tmp_path / "out", method="raft")
    assert not (tmp_path / "out").exists()


# Two at once


def test_windows_is_asked_for_no_more_workers_than_it_can_wait_for(monkeypatch):
    monkeypatch.setattr(pool, "MOST", 1)  # 61 there
    assert set(pool.in_order(process_number, range(3), workers=100)) == {os.getpid()}


def process_number(_):
    return os.getpid()


def test_second_extraction_into_a_folder_is_refused(video_folder, tmp_path):
    with locked(tmp_path):
        with pytest.raises(OSError, match=rf"another .*{tmp_path}.*process {os.getpid()} on"):
            extract(video_folder, tmp_path, workers=1, progress=False)
        done = run_script(video_folder, tmp_path)
        assert done.returncode == 2 and f"process {os.getpid()} on" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / NAME).exists()
    extract(video_folder, tmp_path, workers=1, progress=False)
    assert not (tmp_path / NAME).exists()


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a POSIX signal")
def test_lock_of_a_killed_process_is_no_obstacle(tmp_path):
    code = (
        "import sys, time, pathlib; from twostream_utils.data.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=ENV, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OSError, match=f"process {holder.pid} on"), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / NAME).exists()
    with locked(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / NAME).read_text()


# The estimate


def test_estimate_is_told_once_and_in_proportion(tmp_path):
    estimate = Estimate(tmp_path, total=1000)
    assert estimate.add(50, 1_000_000_000) is None
    estimate.began = time.monotonic() - 100
    line = estimate.add(50, 1_000_000_000)  # a tenth is done: 9 times the time, 9 times 2 GB
    assert "about 15 min to go, 20.0 GB in all, 18.0 GB of it still to come" in line
    assert estimate.add(50, 1) is None
    assert duration(45) == "45 s" and duration(720) == "12 min" and duration(12600) == "3.5 h"


def test_estimate_says_when_the_disk_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate_module, "AFTER", 0)
    assert "not enough" in Estimate(tmp_path, 1000).add(1, 10**15)
    assert "not enough" not in Estimate(tmp_path, 1000).add(1, 10)
    assert Estimate(tmp_path, 1000).add(1000, 10) is None  # nothing is left to be told of


def test_estimate_is_printed_while_extracting(video_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(estimate_module, "AFTER", 0)
    extract(video_folder, tmp_path, workers=1)
    assert capsys.readouterr().out.count("GB are free") == 1
    extract(video_folder, tmp_path / "quiet", workers=1, progress=False)
    assert capsys.readouterr().out == ""


# Videos of phones


def turn(path, matrix):
    """Write another display matrix into an mp4's track header, as phones do when held upright."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 40 if data[at] == 0 else 52  # version, flags, times, track, duration, layer, volume
    identity = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    assert data[at : at + 36] == identity
    values = [*(n * (1 << 16) for n in matrix[:2]), 0, *(n * (1 << 16) for n in matrix[2:]), 0]
    data[at : at + 24] = b"".join(n.to_bytes(4, "big", signed=True) for n in values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("degrees, matrix", [
    (90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (270, (0, -1, 1, 0)),
])  # fmt: skip
def test_rotation_flag_is_obeyed(tmp_path, degrees, matrix):
    lying = np.repeat(texture(48, 80)[None], 4, axis=0)
    lying[:, :16, :16] = (250, 0, 0)  # red in the top left corner of what the sensor saw
    path = turn(write_video(tmp_path / "phone.mp4", lying, codec="mp4v"), matrix)
    frames, _ = read_video(path)
    upright = np.rot90(lying, -degrees // 90, axes=(1, 2))
    assert frames.shape == upright.shape
    assert np.abs(frames.astype(int) - upright).mean() < 12
    write_video(tmp_path / "in" / "a" / "x.mp4", lying, codec="mp4v")
    turn(tmp_path / "in" / "a" / "x.mp4", matrix)
    extract(tmp_path / "in", tmp_path / "out", workers=1, progress=False)
    assert FrameStore(tmp_path / "out").size("v_a_x") == upright.shape[1:3]
