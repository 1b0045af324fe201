"""Folder of videos → shards: what is in them, what is made again, what a kill leaves."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import replace

import cv2
import extract as extract_script
import numpy as np
import psutil
import pytest
import torch
from conftest import REPO, largest_file, moving_frames, write_video
from test_video import BAD, bad_video

from twostream_utils.data import processes, shards
from twostream_utils.data.extract import extract
from twostream_utils.data.processes import locked
from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.flow import decode
from twostream_utils.profiles import get_profile
from twostream_utils.stacks import flow_positions, read_stacks
from twostream_utils.store import FrameStore
from twostream_utils.views import View

ENV = {**os.environ, "PYTHONPATH": str(REPO)}


def script(*args, name="extract.py"):
    return [sys.executable, str(REPO / "data_scripts" / name), *map(str, args)]


def run_script(*args, **options):
    return subprocess.run(script(*args, **options), env=ENV, capture_output=True, text=True)


def make(source, out, workers=1, **settings):
    return extract(source, out, workers=workers, progress=False, **settings)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.zip")}


def members(shard):
    with zipfile.ZipFile(shard) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope="session")
def whole(video_folder, tmp_path_factory):
    """`video_folder` extracted in one unbroken run, in this process."""
    out = tmp_path_factory.mktemp("whole")
    make(video_folder, out)
    return out


# Encoding and writing


def test_shard_has_its_name_only_when_whole(tmp_path):
    path = tmp_path / "new" / "YoYo.zip"
    encoded = encode_clip("a", moving_frames(3))
    with suppress(RuntimeError), ShardWriter(path) as shard:
        shard.add(encoded, {"a": {"label": "YoYo"}})
        assert list(path.parent.iterdir()) and not path.exists()
        raise RuntimeError
    with ShardWriter(path):
        pass  # no clips: no shard
    assert list(path.parent.iterdir()) == []
    with ShardWriter(path) as shard:
        shard.add(encoded, {"a": {"label": "YoYo"}})
        with pytest.raises(ValueError, match="a is already in"):
            shard.add(encoded, {"a": {"label": "YoYo"}})
    assert list(path.parent.iterdir()) == [path]
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert {i.compress_type for i in file.infolist()} == {zipfile.ZIP_STORED}
        assert {i.date_time for i in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(file.read("clips.json")) == {"a": {"label": "YoYo"}}


# Extraction


def test_store_reads_what_was_extracted(whole):
    store = FrameStore(whole)
    assert len(store.clips) == 9 and set(store.labels.values()) == {"JumpRope", "PullUps", "YoYo"}
    assert sorted(p.stem for p in whole.glob("*.zip")) == ["JumpRope", "PullUps", "YoYo"]
    assert not (whole / "skipped.txt").exists()
    clip = "v_PullUps_g03_c01"
    assert (store.n_frames(clip), store.n_flow(clip), store.group(clip)) == (10, 9, "g03")
    flow = decode(store.read_flow(clip, range(1, 10)))
    assert np.median(flow, axis=(0, 1, 2)) == pytest.approx([2, 1], abs=0.25)
    assert json.loads(members(whole / "PullUps.zip")["clips.json"])[clip] == {
        "label": "PullUps", "group": "g03", "source": "PullUps/v_PullUps_g03_c01.avi",
        "fps": 25.0, "frames": 10, "flow": "dis",
    }  # fmt: skip
    assert store.flow_algorithm(clip) == "dis"


def test_workers_give_the_same_bytes_and_a_second_run_keeps_them(video_folder, whole, tmp_path):
    report = make(video_folder, tmp_path, workers=2)
    assert (len(report.written), report.reused, report.skipped) == (9, [], [])
    assert (report.clips, report.frames, report.ungrouped) == (9, 3 * (8 + 9 + 10), 0)
    assert contents(tmp_path) == contents(whole)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.zip")}
    report = make(video_folder, tmp_path, workers=2)
    assert (report.written, len(report.reused), report.clips) == ([], 3, 9)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.zip")} == times


def test_changed_videos_or_settings_remake_their_shard(video_folder, tmp_path):
    source = shutil.copytree(video_folder, tmp_path / "videos")
    out = tmp_path / "out"
    make(source, out)
    (source / "YoYo" / "v_YoYo_g03_c01.avi").unlink()
    report = make(source, out)
    assert report.written == ["v_YoYo_g01_c01", "v_YoYo_g02_c01"] and len(report.reused) == 2
    changed = {"algorithm": "farneback", "short_side": 32}
    for number, settings in enumerate((changed, changed | {"every": 2})):
        assert [len(make(source, out, **settings).written) for _ in range(2)] == [8, 0], number
    os.truncate(out / "PullUps.zip", 1000)
    assert len(make(source, out, **settings).written) == 3
    report = make(source, out, classes=["PullUps"])
    assert len(report.written) == report.clips == 3


def test_shards_that_do_not_say_which_dis_made_them_stay_valid(whole, video_folder, tmp_path):
    for shard in whole.glob("*.zip"):
        with zipfile.ZipFile(tmp_path / shard.name, "w") as file:
            for name, data in members(shard).items():
                if name.endswith(".json"):
                    data = data.replace(b'"flow": "dis"', b'"flow_method": "dis"')
                file.writestr(name, data)
    assert FrameStore(tmp_path).flow_algorithm("v_YoYo_g01_c01") is None
    for algorithm, kept in ("dis", 3), ("dis_small", 0):
        assert len(make(video_folder, tmp_path, algorithm=algorithm).reused) == kept


def test_bad_videos_are_listed_and_the_rest_is_extracted(video_folder, tmp_path, capsys):
    source, out = tmp_path / "videos", tmp_path / "out"
    good = video_folder / "YoYo" / "v_YoYo_g01_c01.avi"
    for label in ("bad", "mixed", "none", ".hidden"):
        (source / label).mkdir(parents=True)
    for kind in (*BAD, "tiny"):
        bad_video(source / "bad" / f"{kind}.avi", kind)
    for name in (".hidden/A.avi", "mixed/A.AVI", "mixed/A.mkv", "mixed/._A.avi"):
        shutil.copy(good, source / name)
    (source / "mixed" / "list.txt").write_text("A.AVI 1\n" * 50)
    small = "--flow", "dis_small", "--flow-scale", "0.5"
    done = run_script(source, out, "--workers", 2, "--strict", *small)
    assert done.returncode == 1, done.stderr
    lines = (out / "skipped.txt").read_text().splitlines()
    skipped = dict(line.split("\t") for line in lines)
    bad = {f"bad/{kind}.avi" for kind in (*BAD, "tiny")}
    assert skipped.keys() == bad | {"mixed/list.txt", "none/"}
    for name, reason in skipped.items():
        assert reason and f"skipped {name}: {reason}" in done.stdout
    assert "at least 16 px" in skipped["bad/tiny.avi"]
    assert "not a video" in skipped["mixed/list.txt"]
    (kinds,) = re.findall("10 files found, 8 of them left out: (.*)", done.stdout)
    assert sum(map(int, re.findall(r"(\d+) ×", kinds))) == 8  # a folder is no file
    assert [p.name for p in out.glob("*.zip*")] == ["mixed.zip"]
    assert FrameStore(out).clips == ["v_mixed_A", "v_mixed_A_mkv"]  # of one stem, both
    assert "2 clips (2 new), 16 frames" in done.stdout
    # Without --strict the same is a success, writes nothing, and the hint on groups is there.
    stamp = (out / "skipped.txt").stat().st_mtime_ns
    assert extract_script.main([str(source), str(out), "--workers", "1", *small]) == 0
    said = capsys.readouterr().out
    assert "2 clips (0 new)" in said and "No group could be read from 2 names" in said
    assert (out / "skipped.txt").read_text().splitlines() == lines
    assert (out / "skipped.txt").stat().st_mtime_ns == stamp  # nor where it may only be read
    made = members(out / "mixed.zip")
    meta = json.loads(made["clips.json"])["v_mixed_A"]
    assert (meta["flow"], meta["flow_scale"]) == ("dis_small", 0.5)
    field = np.frombuffer(made["tvl1_flow/u/v_mixed_A/frame000001.jpg"], np.uint8)
    assert cv2.imdecode(field, -1).shape == (24, 32)


def test_sources_that_are_no_folder_of_classes(video_folder, tmp_path):
    for name in ("empty", "bad"):
        (tmp_path / name / "class").mkdir(parents=True)
    bad_video(tmp_path / "bad" / "class" / "x.avi", "text")
    for source, settings, words in (
        (tmp_path / "nowhere", {}, "no folder .*nowhere"),
        (tmp_path / "empty", {}, "no videos in .*empty"),
        (tmp_path / "bad", {}, "none of the 1 videos .*class/x.avi: .*not a video"),
        (video_folder / "YoYo", {}, f"itself a folder of videos.*above it: {video_folder}"),
        (video_folder, {"algorithm": "horn"}, "'horn'.*dis, dis_small, tvl1, farneback"),
        (video_folder, {"classes": ["Yoyo"]}, "no class Yoyo .*JumpRope, PullUps, YoYo"),
        (video_folder, {"every": 0}, "every must be 1 or more"),
        (video_folder, {"rate": -5}, "rate must be from 0 to 1000 frames per second, got -5"),
        (video_folder, {"rate": 1, "classes": ["YoYo"]}, "YoYo_g01_c01.avi: only one frame at"),
        (video_folder, {"flow_scale": 2}, "flow_scale must be above 0 and at most 1, got 2"),
        (video_folder, {"group_pattern": "^[a-z]+_"}, "lacks a bracket"),
        (video_folder, {"group_pattern": "("}, "no regular expression"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            make(source, tmp_path / "out", **settings)
    assert not list((tmp_path / "out").glob("*.zip*"))


def test_group_pattern(tmp_path):
    handstand = "v_HandStandPushups_g01_c01"
    for name in ("bend/daria_bend", "bend/eli_bend", "run/daria_run", "run/eli_run", "run/9",
                 "run/other_g03_take2", f"HandStandPushups/{handstand}"):  # fmt: skip
        write_video(tmp_path / "in" / f"{name}.avi", moving_frames(3))

    def groups(**settings):
        report = make(tmp_path / "in", tmp_path / "out", **settings)
        return report.ungrouped, FrameStore(tmp_path / "out").groups

    alone, found = groups(group_pattern="^([a-z]+)_")
    assert alone == 1 and found["v_run_9"] == "v_run_9"
    assert found["v_run_eli_run"] == found["v_bend_eli_bend"] == "eli"
    alone, found = groups()
    assert alone == 5 and found["v_run_other_g03_take2"] == "g03"
    assert (found["v_run_eli_run"], found[handstand]) == ("v_run_eli_run", "g01")
    assert FrameStore(tmp_path / "out" / "HandstandPushups.zip").label(handstand) == (
        "HandstandPushups"  # the other spelling
    )


# Every Nth field


def test_every_third_field_under_its_own_number_makes_the_same_stacks(
    whole, video_folder, tmp_path
):
    make(video_folder, tmp_path, every=3)
    whole, thin = FrameStore(whole), FrameStore(tmp_path)
    clip = "v_YoYo_g03_c01"  # 10 frames
    meta = json.loads(members(tmp_path / "YoYo.zip")["clips.json"])[clip]
    assert (meta["frames"], meta["flow_every"]) == (10, 3)
    assert thin.flow_numbers(clip).tolist() == [1, 4, 7]
    assert np.array_equal(thin.read_flow(clip, [7, 1]), whole.read_flow(clip, [7, 1]))
    with pytest.raises(IndexError, match=f"{clip} has no flow field 3"):
        thin.flow(clip, 3)
    profile = replace(get_profile("mini"), flow_fields=2, flow_step=3, crop=48)
    for start in (1, 4):
        assert flow_positions(thin, clip, profile, start).tolist() == [start, start + 3]
        views = [View(start, 0, 0, 48, False)]
        stacks = [read_stacks(store, clip, views, profile, "flow") for store in (thin, whole)]
        assert torch.equal(*stacks)
    # A start between two fields that are there goes back to the one before it.
    assert flow_positions(thin, clip, profile, 3).tolist() == [1, 4]
    long = replace(profile, flow_fields=5)
    assert flow_positions(thin, clip, long, 4).tolist() == [4, 7, 1, 4, 7]
    words = "one flow field in 3.*2 apart.*without --every.*multiple of 3"
    with pytest.raises(ValueError, match=words):
        flow_positions(thin, clip, replace(profile, flow_step=2), 1)


# Flow at half size


def test_flow_kept_at_half_size_is_read_at_full_size_in_px_of_the_frame(monkeypatch, tmp_path):
    half = np.zeros((16, 32, 2), np.float32)  # of frames of 32x64 px
    half[:, :16], half[:, 16:] = (2, 0.5), (-2, 0.5)  # px of the small frames
    monkeypatch.setattr(shards, "compute_flow", lambda a, b, algorithm: half[: len(a)].copy())
    made = shards.encode_clip("c", np.zeros((2, 32, 64, 3), np.uint8), flow_scale=0.5)
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), -1) for _, data in made]
    assert [image.shape for image in images] == [(32, 64, 3)] * 2 + [(16, 32)] * 2
    with shards.ShardWriter(tmp_path / "a.zip") as shard:
        shard.add(made, {"c": {"label": "a", "flow_scale": 0.5}})
    u, v = cv2.split(FrameStore(tmp_path).flow("c", 1))
    # 4, -4 and 1 px of the frame; between the halves a quarter and three quarters of the way
    row = [153] * 31 + [140, 115] + [102] * 31  # 127.5 + 25.5 … 127.5 - 25.5
    assert u.tolist() == [row] * 32 and v.tolist() == [[134] * 64] * 32  # 127.5 + 6.375


# Interruptions


@pytest.fixture(scope="session")
def longer(tmp_path_factory):
    """Five classes of three clips of 25 frames, and the bytes of an unbroken run."""
    root = tmp_path_factory.mktemp("longer")
    for k in range(15):
        frames = moving_frames(25, 72, 96, seed=k)
        write_video(root / "in" / f"class{k // 3}" / f"clip{k}.avi", frames)
    make(root / "in", root / "out")
    return root / "in", contents(root / "out")


@contextmanager
def interrupted(longer, out, begun=lambda process, out: any(out.glob("*.partial"))):
    """The script at work on `longer` as soon as it has `begun`; what is there after it is whole.

    Its messages go to a file, since workers of a killed process hold on to a pipe for a while.
    """
    source, unbroken = longer
    with open(out / "errors", "w") as errors:
        process = subprocess.Popen(
            script(source, out, "--workers", 2), env=ENV, stdout=subprocess.DEVNULL, stderr=errors,
            start_new_session=True,
        )  # fmt: skip
    wait_for(lambda: process.poll() is not None or begun(process, out))
    yield process
    process.wait(timeout=120)
    assert contents(out).items() <= unbroken.items()


def workers(process, out=None):
    children = psutil.Process(process.pid).children()
    return [c for c in children if any("spawn_main" in word for word in c.cmdline())]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(longer, tmp_path):
    with interrupted(longer, tmp_path) as process:
        time.sleep(random.uniform(0, 0.6))
        begun = workers(process) if process.poll() is None else []
        process.kill()
        assert not psutil.wait_procs(begun, timeout=60)[1], "workers outlived it"
    assert len(list(tmp_path.glob("*.partial"))) <= 1
    kept = len(contents(tmp_path))
    assert len(make(longer[0], tmp_path).reused) == kept
    assert contents(tmp_path) == longer[1] and not list(tmp_path.glob("*.partial"))


@pytest.mark.skipif(os.name == "nt", reason="no process groups to interrupt")
@pytest.mark.parametrize("begun", [workers, lambda _, out: contents(out)], ids=["workers", "shard"])
def test_ctrl_c_keeps_whole_shards_and_says_so_in_a_sentence(longer, tmp_path, begun):
    with interrupted(longer, tmp_path, begun) as process:
        time.sleep(random.uniform(0, 0.4))  # workers take about a second to import
        os.killpg(process.pid, signal.SIGINT)
    if process.returncode != 0:  # it may have been done already
        errors = (tmp_path / "errors").read_text().splitlines()
        assert process.returncode == 130 and errors[-1].startswith("Interrupted: the whole shards")
        assert not [line for line in errors if "Traceback" in line or "Warning" in line], errors
        assert not list(tmp_path.glob("*.partial"))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no masks of signals here")
def test_no_worker_ever_gets_ctrl_c():
    """Neither the first one, with which Python starts a process of its own; nor is a start broken
    off, whichever thread takes the signal."""
    code = """
import functools, os, signal, threading, time
from twostream_utils.data.processes import parallel_map
masks = parallel_map(functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK), [[]] * 8, 2)
print(all(signal.SIGINT in mask for mask in masks), signal.pthread_sigmask(signal.SIG_BLOCK, []))

class Sent:  # as a worker starts
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        print("sent")
        return functools.partial, (abs,)

threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
try:
    next(parallel_map(Sent(), [1, 2], 2))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True set()\nsent\ninterrupted\n", "")


def test_killed_worker_is_reported(longer, tmp_path):
    with interrupted(longer, tmp_path, workers) as process, suppress(psutil.Error):
        workers(process)[0].kill()
    if process.returncode != 0:  # the workers may have had nothing more to do
        errors = (tmp_path / "errors").read_text()
        assert process.returncode == 2 and "fewer workers" in errors and "Traceback" not in errors
        assert not list(tmp_path.glob("*.partial"))


@pytest.mark.filterwarnings("error")  # such as an exception that was ignored
def test_no_room_on_the_disk(video_folder, tmp_path):
    words = "no room left while writing .*JumpRope.zip"
    with largest_file(60_000), pytest.raises(OSError, match=words):
        make(video_folder, tmp_path)
    assert not list(tmp_path.glob("*.zip*"))


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a POSIX signal")
def test_one_command_at_a_time_writes_to_a_folder(video_folder, tmp_path, capsys):
    code = (
        "import sys, time, pathlib; from twostream_utils.data.processes import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    holder = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert extract_script.main([str(video_folder), str(tmp_path)]) == 2
    words = f"error: another command is writing to {tmp_path}: wait for it"
    assert capsys.readouterr().err.startswith(words)
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        pass  # a dead holder's lock is no obstacle


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "no locks")])
def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch, error):
    def acquire(*args, **options):
        raise error

    monkeypatch.setattr(processes.FileLock, "acquire", acquire)
    with locked(tmp_path):
        pass


def test_a_worker_that_is_killed_while_it_answers_is_not_waited_for():
    results = processes.parallel_map(bytes, [10_000_000] * 6, 2)  # more than a pipe holds
    assert not any(next(results))
    time.sleep(0.2)
    max(multiprocessing.active_children(), key=lambda process: process.pid).kill()
    with pytest.raises(RuntimeError, match="fewer workers"):
        list(results)


def test_a_script_without_a_guard_is_told_of_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from twostream_utils.data.processes import parallel_map\n"
        "list(parallel_map(abs, [1, 2, 3], 2))\n"
    )
    done = subprocess.run([sys.executable, script], env=ENV, capture_output=True, text=True)
    assert done.returncode == 1 and 'below `if __name__ == "__main__":`' in done.stderr


# Real video


def test_real_clips(shared_data, tmp_path):
    clips = shared_data / "ucf101_clips"
    if not clips.is_dir():
        pytest.skip(f"real clips not found at {clips}")
    shortest = sorted(clips.glob("*/*.avi"), key=lambda p: p.stat().st_size)[:2]
    (tmp_path / "in" / "real").mkdir(parents=True)
    for path in shortest:
        shutil.copy(path, tmp_path / "in" / "real")
    data = shortest[0].read_bytes()
    (tmp_path / "in" / "real" / "cut.avi").write_bytes(data[: len(data) // 2])
    report = make(tmp_path / "in", tmp_path / "out", short_side=128, workers=2)
    ((name, reason),) = report.skipped
    assert name == "real/cut.avi" and "cut short" in reason
    store = FrameStore(tmp_path / "out")
    assert store.clips == sorted(p.stem for p in shortest)
    for clip in store.clips:
        flow = decode(store.read_flow(clip, range(1, store.n_flow(clip) + 1)))
        assert store.rgb(clip, 1).shape == (128, 171, 3)
        assert flow.shape[1:] == (128, 171, 2)
        assert 0.05 < np.abs(flow).mean() < 10
