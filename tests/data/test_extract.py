from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO, moving_frames, read_video, texture, write_video

from twostream_utils.data.extract import VideoError, encode_clip, extract
from twostream_utils.data.shards import ShardWriter
from twostream_utils.flow import decode
from twostream_utils.store import FrameStore

SCRIPT = REPO / "data_scripts" / "extract.py"
ENV = {**os.environ, "PYTHONPATH": str(REPO)}


def command(*args):
    return [sys.executable, str(SCRIPT), *map(str, args)]


def run_script(*args):
    return subprocess.run(command(*args), env=ENV, capture_output=True, text=True)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".frame_index"}


@pytest.fixture(scope="session")
def whole(video_folder, tmp_path_factory):
    """`video_folder` extracted in one unbroken run, in this process."""
    out = tmp_path_factory.mktemp("whole")
    extract(video_folder, out, workers=1, progress=False)
    return out


# Encoding and writing


def test_encode_clip_names_and_counts():
    frames = moving_frames(5)
    members = encode_clip("v_YoYo_g01_c01", frames)
    assert [name for name, _ in members] == (
        [f"jpegs_256/v_YoYo_g01_c01/frame{i:06d}.jpg" for i in range(1, 6)]
        + [f"tvl1_flow/u/v_YoYo_g01_c01/frame{i:06d}.jpg" for i in range(1, 5)]
        + [f"tvl1_flow/v/v_YoYo_g01_c01/frame{i:06d}.jpg" for i in range(1, 5)]
    )
    assert encode_clip("v_YoYo_g01_c01", iter(frames)) == members


def test_shard_has_its_name_only_when_whole(tmp_path):
    path = tmp_path / "new" / "YoYo.zip"
    members = encode_clip("a", moving_frames(3))
    with pytest.raises(RuntimeError), ShardWriter(path) as shard:
        shard.add(members, {"a": {"label": "YoYo"}})
        assert shard.partial.exists() and not path.exists()
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with ShardWriter(path) as shard:
        shard.add(members, {"a": {"label": "YoYo"}})
        with pytest.raises(ValueError, match="a is already in"):
            shard.add(members, {"a": {"label": "YoYo"}})
    assert list(path.parent.iterdir()) == [path]
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert {i.compress_type for i in file.infolist()} == {zipfile.ZIP_STORED}
        assert {i.date_time for i in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(file.read("clips.json")) == {"a": {"label": "YoYo"}}


# Reading videos


def test_read_video(tmp_path):
    frames = np.stack([np.roll(texture(90, 160), 3 * k, axis=1) for k in range(5)])
    path = write_video(tmp_path / "a.avi", frames, fps=12.5)
    read, rate = read_video(path)
    assert read.shape == (5, 90, 160, 3) and read.dtype == np.uint8 and rate == 12.5
    assert np.abs(read.astype(int) - frames).mean() < 8
    assert read_video(path, short_side=45)[0].shape == (5, 45, 80, 3)
    assert read_video(path, short_side=500)[0].shape == (5, 90, 160, 3)  # never enlarged
    tall = write_video(tmp_path / "b.avi", frames.transpose(0, 2, 1, 3))
    assert read_video(tall, short_side=45)[0].shape == (5, 80, 45, 3)


def bad_video(path, kind):
    frames = moving_frames(30)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "one frame":
        write_video(path, frames[:1])
    elif kind == "no frames":
        write_video(path, frames[:0].reshape(0, 48, 64, 3))
    elif kind == "tiny":
        write_video(path, frames[:4, :12, :12])
    elif kind == "cut":
        write_video(path, frames)
        os.truncate(path, path.stat().st_size // 2)
    elif kind == "cut in the header":
        write_video(path, frames)
        os.truncate(path, 100)
    return path


BAD = {
    "empty": "the file is empty",
    "text": "not a video",
    "one frame": "only one frame",
    "no frames": "not a video|no frame",
    "cut": r"cut short: \d+ of 30",
    "cut in the header": "not a video|no frame",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_video_is_named(tmp_path, kind):
    path = bad_video(tmp_path / "bad.avi", kind)
    with pytest.raises(VideoError, match=rf"{path}: .*({BAD[kind]})"):
        read_video(path)


def test_cut_mp4(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving_frames(30), codec="mp4v")
    assert read_video(path)[0].shape == (30, 48, 64, 3)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(VideoError, match=rf"{path}: .*(not a video|cut short|no frame)"):
        read_video(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_video(tmp_path / "nowhere.avi")


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
    with zipfile.ZipFile(whole / "PullUps.zip") as file:
        meta = json.loads(file.read("clips.json"))[clip]
    assert meta == {
        "label": "PullUps",
        "group": "g03",
        "source": "PullUps/v_PullUps_g03_c01.avi",
        "fps": 25.0,
        "frames": 10,
        "flow_method": "dis",
    }


def test_workers_give_the_same_bytes_and_a_second_run_keeps_them(video_folder, whole, tmp_path):
    report = extract(video_folder, tmp_path, workers=2, progress=False)
    assert (len(report.written), report.reused, report.skipped) == (9, [], [])
    assert (report.clips, report.frames, report.ungrouped) == (9, 3 * (8 + 9 + 10), 0)
    assert contents(tmp_path) == contents(whole)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    report = extract(video_folder, tmp_path, workers=2, progress=False)
    assert (report.written, len(report.reused), report.clips) == ([], 3, 9)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == times


def test_changed_videos_or_settings_remake_their_shard(video_folder, tmp_path):
    source = shutil.copytree(video_folder, tmp_path / "videos")
    out = tmp_path / "out"

    def again(**settings):
        return extract(source, out, workers=1, progress=False, **settings)

    again()
    (source / "YoYo" / "v_YoYo_g03_c01.avi").unlink()
    report = again()
    assert report.written == ["v_YoYo_g01_c01", "v_YoYo_g02_c01"] and len(report.reused) == 2
    assert len(again(method="farneback").written) == 8
    assert len(again(method="farneback", short_side=32).written) == 8
    assert len(again(method="farneback", short_side=32).written) == 0
    os.truncate(out / "PullUps.zip", 1000)
    assert len(again(method="farneback", short_side=32).written) == 3
    report = again(classes=["PullUps"])
    assert len(report.written) == report.clips == 3
    with pytest.raises(ValueError, match="no class Pullups .*JumpRope, PullUps, YoYo"):
        again(classes=["Pullups"])


def test_bad_videos_are_listed_and_the_rest_is_extracted(video_folder, tmp_path):
    source = tmp_path / "videos"
    good = video_folder / "YoYo" / "v_YoYo_g01_c01.avi"
    for label in ("bad", "mixed"):
        (source / label).mkdir(parents=True)
    (source / "none").mkdir()
    (source / ".hidden").mkdir()
    shutil.copy(good, source / ".hidden")
    for kind in (*BAD, "tiny"):
        bad_video(source / "bad" / f"{kind}.avi", kind)
    shutil.copy(source / "bad" / "text.avi", source / "mixed" / "b.avi")
    shutil.copy(good, source / "mixed" / "A.AVI")
    shutil.copy(good, source / "mixed" / "A.mkv")
    shutil.copy(good, source / "mixed" / "._A.avi")
    (source / "mixed" / "notes.txt").write_text("not of our kind, not looked at")
    out = tmp_path / "out"
    done = run_script(source, out, "--workers", 2, "--strict")
    assert done.returncode == 1, done.stderr
    lines = (out / "skipped.txt").read_text().splitlines()
    skipped = dict(line.split("\t") for line in lines)
    names = [f"bad/{kind}.avi" for kind in (*BAD, "tiny")] + ["mixed/b.avi", "mixed/A.mkv", "none/"]
    assert sorted(skipped) == sorted(names)
    for name, reason in skipped.items():
        assert reason and f"{name}: {reason}" in done.stdout
    assert "at least 16 px" in skipped["bad/tiny.avi"]
    assert "as mixed/A.AVI already is" in skipped["mixed/A.mkv"]
    assert [p.name for p in out.glob("*.zip*")] == ["mixed.zip"]
    assert FrameStore(out).clips == ["v_mixed_A"]
    assert "1 clips (1 new), 8 frames" in done.stdout
    # Without --strict the same is a success, and the hint on groups is there.
    done = run_script(source, out, "--workers", 1)
    assert done.returncode == 0 and "1 clips (0 new)" in done.stdout
    assert "No group could be read from 1 names" in done.stdout and "--group-pattern" in done.stdout
    assert (out / "skipped.txt").read_text().splitlines() == lines


def test_sources_that_are_no_folder_of_classes(video_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        extract(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty" / "class").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no videos in .*empty.*\.avi"):
        extract(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ValueError, match=f"itself a folder of videos.*above it: {video_folder}"):
        extract(video_folder / "YoYo", tmp_path / "out")
    done = run_script(video_folder / "YoYo", tmp_path / "out")
    assert done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "bad" / "class").mkdir(parents=True)
    bad_video(tmp_path / "bad" / "class" / "x.avi", "text")
    with pytest.raises(ValueError, match="none of the 1 videos .*class/x.avi: not a video"):
        extract(tmp_path / "bad", tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="'horn'.*dis, tvl1, farneback, raft"):
        extract(video_folder, tmp_path / "out", method="horn")
    assert not list((tmp_path / "out").glob("*.zip*"))


def test_group_pattern(tmp_path):
    frames = moving_frames(3)
    for person in ("daria", "eli"):
        for action in ("bend", "run"):
            write_video(tmp_path / "in" / action / f"{person}_{action}.avi", frames)
    write_video(tmp_path / "in" / "run" / "9.avi", frames)
    write_video(tmp_path / "in" / "run" / "other_g03_take2.avi", frames)

    def groups(**settings):
        report = extract(tmp_path / "in", tmp_path / "out", workers=1, progress=False, **settings)
        return report.ungrouped, FrameStore(tmp_path / "out").groups

    alone, found = groups(group_pattern="^([a-z]+)_")
    assert alone == 1 and found["v_run_9"] == "v_run_9"
    assert found["v_run_eli_run"] == found["v_bend_eli_bend"] == "eli"
    alone, found = groups()
    assert alone == 5 and found["v_run_other_g03_take2"] == "g03"
    assert found["v_run_eli_run"] == "v_run_eli_run"
    for pattern in ("^[a-z]+_", "("):
        with pytest.raises(ValueError, match="group pattern"):
            groups(group_pattern=pattern)


def test_both_spellings_of_handstand(tmp_path):
    path = tmp_path / "in" / "HandStandPushups" / "v_HandStandPushups_g01_c01.avi"
    write_video(path, moving_frames(3))
    extract(tmp_path / "in", tmp_path / "out", workers=1, progress=False)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["HandstandPushups.zip"]
    assert set(FrameStore(tmp_path / "out").labels.values()) == {"HandstandPushups"}


# Interruptions


def children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(p) for p in path.read_text().split()] if path.exists() else []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="session")
def longer(tmp_path_factory):
    """Five classes of three clips of 25 frames, and the bytes of an unbroken run."""
    root = tmp_path_factory.mktemp("longer")
    for c in range(5):
        for k in range(3):
            frames = moving_frames(25, 72, 96, seed=3 * c + k)
            write_video(root / "in" / f"class{c}" / f"clip{k}.avi", frames)
    extract(root / "in", root / "out", workers=1, progress=False)
    return root / "in", contents(root / "out")


def start(source, out):
    return subprocess.Popen(
        command(source, out, "--workers", 2),
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def run_and_kill(source, out):
    """From the first sign of a shard on, kill at a moment of chance; its workers must follow."""
    process = start(source, out)
    wait_for(lambda: any(out.glob("*.partial")) or process.poll() is not None)
    time.sleep(random.uniform(0, 0.6))
    workers = children(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(alive(pid) for pid in workers), 10)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(longer, tmp_path):
    source, unbroken = longer
    for _ in range(2):
        run_and_kill(source, tmp_path)
        for path in tmp_path.glob("*.zip"):
            assert path.read_bytes() == unbroken[path.name]
        assert len(list(tmp_path.glob("*.partial"))) <= 1
    kept = len(list(tmp_path.glob("*.zip")))
    report = extract(source, tmp_path, workers=1, progress=False)
    assert len(report.reused) == kept
    assert contents(tmp_path) == unbroken


@pytest.mark.skipif(os.name == "nt", reason="no process groups to interrupt")
def test_ctrl_c_keeps_whole_shards(longer, tmp_path):
    source, unbroken = longer
    process = start(source, tmp_path)
    wait_for(lambda: any(tmp_path.glob("*.zip")) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    if process.returncode != 0:  # it may have been done already
        assert process.returncode == 130
        assert "whole shards" in errors and "Traceback" not in errors
        assert not list(tmp_path.glob("*.partial"))
    for path in tmp_path.glob("*.zip"):
        assert path.read_bytes() == unbroken[path.name]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc to find workers in")
def test_killed_worker_is_reported(longer, tmp_path):
    source, unbroken = longer
    process = start(source, tmp_path)

    def workers():
        found = children(process.pid)
        return [p for p in found if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]

    wait_for(lambda: any(tmp_path.glob("*.partial")) and workers())
    os.kill(workers()[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    if process.returncode != 0:  # the worker may have had nothing more to do
        assert process.returncode == 2 and "fewer workers" in errors and "Traceback" not in errors
        assert not list(tmp_path.glob("*.partial"))


def test_no_room_on_the_disk(video_folder, tmp_path):
    """A limit on file size stops the write as a full disk does."""
    pytest.importorskip("resource")
    code = f"""
import resource
from twostream_utils.data.extract import extract
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
extract({str(video_folder)!r}, {str(tmp_path)!r}, workers=1, progress=False)
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no room left while writing" in done.stderr and "JumpRope.zip" in done.stderr
    assert "Exception ignored" not in done.stderr
    assert list(tmp_path.iterdir()) == []


# Real video


def test_real_clips(shared_data, tmp_path):
    clips = shared_data / "ucf101_clips"
    if not clips.is_dir():
        pytest.skip(f"real clips not found at {clips}")
    shortest = sorted(clips.glob("*/*.avi"), key=lambda p: p.stat().st_size)[:2]
    for path in shortest:
        target = tmp_path / "in" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    cut = tmp_path / "in" / shortest[0].parent.name / f"v_{shortest[0].parent.name}_g99_c01.avi"
    data = shortest[0].read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    report = extract(tmp_path / "in", tmp_path / "out", short_side=128, workers=2, progress=False)
    assert [name for name, _ in report.skipped] == [f"{cut.parent.name}/{cut.name}"]
    assert "cut short" in report.skipped[0][1]
    store = FrameStore(tmp_path / "out")
    assert store.clips == sorted(p.stem for p in shortest)
    for clip in store.clips:
        flow = decode(store.read_flow(clip, range(1, store.n_flow(clip) + 1)))
        assert store.rgb(clip, 1).shape == (128, 171, 3)
        assert flow.shape[1:] == (128, 171, 2)
        assert 0.05 < np.abs(flow).mean() < 10
