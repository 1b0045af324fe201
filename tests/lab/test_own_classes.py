"""A folder of one's own videos becomes a course that trains, and says what is wrong with groups."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import moving_frames, write_video

from twostream_utils.data.extract import make_shards
from twostream_utils.fusion import METHODS
from twostream_utils.lab.own_classes import (
    Batches,
    export_videos,
    fine_tune,
    group_warnings,
    own_classes,
    small_folder,
)
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.store import FrameStore

pytestmark = pytest.mark.usefixtures("one_core")
RECIPE = Recipe(1, 0.01, batch_size=4)
SIZES = dict(
    rgb_frames=2, rgb_step=2, flow_fields=3, short_side=48, crop=32, width=1 / 16, weights=None,
    positions=1, epoch_clips=0, spatial=RECIPE, temporal=RECIPE, conv=RECIPE,
)  # fmt: skip


def film(folder, labels, names):
    """Write a short video of each name for each class, and return their folder."""
    for label in labels:
        for k, name in enumerate(names):
            write_video(folder / label / f"{name}.avi", moving_frames(8, seed=k))
    return folder


def test_from_a_folder_of_videos_to_scores_of_four_methods(video_folder, tmp_path, capsys):
    own = own_classes(video_folder, tmp_path, **SIZES)
    assert own.classes == ["JumpRope", "PullUps", "YoYo"]
    assert len(own.train) == 6 and len(own.test) == 3
    assert not {own.store.group(k) for k in own.train} & {own.store.group(k) for k in own.test}
    said = capsys.readouterr().out
    assert said.count("warning:") == 1 and "only 3 test clips: one clip more or less is 33%" in said
    methods = own.method_scores()
    assert list(methods) == list(METHODS)
    assert all(scores.shape == (3, 3) for scores, _, _ in methods.values())
    assert own.run_dir == tmp_path / "runs"


def test_clips_without_groups_are_warned_of_and_a_small_folder_keeps_those_of_a_pattern(
    tmp_path, capsys
):
    names = [f"{name}_{k}" for name in ("anna", "ben", "carl") for k in (1, 2)]
    videos = film(tmp_path / "v", ("jump", "wave"), names)
    own_classes(videos, tmp_path / "a", **SIZES)
    assert "no group is known for 12 of 12 clips" in capsys.readouterr().out
    sizes = SIZES | {"group_pattern": "^([a-z]+)_", "epoch_clips": 480}
    own = own_classes(videos, tmp_path / "b", **sizes)
    assert "no group" not in capsys.readouterr().out
    small = own_classes(small_folder(own), tmp_path / "c", like=own.profile)
    for course in own, small:
        clips = course.train + course.test
        assert {course.store.group(k) for k in clips} == {"anna", "ben", "carl"}
        assert len(clips) == 12
    assert len(own.dataset("train")) == 480 and len(small.dataset("train")) == 48  # a tenth to tune


def test_shards_of_classes_that_the_videos_do_not_have_are_named_and_kept(video_folder, tmp_path):
    videos = shutil.copytree(video_folder, tmp_path / "videos")
    out, profile = tmp_path / "shards", get_profile("folder", short_side=48)
    make_shards(videos, out, profile)
    (videos / "YoYo").rename(videos / "Yo")
    for source, names in (videos, "YoYo.zip"), (tmp_path / "other", "JumpRope.zip, .*YoYo.zip"):
        if not source.exists():
            film(source, ["jump"], ["a_g01_c01"])
        place = re.escape(str(source))
        with pytest.raises(ValueError, match=rf"classes that {place} does not have: {names}"):
            make_shards(source, out, profile)
        assert sorted(path.stem for path in out.glob("*.zip")) == ["JumpRope", "PullUps", "YoYo"]
    with pytest.raises(ValueError, match="Move them elsewhere or delete them"):
        own_classes(tmp_path / "other", tmp_path, **SIZES)
    (out / "YoYo.zip").unlink()
    make_shards(videos, out, profile)
    assert set(FrameStore(out).labels.values()) == {"JumpRope", "PullUps", "Yo"}
    # A profile that names its classes reads no others, and may be filled from several folders.
    make_shards(videos, out, replace(profile, classes=("Yo",)))


def test_a_class_that_is_missing_in_one_part_is_named(tmp_path):
    film(tmp_path / "v", ["jump"], [f"a_g{group:02d}_c01" for group in (1, 2, 3)])
    film(tmp_path / "v", ["wave"], ["a_g01_c01"])
    own = own_classes(tmp_path / "v", tmp_path / "a", **SIZES)
    part = "test" if any(own.store.label(k) == "wave" for k in own.train) else "training"
    assert any(f"no {part} clip of wave" in warning for warning in group_warnings(own))


def test_one_group_or_one_class_is_too_few(tmp_path):
    for folder, labels, groups, words in (
        ("one_class", ["jump"], (1, 2), "one class only, jump"),
        ("one_group", ["jump", "wave"], [1], "group"),
    ):
        videos = film(tmp_path / folder, labels, [f"a_g{group:02d}_c01" for group in groups])
        with pytest.raises(ValueError, match=words):
            own_classes(videos, tmp_path / f"{folder}_made", **SIZES)


def test_exported_videos_are_the_clips_and_are_written_once(video_folder, tmp_path):
    own = own_classes(video_folder, tmp_path / "a", **SIZES)
    clips = own.store.clips[:4]
    out = export_videos(own.store, clips, tmp_path / "out")
    files = sorted(out.glob("*/*.avi"))
    assert [path.stem for path in files] == clips
    assert {path.parent.name for path in files} == {own.store.label(clip) for clip in clips}
    before = [path.stat().st_mtime_ns for path in files]
    export_videos(own.store, clips, out)
    assert [path.stat().st_mtime_ns for path in files] == before
    # Two classes are there; the rest would need three groups.
    film(out, ["JumpRope"], ["x_g04_c01", "x_g05_c01"])
    again = FrameStore(own_classes(out, tmp_path / "b", **SIZES).store.root)
    assert set(clips) <= set(again.clips)
    for clip in clips:
        assert again.n_frames(clip) == own.store.n_frames(clip)


def test_a_fine_tuned_stream_keeps_its_features_and_learns_other_classes(tiny, networks):
    stream = networks["spatial"]
    before = {key: tensor.clone() for key, tensor in stream.state_dict().items()}
    dataset = tiny.dataset("train", ("rgb",))
    device = next(stream.parameters()).device
    batches = [(x, y) for x, y in Batches(dataset, device, 4)]
    tuned = fine_tune(stream, batches, 5, epochs=3)
    assert not tuned.training and tuned.classifier[-1].out_features == 5
    for key, tensor in stream.state_dict().items():
        assert torch.equal(tensor, before[key])
        if key.startswith("features."):
            assert torch.equal(tuned.state_dict()[key], tensor)
    first = tuned.classifier[0].weight
    assert not torch.equal(first, stream.classifier[0].weight)


@pytest.mark.parametrize(("name", "count"), [("a_g{:02d}_c01", 6), ("{}", 10)])
def test_a_small_folder_holds_the_classes_it_should_whatever_the_groups(name, count, tmp_path):
    """Grouped by six persons with a clip a class, or ten clips a class without any groups."""
    labels, names = ("jump", "run", "wave"), [name.format(k) for k in range(count)]
    own = own_classes(film(tmp_path / "v", labels, names), tmp_path / "a", **SIZES)
    folder = small_folder(own)
    assert small_folder(own) == folder
    assert sorted(path.name for path in folder.iterdir()) == own.classes
    assert {len(list(path.iterdir())) for path in folder.iterdir()} <= {2, 3, 4, 5, 6, 7, 8}
    small = own_classes(folder, tmp_path / "b", like=own.profile, epoch_clips=0)
    assert small.classes == own.classes and small.profile.channels == own.profile.channels
