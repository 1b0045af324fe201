"""What is missing from a data set is found and named, and so is flow that cannot be right."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
import zipfile

import cv2
import numpy as np
import pytest
import verify as script
from conftest import REPO, moving_frames
from test_extract import make, members, run_script

from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.data.ucf101_clips import ucf101_clips
from twostream_utils.data.verify import MEND, SHOWN, Verification, flow_warnings, verify
from twostream_utils.splits import UCF101_CLASSES, official_split, parse_name
from twostream_utils.store import FrameStore

CLIP = "v_YoYo_g01_c01"  # 8 frames


def test_ucf101_has_the_published_numbers_of_clips():
    clips = ucf101_clips()
    assert len(clips) == 13_320
    sizes = [tuple(map(len, official_split(clips, split))) for split in (1, 2, 3)]
    assert sizes == [(9537, 3783), (9586, 3734), (9624, 3696)]
    assert {parse_name(clip).label for clip in clips} == set(UCF101_CLASSES)
    assert len(ucf101_clips(["YoYo"])) == 128 and ucf101_clips(["YoYo"])[CLIP] == "g01"
    with pytest.raises(ValueError, match="no class 'Yoyo'"):
        ucf101_clips(["Yoyo"])


@pytest.fixture(scope="module")
def shards(video_folder, tmp_path_factory):
    """Three clips each of JumpRope, PullUps and YoYo."""
    root = tmp_path_factory.mktemp("shards")
    make(video_folder, root)
    return root


@pytest.fixture
def copy(shards, tmp_path):
    return shutil.copytree(shards, tmp_path / "copy")


def check(root, **options):
    return verify(FrameStore(root), workers=1, progress=False, **options)


def test_clips_of_the_split(shards, tmp_path):
    found = check(shards, split=1)
    due = ucf101_clips(["JumpRope", "PullUps", "YoYo"])
    first = ", ".join(f"v_YoYo_g01_c0{k}" for k in (2, 3, 4))
    assert found.problems[2] == f"YoYo: 125 clips missing: {first} and 122 more"
    sides = official_split(due, 1)
    assert f"split 1, train: 0 of {len(sides.train)} clips of 3 classes" in found.facts
    assert f"split 1, test: 9 of {len(sides.test)} clips of 3 classes" in found.facts
    assert "3 problems:" in found.lines() and found.lines()[-1] == MEND
    many = Verification(problems=["a problem"] * (SHOWN + 5)).lines()
    assert "  ... and 5 more" in many and many.count("  a problem") == SHOWN
    found = check(shards, split=2, classes=["Biking", "HandstandPushups"])
    assert found.problems == ["no clip at all of 2 classes: Biking, HandstandPushups"]
    with ShardWriter(tmp_path / "wave.zip") as shard:
        shard.add(encode_clip("v_wave_g01_c01", moving_frames(3)), {"v_wave_g01_c01": {}})
    assert check(tmp_path, split=3).problems == ["no class of UCF101: these clips have no split 3"]


def test_both_spellings_count_as_there(tmp_path):
    names = [
        name.replace("Handstand", "HandStand", k % 2)
        for k, name in enumerate(ucf101_clips(["HandstandPushups"]))
    ]
    with ShardWriter(tmp_path / "HandstandPushups.zip") as shard:
        for name in names:
            encoded = encode_clip(name, moving_frames(4, 16, 16), every=2)
            shard.add(encoded, {name: {"flow_every": 2}})
    found = check(tmp_path, split=3)
    assert found.problems == []
    assert "one flow field in 2 was extracted" in found.facts[1]
    train, test = map(len, official_split(ucf101_clips(["HandstandPushups"]), 3))
    assert found.facts[2] == f"split 3, train: {train} of {train} clips of 1 class"
    assert found.facts[3] == f"split 3, test: {test} of {test} clips of 1 class"


DAMAGE = {
    "gap": ("frame000003.jpg", None),
    "field too few": ("tvl1.*frame000007.jpg", None),
    "no flow": ("tvl1_flow", None),
    "corrupt": ("v/.*frame000002.jpg", b"no picture"),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("form", ["shard", "tree"])
def test_damage_is_found_and_named(shards, tmp_path, how, form):
    pattern, data = DAMAGE[how]
    with zipfile.ZipFile(tmp_path / "YoYo.zip", "w") as file:
        for name, old in members(shards / "YoYo.zip").items():
            hit = CLIP in name and re.search(pattern, name)
            if not hit or data is not None:
                file.writestr(name, data if hit else old)
    if form == "tree":
        with zipfile.ZipFile(tmp_path / "YoYo.zip") as file:
            file.extractall(tmp_path)
        (tmp_path / "YoYo.zip").unlink()
    quick, full = check(tmp_path), check(tmp_path, full=True)
    assert list(full.broken) == [CLIP] and full.problems == [full.broken[CLIP]]
    assert CLIP in full.problems[0]
    assert quick.problems == ([] if how == "corrupt" else full.problems)


def test_script_and_its_exit_status(copy, capsys):
    done = run_script(copy, "--full", "--workers", 2, name="verify.py")
    assert done.returncode == 0, done.stderr
    facts = f"{copy}: 9 clips, 81 frames, 72 flow fields"
    assert done.stdout == f"{facts}\nNothing is missing.\n\n" and "decoding" in done.stderr
    root = str(copy)
    (copy / "skipped.txt").write_text("YoYo/x.avi\tthe file is empty\n")
    assert script.main([root, "--split", "1", "--profile", "ucf20"]) == 1
    said = capsys.readouterr().out
    assert "no clip at all of 20 classes: ApplyEyeMakeup," in said
    assert "1 video could not be extracted" in said and MEND in said
    data = bytearray((copy / "YoYo.zip").read_bytes())
    data[2000:2100] = bytes(100)  # in the first frame: seen only when that is decoded
    (copy / "YoYo.zip").write_bytes(data)
    assert script.main([root, "--full", "--workers", "1"]) == 1
    assert "1 problem:" in capsys.readouterr().out
    os.truncate(copy / "YoYo.zip", 100)
    assert script.main([root]) == 2 and "YoYo.zip" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script.main([root, "--profile", "ucf20"])
    assert "--profile says whose clips must be there" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((REPO / "data_scripts").glob("*.py")), ids=lambda p: p.stem)
def test_help_can_be_printed_on_any_console(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert end.value.code == 0 and said.isascii() and "--" in said


# Can the flow be right?


def noise(low, high):
    return np.random.default_rng(0).integers(low, high, (32, 32)).astype(np.uint8)


@pytest.mark.parametrize("u, v, clips, expected", [
    (np.full((32, 32), 128, np.uint8), None, 5, "nothing moves"),
    (noise(140, 160), noise(120, 136), 5, "the means of u and v are +2"),
    (noise(140, 160), noise(120, 136), 2, None),  # two cameras may pan alike
    (noise(0, 256), None, 5, "stretched by its own minimum"),
    (np.repeat(np.repeat([[0, 255]], 16, 1), 32, 0).astype(np.uint8), None, 5, "faster than 20 px"),
    (noise(120, 136), None, 5, None),
])  # fmt: skip
def test_flow_that_cannot_be_right_is_warned_of(tmp_path, u, v, clips, expected):
    fields = {"u": u, "v": u if v is None else v}
    jpegs = {axis: cv2.imencode(".jpg", field)[1].tobytes() for axis, field in fields.items()}
    with ShardWriter(tmp_path / "a.zip") as shard:
        for k in range(clips):
            name = f"v_a_g{k:02d}_c01"
            encoded = encode_clip(name, moving_frames(5, 32, 32))
            encoded = [(p, jpegs[p.split("/")[1]] if "flow" in p else d) for p, d in encoded]
            shard.add(encoded, {name: {"label": "a", "group": str(k), "frames": 5}})
    lines = flow_warnings(FrameStore(tmp_path))
    assert all(line.startswith("warning: the flow of a: ") for line in lines)
    assert any(expected in line for line in lines) if expected else lines == []


def test_real_motion_gives_no_warning_and_no_flow_neither(shards, tmp_path):
    assert flow_warnings(FrameStore(shards)) == []
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        for name, data in members(shards / "YoYo.zip").items():
            if name.startswith("jpegs"):
                file.writestr(name, data)
    assert flow_warnings(FrameStore(tmp_path)) == []
