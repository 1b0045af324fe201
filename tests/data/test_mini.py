from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from test_extract import ENV

from twostream_utils.mini import generate, make_mini
from twostream_utils.mini.clip import CLASSES, RECIPES, render_clip
from twostream_utils.mini.figure import L_ANKLE, R_ANKLE, joints, make_person
from twostream_utils.mini.motion import MOTIONS, sample
from twostream_utils.mini.scene import SCENES
from twostream_utils.mini.still import STILL_CLASSES, STILL_SCENES, render_still
from twostream_utils.splits import parse_name
from twostream_utils.store import FrameStore


def checksums(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def make(root: Path, **options) -> list[Path]:
    options = {"workers": 1, "groups": 1} | options
    return make_mini(root, progress=False, classes=("GolfSwing", "Punch"), **options)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini")
    return root, make(root)


def test_every_scene_and_every_motion_is_shared_by_exactly_two_classes():
    assert len(CLASSES) == 10
    scenes = [scene for scene, _, _ in RECIPES.values()]
    motions = [motion for _, motion, _ in RECIPES.values()]
    assert sorted(scenes) == sorted([*SCENES] * 2)
    assert sorted(motions) == sorted([*MOTIONS] * 2)
    assert len(set(zip(scenes, motions))) == 10


@pytest.mark.parametrize("label", CLASSES)
def test_a_clip_is_uint8_of_52_to_70_frames_and_the_figure_moves(label):
    clip = render_clip(label, 25, 4)
    assert clip.dtype == np.uint8 and clip.shape[1:] == (72, 96, 3)
    assert 52 <= len(clip) <= 70
    change = np.abs(np.diff(clip[:, 10:66, 10:86].astype(np.int16), axis=0)).max(-1)
    assert np.percentile(change, 99.5) > 25


def test_rendering_is_deterministic_and_seed_and_number_matter():
    a = render_clip("JumpRope", 3, 2, seed=1)
    render_clip("Punch", 1, 1)
    assert np.array_equal(a, render_clip("JumpRope", 3, 2, seed=1))
    assert np.array_equal(a[:3], render_clip("JumpRope", 3, 2, seed=1, length=3))
    for number, seed in ((2, 2), (3, 1)):
        other = render_clip("JumpRope", 3, number, seed, length=3)
        assert not np.array_equal(a[:3], other)


@pytest.mark.parametrize("label", ["CricketShot", "HulaHoop", "Punch"])
def test_the_group_fixes_the_scene(label):
    one, two, other = (
        np.median(render_clip(label, group, number)[::4], axis=0)
        for group, number in ((4, 1), (4, 2), (5, 1))
    )
    alike, unlike = np.abs(one - two).mean(), [np.abs(k - other).mean() for k in (one, two)]
    assert alike < 0.6 * min(unlike)


def test_planted_feet_stay_on_the_ground_and_hops_leave_it():
    person = make_person(np.random.default_rng(0))
    phase = np.linspace(0, 1, 60)
    swing = joints(sample(MOTIONS["swing"], phase), person, 0.0)
    hop = joints(sample(MOTIONS["hop"], phase), person, 0.0)
    for foot in (L_ANKLE, R_ANKLE):
        assert np.ptp(swing[:, foot, 1]) < 0.02
        assert np.ptp(hop[:, foot, 1]) > 0.1


def test_key_poses_are_met_and_periodic():
    for keys in MOTIONS.values():
        times = np.array([t for t, _ in keys])
        assert np.allclose(sample(keys, times), sample(keys, times + 3))
        end, start = sample(keys, np.array([0.999999, 0.0]))
        assert np.allclose(end, start, atol=1e-3)


def test_shards_hold_named_clips_with_frames_and_flow(small):
    store = FrameStore(small[0])
    assert len(store.clips) == 8
    for clip in store.clips:
        name = parse_name(clip)
        assert (store.label(clip), store.group(clip)) == (name.label, "g01")
        assert 52 <= store.n_frames(clip) == store.n_flow(clip) + 1 <= 70
    frame = store.rgb("v_Punch_g01_c02", 5).astype(int)
    assert np.abs(frame - render_clip("Punch", 1, 2)[4]).mean() < 6
    with zipfile.ZipFile(small[0] / "Punch.zip") as file:
        assert json.loads(file.read("clips.json"))["v_Punch_g01_c02"]["flow"] == "dis_fine"


def test_two_runs_write_the_same_bytes_in_one_process_and_in_two(small, tmp_path):
    assert checksums(make(tmp_path, workers=2)) == checksums(small[1])


def test_whole_shards_are_kept_and_stale_or_broken_ones_are_remade(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "CLIPS_PER_GROUP", 1)
    golf, punch = make(tmp_path)
    before, stamp = checksums([punch]), golf.stat().st_mtime_ns
    for broken in (b"", punch.read_bytes()[:1000]):
        punch.write_bytes(broken)
        (tmp_path / "Punch.zip.123.partial").write_bytes(b"killed")
        make(tmp_path)
        assert checksums([punch]) == before and golf.stat().st_mtime_ns == stamp
        assert not list(tmp_path.glob("*.partial"))
    make(tmp_path, seed=5)
    assert checksums([punch]) != before


def test_of_two_calls_at_once_one_makes_the_shards_and_the_other_waits(small, tmp_path):
    code = (
        "import sys\nfrom twostream_utils.mini import make_mini\n"
        "make_mini(sys.argv[1], classes=('GolfSwing', 'Punch'), groups=1, workers=1)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=ENV, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    printed = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert sum("another command is writing to" in out for out, _ in printed) == 1
    assert sum("mini set" in bars for _, bars in printed) == 1, "both rendered"
    assert checksums([tmp_path / path.name for path in small[1]]) == checksums(small[1])
    assert not list(tmp_path.glob("*.partial"))


def test_bad_arguments_are_refused_by_name(tmp_path):
    for words, call, *given in (
        ("Juggling", render_clip, "Juggling", 1, 1),
        ("groups", partial(make, groups=0), tmp_path),
        ("-1", render_still, -1),
    ):
        with pytest.raises(ValueError, match=words):
            call(*given)


def test_stills_are_labelled_deterministic_and_share_no_scene_with_the_clips():
    assert not set(SCENES) & set(STILL_SCENES)
    n = len(STILL_CLASSES)
    assert n == len(set(STILL_CLASSES)) >= 48
    image, label = render_still(n + 7)
    assert image.shape == (72, 96, 3) and image.dtype == np.uint8 and label == 7
    assert not np.array_equal(image, render_still(7)[0])
    render_still(11)
    assert np.array_equal(image, render_still(n + 7)[0])
