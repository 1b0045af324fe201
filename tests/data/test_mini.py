from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from twostream_utils.mini import generate as mini
from twostream_utils.mini.figure import L_ANKLE, R_ANKLE, joints, make_person
from twostream_utils.mini.motion import MOTIONS, sample
from twostream_utils.mini.scene import SCENES
from twostream_utils.mini.still import STILL_SCENES
from twostream_utils.splits import parse_name
from twostream_utils.store import FrameStore


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini")
    paths = mini.make_mini(root, classes=("GolfSwing", "Punch"), groups=1, workers=1,
                           progress=False)
    return root, paths


def test_every_scene_and_every_motion_is_shared_by_exactly_two_classes():
    assert len(mini.CLASSES) == 10
    scenes = [scene for scene, _, _ in mini.RECIPES.values()]
    motions = [motion for _, motion, _ in mini.RECIPES.values()]
    assert sorted(scenes) == sorted([*SCENES] * 2)
    assert sorted(motions) == sorted([*MOTIONS] * 2)
    assert len(set(zip(scenes, motions, strict=True))) == 10


@pytest.mark.parametrize("label", mini.CLASSES)
def test_a_clip_is_uint8_of_52_to_70_frames_and_the_figure_moves(label):
    clip = mini.render_clip(label, 25, 4)
    assert clip.dtype == np.uint8 and clip.shape[1:] == (72, 96, 3)
    assert 52 <= len(clip) <= 70
    change = np.abs(np.diff(clip[:, 10:66, 10:86].astype(np.int16), axis=0)).max(-1)
    assert np.percentile(change, 99.5) > 25


def test_rendering_is_deterministic_and_seed_and_number_matter():
    a = mini.render_clip("JumpRope", 3, 2, seed=1)
    mini.render_clip("Punch", 1, 1)
    assert np.array_equal(a, mini.render_clip("JumpRope", 3, 2, seed=1))
    assert np.array_equal(a[:3], mini.render_clip("JumpRope", 3, 2, seed=1, length=3))
    for number, seed in ((2, 2), (3, 1)):
        other = mini.render_clip("JumpRope", 3, number, seed)
        n = min(len(a), len(other))
        assert not np.array_equal(a[:n], other[:n])


@pytest.mark.parametrize("label", ["CricketShot", "HulaHoop", "Punch"])
def test_the_group_fixes_the_scene(label):
    def background(group, number):
        return np.median(mini.render_clip(label, group, number)[::4], axis=0)

    def distance(a, b):
        return np.abs(a - b).mean()

    one, two, other = background(4, 1), background(4, 2), background(5, 1)
    assert distance(one, two) < 0.6 * min(distance(one, other), distance(two, other))


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
        assert np.allclose(sample(keys, np.array([0.999999])), sample(keys, np.array([0.0])),
                           atol=1e-3)


def test_shards_hold_named_clips_with_frames_and_flow(small):
    root, _ = small
    store = FrameStore(root)
    assert len(store.clips) == 8
    for clip in store.clips:
        name = parse_name(clip)
        assert (store.label(clip), store.group(clip)) == (name.label, "g01")
        assert 52 <= store.n_frames(clip) == store.n_flow(clip) + 1 <= 70
    frame = store.rgb("v_Punch_g01_c02", 5).astype(int)
    assert np.abs(frame - mini.render_clip("Punch", 1, 2)[4]).mean() < 6


def test_two_runs_write_the_same_bytes_in_one_process_and_in_two(small, tmp_path):
    _, paths = small
    again = mini.make_mini(tmp_path, classes=("GolfSwing", "Punch"), groups=1, workers=2,
                           progress=False)
    assert [_sha(p) for p in again] == [_sha(p) for p in paths]


def test_whole_shards_are_kept_and_stale_or_broken_ones_are_remade(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "CLIPS_PER_GROUP", 1)
    root = tmp_path

    def make(**options):
        return mini.make_mini(root, classes=("GolfSwing", "Punch"), groups=1, workers=1,
                              progress=False, **options)

    golf, punch = make()
    before, stamp = _sha(punch), golf.stat().st_mtime_ns
    punch.write_bytes(punch.read_bytes()[:1000])
    (root / "Punch.zip.partial").write_bytes(b"killed")
    make()
    assert _sha(punch) == before and golf.stat().st_mtime_ns == stamp
    assert not list(root.glob("*.partial"))
    make(seed=5)
    assert _sha(punch) != before


def test_of_two_calls_at_once_one_makes_the_shards_and_the_other_waits(small, tmp_path):
    code = (
        "import sys\nfrom twostream_utils.mini.generate import make_mini\n"
        "make_mini(sys.argv[1], classes=('GolfSwing', 'Punch'), groups=1, workers=1)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("another command is writing to" in out for out, _ in said) == 1
    assert sum("mini set" in bars for _, bars in said) == 1, "both rendered"
    assert [_sha(tmp_path / path.name) for path in small[1]] == [_sha(path) for path in small[1]]
    assert not list(tmp_path.glob("*.partial"))


def test_bad_arguments_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="Juggling.*"):
        mini.render_clip("Juggling", 1, 1)
    with pytest.raises(ValueError, match="Juggling"):
        mini.make_mini(tmp_path, classes=("Juggling",))
    with pytest.raises(ValueError, match="groups"):
        mini.make_mini(tmp_path, groups=0)
    with pytest.raises(ValueError, match="-1"):
        mini.render_still(-1)


def test_stills_are_labelled_deterministic_and_share_no_scene_with_the_clips():
    assert not set(SCENES) & set(STILL_SCENES)
    assert len(mini.STILL_CLASSES) == len(set(mini.STILL_CLASSES)) >= 48
    n = len(mini.STILL_CLASSES)
    image, label = mini.render_still(n + 7)
    assert image.shape == (72, 96, 3) and image.dtype == np.uint8 and label == 7
    assert not np.array_equal(image, mini.render_still(7)[0])
    mini.render_still(11)
    assert np.array_equal(image, mini.render_still(n + 7)[0])


def test_the_command_names_its_options():
    script = Path(__file__).parents[2] / "data_scripts" / "make_mini.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--seed" in done.stdout and "--root" in done.stdout
