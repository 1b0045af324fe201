from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d
from test_extract import ENV

from twostream_utils.mini import generate, make_mini
from twostream_utils.mini.clip import CLASSES, RECIPES, render_clip
from twostream_utils.mini.figure import (
    L_ANKLE,
    L_HAND,
    R_ANKLE,
    R_HAND,
    SLICES,
    joints,
    make_person,
)
from twostream_utils.mini.motion import MOTIONS, phases, poses
from twostream_utils.mini.scene import SCENES
from twostream_utils.mini.still import STILL_CLASSES, STILL_SCENES, render_still
from twostream_utils.splits import parse_name
from twostream_utils.store import FrameStore

RING = ("office", "school", "park")


def checksums(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def make(root: Path, **options) -> list[Path]:
    options = {"workers": 1, "groups": 1} | options
    return make_mini(root, progress=False, classes=("ClapOffice", "WipeBoard"), **options)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini")
    return root, make(root)


def test_ring_classes_share_their_place_with_one_class_and_their_motion_with_another():
    ring = {k: (scene, motion) for k, (scene, motion, _) in RECIPES.items() if scene in RING}
    assert len(CLASSES) == 10 and len(set(ring.values())) == len(ring) == 6
    for column in zip(*ring.values()):
        assert all(column.count(value) == 2 for value in column)


@pytest.mark.parametrize("label", CLASSES)
def test_a_clip_is_uint8_of_52_to_61_frames_and_the_figure_moves(label):
    clip = render_clip(label, 25, 4)
    assert clip.dtype == np.uint8 and clip.shape[1:] == (72, 96, 3)
    assert 52 <= len(clip) <= 61
    change = np.abs(np.diff(clip[:, 10:66, 10:86].astype(np.int16), axis=0)).max(-1)
    assert np.percentile(change, 99.5) > 20


def test_rendering_is_deterministic_and_seed_and_number_matter():
    a = render_clip("FlapPark", 3, 2, seed=1)
    render_clip("WipeBoard", 1, 1)
    assert np.array_equal(a, render_clip("FlapPark", 3, 2, seed=1))
    assert np.array_equal(a[:3], render_clip("FlapPark", 3, 2, seed=1, length=3))
    for number, seed in ((2, 2), (3, 1)):
        other = render_clip("FlapPark", 3, number, seed, length=3)
        assert not np.array_equal(a[:3], other)


@pytest.mark.parametrize("label", ["CircleSchool", "DrumFaster", "WipeWindow"])
def test_the_group_fixes_the_scene(label):
    def colours(group, number):  # wherever they are: each clip may be mirrored, its things swapped
        film = render_clip(label, group, number, length=4)
        return np.quantile(film, np.linspace(0.05, 0.95, 19), axis=(0, 1, 2))

    first, second = (np.stack([colours(g, number) for g in range(1, 9)]) for number in (1, 2))
    apart = np.abs(first[:, None] - second).mean((2, 3))
    assert np.diag(apart).max() < 0.6 * apart[~np.eye(8, dtype=bool)].mean()


def hands(motion: str, seed: int = 0, frames: int = 400, side: int = 1, sense: int = 1):
    """Paths of the right and the left hand, outwards and upwards, without their slow drift."""
    rng = np.random.default_rng(seed)
    body = poses(MOTIONS[motion], frames, 1.0, side, sense, rng)
    paths = [body[:, SLICES[hand]][:, 1:] * (sign, 1) for hand, sign in (("rh", 1), ("lh", -1))]
    return [path - uniform_filter1d(path, 25, axis=0, mode="nearest") for path in paths]


def test_hands_move_outwards_inwards_or_in_circles_as_they_rise():
    for motion, slope in (("flap", 0.95), ("clap", -0.95), ("circle", 0.0)):
        for path in hands(motion):
            assert np.corrcoef(path.T)[0, 1] == pytest.approx(slope, abs=0.1)


def test_only_the_hand_on_the_named_side_wipes():
    for side, wiping in ((1, 0), (-1, 1)):
        moved = [np.abs(path).max() for path in hands("wipe", side=side)]
        assert moved[wiping] > 4 * moved[1 - wiping]


def test_drumming_faster_is_drumming_slower_backwards():
    rng = np.random.default_rng
    forwards = np.diff(phases(MOTIONS["faster"], 60, rng(3)))
    backwards = np.diff(phases(MOTIONS["slower"], 60, rng(3)))[::-1]
    assert forwards[-1] > 3 * forwards[0]
    assert np.allclose(forwards[:-1], backwards[1:])


def test_people_stay_on_the_ground_and_in_reach_of_what_they_wipe():
    person = make_person(np.random.default_rng(0))
    for motion in MOTIONS.values():
        body = joints(poses(motion, 60, 1.0, 1, 1, np.random.default_rng(1)), person, 90.0)
        assert np.ptp(body[:, [L_ANKLE, R_ANKLE], 1], axis=0).max() < 0.02
    assert np.abs(body[:, [L_HAND, R_HAND], 0]).min() > 0.25  # the last one is wiping


def test_which_side_the_board_is_on_and_which_hand_moves_tell_no_wiping_class():
    """Of 20 clips each, the hand that moves is left or right in the image about equally often."""
    for label in ("WipeBoard", "WipeWindow"):
        left = 0
        for group, number in itertools.product(range(1, 6), range(1, 5)):
            clip = render_clip(label, group, number).astype(np.int16)
            change = np.abs(np.diff(clip[:, 10:50], axis=0)).mean((0, 1, 3))
            left += change[:48].sum() > change[48:].sum()
        assert 4 <= left <= 16


def test_shards_hold_named_clips_with_frames_and_flow(small):
    store = FrameStore(small[0])
    assert len(store.clips) == 8
    for clip in store.clips:
        name = parse_name(clip)
        assert (store.label(clip), store.group(clip)) == (name.label, "g01")
        assert 52 <= store.n_frames(clip) == store.n_flow(clip) + 1 <= 61
    frame = store.rgb("v_WipeBoard_g01_c02", 5).astype(int)
    assert np.abs(frame - render_clip("WipeBoard", 1, 2)[4]).mean() < 6
    with zipfile.ZipFile(small[0] / "WipeBoard.zip") as file:
        assert json.loads(file.read("clips.json"))["v_WipeBoard_g01_c02"]["flow"] == "dis_small"


def test_whole_shards_are_kept_and_stale_or_broken_ones_are_remade(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "CLIPS_PER_GROUP", 1)
    clap, wipe = make(tmp_path)
    before, stamp = checksums([wipe]), clap.stat().st_mtime_ns
    for broken in (b"", wipe.read_bytes()[:1000]):
        wipe.write_bytes(broken)
        (tmp_path / "WipeBoard.zip.123.partial").write_bytes(b"killed")
        make(tmp_path)
        assert checksums([wipe]) == before and clap.stat().st_mtime_ns == stamp
        assert not list(tmp_path.glob("*.partial"))
    make(tmp_path, seed=5)
    assert checksums([wipe]) != before


def test_of_two_calls_at_once_one_makes_the_shards_and_the_other_waits(small, tmp_path):
    """By two workers, with the same bytes as this process alone."""
    code = (
        "import sys\nfrom twostream_utils.mini import make_mini\n"
        "make_mini(sys.argv[1], classes=('ClapOffice', 'WipeBoard'), groups=1, workers=2)\n"
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
    assert not set(SCENES.values()) & set(STILL_SCENES.values())
    n = len(STILL_CLASSES)
    assert n == len(set(STILL_CLASSES)) >= 48
    image, label = render_still(n + 7)
    assert image.shape == (72, 96, 3) and image.dtype == np.uint8 and label == 7
    assert not np.array_equal(image, render_still(7)[0])
    render_still(11)
    assert np.array_equal(image, render_still(n + 7)[0])
