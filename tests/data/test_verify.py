"""What is missing from a data set is found and named, and so is flow that cannot be right."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from unittest import mock

import cv2
import extract as extract_script
import numpy as np
import pytest
from conftest import REPO, moving_frames
from test_extract import ENV
from test_store import cut, members, shards, write_archives, write_tree, write_zip  # noqa: F401

from twostream_utils.data.flow_check import class_stats, table, warnings
from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.data.ucf101_clips import ucf101_clips
from twostream_utils.data.verify import SHOWN, Verification, verify
from twostream_utils.splits import UCF101_CLASSES, official_split, parse_name
from twostream_utils.store import FrameStore

CLIP = "v_YoYo_g01_c01"


def test_ucf101_has_the_published_numbers_of_clips():
    clips = ucf101_clips()
    assert len(clips) == 13_320
    sizes = [tuple(map(len, official_split(clips, split))) for split in (1, 2, 3)]
    assert sizes == [(9537, 3783), (9586, 3734), (9624, 3696)]
    assert {parse_name(clip).label for clip in clips} == set(UCF101_CLASSES)
    assert len(ucf101_clips(["YoYo"])) == 128 and ucf101_clips(["YoYo"])[CLIP] == "g01"
    with pytest.raises(ValueError, match="no class 'Yoyo'"):
        ucf101_clips(["Yoyo"])


def test_ucf101_clips_are_those_of_the_official_lists(shared_data):
    if not (shared_data / "ucf101_splits").is_dir():
        pytest.skip(f"official lists not found at {shared_data / 'ucf101_splits'}")
    listed = set()
    for path in (shared_data / "ucf101_splits").glob("t*list01.txt"):
        for line in path.read_text().split("\n"):
            if line.strip():
                stem = line.split()[0].rsplit("/", 1)[1].removesuffix(".avi")
                listed.add(stem.replace("HandStandPushups", "HandstandPushups"))
    assert listed == set(ucf101_clips())


@pytest.fixture
def copy(shards, tmp_path):  # noqa: F811
    return shutil.copytree(shards, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))


def check(root, **options):
    return verify(FrameStore(root), workers=1, progress=False, **options)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("form", ["shards", "parts", "tree"])
def test_whole_data_has_no_problems(shards, tmp_path, form, full):  # noqa: F811
    root = shards
    if form != "shards":
        write = write_archives if form == "parts" else write_tree
        root = write(tmp_path / form, members(shards))
    found = check(root, full=full)
    assert (found.problems, found.commands, found.broken) == ([], [], {})
    assert found.lines() == [f"{root}: 4 clips, 30 frames, 26 flow fields", "Nothing is missing."]


def test_clips_of_the_split(copy):
    found = check(copy, split=1)
    due = ucf101_clips(["PullUps", "YoYo"])
    here = set(FrameStore(copy).clips)
    lost = {label: sorted(set(ucf101_clips([label])) - here) for label in ("PullUps", "YoYo")}
    assert sum(map(len, lost.values())) == len(due) - 4
    assert found.problems == [
        f"{label}: {len(clips)} clips missing: {', '.join(clips[:3])} and {len(clips) - 3} more"
        for label, clips in lost.items()
    ]
    sides = official_split(due, 1)
    assert f"split 1, train: 0 of {len(sides.train)} clips of 2 classes" in found.facts
    assert f"split 1, test: 4 of {len(sides.test)} clips of 2 classes" in found.facts
    assert found.commands == [
        "python data_scripts/fetch_ucf101.py --classes PullUps YoYo",
        f"python data_scripts/extract.py data/ucf101_videos {copy}",
    ]
    assert "2 problems:" in found.lines()
    found = check(copy, split=2, classes=["Biking", "HandstandPushups"])
    assert found.problems == ["no clip at all of 2 classes: Biking, HandstandPushups"]
    found = check(copy, split=1, classes=UCF101_CLASSES)
    assert found.commands[0] == "python data_scripts/fetch_ucf101.py --profile ucf101"


def test_many_problems_are_counted_and_the_first_are_shown():
    found = Verification(problems=[f"problem {k}" for k in range(SHOWN + 5)])
    lines = found.lines()
    assert lines[0] == f"{SHOWN + 5} problems:" and "  … and 5 more" in lines
    assert f"  problem {SHOWN - 1}" in lines and f"  problem {SHOWN}" not in lines


def test_what_is_missing_is_extracted_with_the_settings_of_what_is_there(tmp_path):
    settings = {"short_side": 80, "flow_method": "tvl1", "flow_every": 2, "group_pattern": "^(a)_"}
    with ShardWriter(tmp_path / "YoYo.zip", {"settings": settings}) as shard:
        shard.add(encode_clip(CLIP, moving_frames(4, 16, 16), every=2), {CLIP: {"flow_every": 2}})
    found = check(tmp_path, split=1)
    command = f"python data_scripts/extract.py data/ucf101_videos {tmp_path} --short-side 80 "
    assert found.commands[-1] == command + "--flow tvl1 --every 2 --group-pattern '^(a)_'"
    assert extract_options(found.commands[-1]) == settings
    assert any("one flow field in 2 was extracted" in fact for fact in found.facts)


def extract_options(command):
    """The settings of the shards that a command of `extract.py` makes."""
    with mock.patch.object(extract_script, "extract", side_effect=ValueError) as called:
        extract_script.main(shlex.split(command)[2:])
    names = {"short_side": "short_side", "method": "flow_method", "every": "flow_every"}
    names["group_pattern"] = "group_pattern"
    return {ours: called.call_args.kwargs[theirs] for theirs, ours in names.items()}


def test_both_spellings_count_as_there(copy):
    names = [
        name.replace("Handstand", "HandStand", k % 2)
        for k, name in enumerate(ucf101_clips(["HandstandPushups"]))
    ]
    with ShardWriter(copy / "HandstandPushups.zip") as shard:
        for name in names:
            shard.add(encode_clip(name, moving_frames(2, 16, 16)), {name: {}})
    found = check(copy, split=3, classes=["HandstandPushups"])
    sizes = map(len, official_split(ucf101_clips(["HandstandPushups"]), 3))
    assert found.problems == [] and found.facts[1:] == [
        f"split 3, {side}: {size} of {size} clips of 1 class"
        for side, size in zip(("train", "test"), sizes)
    ]


@pytest.mark.parametrize("how", ["gap", "field too few", "no flow", "corrupt"])
@pytest.mark.parametrize("form", ["shard", "archive", "parts", "tree"])
def test_damage_is_found_and_a_way_out_named(shards, tmp_path, how, form):  # noqa: F811
    files = members(shards)
    message = {
        "gap": "frame 3: it is missing",
        "field too few": "6 frames, 4 u and 4 v",
        "no flow": "no flow",
        "corrupt": "v field 2: corrupt JPEG",
    }[how]
    if how == "gap":
        del files[f"jpegs_256/{CLIP}/frame000003.jpg"]
    elif how == "field too few":
        for axis in "uv":
            del files[f"tvl1_flow/{axis}/{CLIP}/frame000005.jpg"]
    elif how == "no flow":
        files = {n: d for n, d in files.items() if not (CLIP in n and n.startswith("tvl1"))}
    else:
        files[f"tvl1_flow/v/{CLIP}/frame000002.jpg"] = b"no picture"
    root = tmp_path / "data"
    root.mkdir()
    if form == "shard":
        write_zip(root / "YoYo.zip", {**files, "dataset.json": b'{"settings": {}}'})
    elif form == "archive":  # as published: not ours, tens of gigabytes, hard to get
        for name, start in (("ucf101_jpegs_256.zip", "jpegs"), ("ucf101_tvl1_flow.zip", "tvl1")):
            write_zip(root / name, {n: d for n, d in files.items() if n.startswith(start)})
    else:
        (write_archives if form == "parts" else write_tree)(root, files)
    quick, full = check(root), check(root, full=True)
    assert len(full.problems) == 1 and CLIP in full.problems[0] and message in full.problems[0]
    assert quick.problems == ([] if how == "corrupt" else full.problems)
    own = "make shards from videos in another folder: python data_scripts/extract.py VIDEOS FOLDER"
    archives = ("ucf101_jpegs_256.zip", "ucf101_tvl1_flow.zip")
    expected = {
        "shard": [
            f"rm {root}/YoYo.zip",
            f"python data_scripts/extract.py VIDEOS {root}  # VIDEOS: their folder of videos",
        ],
        "tree": ["# unpack or extract the clips named above again"],
        "archive": [f"# fetch {name} again; or {own}" for name in archives],
        "parts": [
            f"# fetch {name} again, or only the part that a message above names; or {own}"
            for name in archives
        ],
    }[form]
    if how == "no flow" and form != "shard":
        expected = [f"# put the archive beside it that has the other half; or {own}"]
    assert full.commands == expected


def run_script(*args):
    command = [sys.executable, str(REPO / "data_scripts" / "verify.py"), *map(str, args)]
    return subprocess.run(command, env=ENV, capture_output=True, text=True)


def test_script_and_its_exit_status(copy):
    done = run_script(copy, "--full", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "Nothing is missing." in done.stdout and "decoding" in done.stderr
    assert "mean u" in done.stdout and "PullUps" in done.stdout
    (copy / "skipped.txt").write_text("YoYo/x.avi\tthe file is empty\n")
    done = run_script(copy, "--split", 1, "--profile", "ucf20")
    assert done.returncode == 1
    assert "no clip at all of 20 classes: ApplyEyeMakeup," in done.stdout
    assert "1 video could not be extracted" in done.stdout
    path = copy / "YoYo.zip"
    data = bytearray(path.read_bytes())
    data[2000:2100] = bytes(100)  # in the first frame: seen only when that is decoded
    path.write_bytes(data)
    done = run_script(copy)
    assert done.returncode == 1 and "--full finds all such" in done.stdout, done.stderr
    os.truncate(copy / "YoYo.zip", 100)
    done = run_script(copy)
    assert done.returncode == 2 and "YoYo.zip cannot be read" in done.stderr
    assert run_script(copy, "--profile", "ucf20").returncode == 2


# What the flow looks like


def field_clip(name, u, v=None, frames=None, n=5):
    """Members of a clip of `n` frames whose flow in stored values is `u`, `v` throughout."""
    members = encode_clip(name, moving_frames(n, 32, 32) if frames is None else frames)
    flows = {"u": u, "v": u if v is None else v}
    out = []
    for path, data in members:
        if path.startswith("tvl1"):
            data = cv2.imencode(".jpg", flows[path.split("/")[1]])[1].tobytes()
        out.append((path, data))
    return out


def stats_of(tmp_path, clips):
    with ShardWriter(tmp_path / "a.zip") as shard:
        for k, clip in enumerate(clips):
            name = f"v_a_g{k:02d}_c01"
            files = [(path.replace("NAME", name), data) for path, data in clip]
            shard.add(files, {name: {"label": "a", "group": str(k), "frames": 5}})
    return class_stats(FrameStore(tmp_path), progress=False)


def grey(value):
    return np.full((32, 32), value, np.uint8)


def test_numbers_by_hand(tmp_path):
    half = grey(128)
    half[:, 16:] = 255  # half at rest, half clipped, in blocks of 8: JPEG keeps them
    (row,) = stats_of(tmp_path, [field_clip("NAME", half, grey(100))] * 2)
    assert (row.label, row.clips, row.fields) == ("a", 2, 8)
    assert row.mean == pytest.approx((191.5, 100), abs=0.5)
    values = np.concatenate([half.ravel(), grey(100).ravel()])
    assert row.spread == pytest.approx(values.std(), abs=0.5)
    assert (row.clipped, row.zero, row.constant) == pytest.approx((0.25, 0.25, 0), abs=0.01)
    assert "191.5   100.0" in table([row])[1] and "25.0%" in table([row])[1]


def noise(seed, low, high):
    return np.random.default_rng(seed).integers(low, high, (32, 32)).astype(np.uint8)


@pytest.mark.parametrize("clips, expected", [
    ([field_clip("NAME", grey(128))] * 5, "nothing moves"),
    ([field_clip("NAME", grey(150), grey(128))] * 5, "mean of u is 150, far from rest"),
    ([field_clip("NAME", noise(0, 0, 256))] * 5, "stretched by its own minimum"),
    ([field_clip("NAME", np.repeat(grey(128)[:, :8], 4, 1) // 128 * 255)] * 2, "faster than"),
    ([field_clip("NAME", noise(0, 120, 136), frames=np.full((5, 32, 32, 3), 9, np.uint8))],
     "100% of the frames have one colour"),
])  # fmt: skip
def test_what_cannot_be_right_is_warned_of(tmp_path, clips, expected):
    lines = warnings(stats_of(tmp_path, clips))
    assert any(line.startswith("warning: a: ") and expected in line for line in lines), lines


def test_real_motion_gives_no_warning(shards, tmp_path):  # noqa: F811
    stats = class_stats(FrameStore(shards), progress=False)
    assert [row.label for row in stats] == ["PullUps", "YoYo"] and warnings(stats) == []
    # Two clips whose cameras pan are no fault of the quantisation.
    pans = [field_clip("NAME", noise(1, 140, 160), noise(2, 120, 136))] * 2
    assert warnings(stats_of(tmp_path, pans)) == []


def test_class_without_flow(shards, tmp_path):  # noqa: F811
    files = {n: d for n, d in members(shards).items() if n.startswith("jpegs")}
    store = FrameStore(write_zip(tmp_path / "all.zip", files))
    stats = class_stats(store, progress=False)
    assert [row.fields for row in stats] == [0, 0] and warnings(stats) == []
    assert all(line.endswith("no flow") for line in table(stats)[1:-1])
