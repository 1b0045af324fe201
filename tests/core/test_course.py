"""From frames on disk to results.json, on a few generated clips; and what setup says."""

import importlib.metadata
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import moving_frames, write_video

from twostream_utils import device
from twostream_utils.course import Course
from twostream_utils.data.extract import extract
from twostream_utils.fusion import METHODS
from twostream_utils.lab import start as course
from twostream_utils.mini import make_mini
from twostream_utils.profiles import PROFILES, Recipe, get_profile
from twostream_utils.store import FrameStore

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("JumpRope", "TrampolineJumping")
RECIPE = Recipe(1, 0.01, batch_size=8)
TINY = get_profile(
    "folder", rgb_frames=3, flow_fields=3, crop=32, width=1 / 16, weights=None, positions=1,
    epoch_clips=0,
    spatial=RECIPE, temporal=RECIPE, conv=RECIPE,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_mini(root, progress=False, classes=CLASSES, groups=3, workers=1)
    return root


@pytest.fixture(scope="module")
def tiny(data, tmp_path_factory):
    return Course(TINY, FrameStore(data), tmp_path_factory.mktemp("runs"))


def test_parts_share_no_group(tiny):
    assert tiny.classes == ["JumpRope", "TrampolineJumping"]
    assert len(tiny.train) == 16 and len(tiny.test) == 8 and not tiny.val
    assert not {c.split("_")[2] for c in tiny.train} & {c.split("_")[2] for c in tiny.test}
    with_val = Course(get_profile("folder", val_fraction=0.3), tiny.store, tiny.run_dir, split=2)
    parts = [
        {c.split("_")[2] for c in part} for part in (with_val.train, with_val.val, with_val.test)
    ]
    assert sorted(len(part) for part in parts) == [1, 1, 1] and len(set.union(*parts)) == 3


def test_a_small_set_makes_long_epochs(tiny):
    longer = Course(get_profile("folder", epoch_clips=40), tiny.store, tiny.run_dir)
    assert len(longer.dataset("train")) == 48  # 16 clips, each drawn three times
    assert len(longer.dataset("test")) == 8
    assert len(tiny.dataset("train")) == 16


def test_a_fold_that_does_not_exist_is_named(tiny):
    with pytest.raises(ValueError, match="split 4: .* folds 1 to 3"):
        Course(TINY, tiny.store, tiny.run_dir, split=4)


def test_results_json_has_the_agreed_fields(tiny):
    results = json.loads(tiny.write_results().read_text())
    assert list(results) == [
        "profile", "split", "n_train", "n_val", "n_test", "classes", "seed", "torch", "device",
        "methods",
    ]  # fmt: skip
    assert (results["n_train"], results["n_val"], results["n_test"]) == (16, 0, 8)
    assert results["classes"] == ["JumpRope", "TrampolineJumping"]
    assert list(results["methods"]) == list(METHODS)
    for row in results["methods"].values():
        assert list(row) == ["top1", "ci95", "top5", "seconds"]
        low, high = row["ci95"]
        assert 0 <= low <= row["top1"] <= high <= 1 and row["top5"] == 1.0 and row["seconds"] > 0


def test_results_follow_from_the_score_files(tiny):
    before = tiny.results()
    again = Course(TINY, tiny.store, tiny.run_dir)
    assert again.results() == before
    scores = tiny.scores("spatial")
    path = next(tiny.run_dir.glob("split1_seed0/spatial_*.npz"))
    replace(scores, logits=scores.logits[..., ::-1]).save(path)  # two classes, each the other's
    flipped = again.results()["methods"]["spatial"]["top1"]
    assert flipped == pytest.approx(1 - before["methods"]["spatial"]["top1"])
    scores.save(path)


def test_scores_of_other_clips_are_made_anew(tiny):
    scores = tiny.scores("spatial")
    path = next(tiny.run_dir.glob("split1_seed0/spatial_*.npz"))
    replace(scores, clips=scores.clips[::-1], logits=scores.logits + 1).save(path)
    again = tiny.scores("spatial")
    assert again.clips == scores.clips
    np.testing.assert_allclose(again.logits, scores.logits, atol=1e-5)


def test_results_say_where_the_networks_were_trained_not_who_reads(tiny, monkeypatch):
    tiny.write_results()
    made = tiny.trained_with()
    assert made["torch"] == torch.__version__ and made["device"].startswith("CPU")
    before = tiny.results()
    assert before["device"] == f"{made['device']}, {made['precision']}"
    monkeypatch.setattr(torch, "__version__", "99.0")
    monkeypatch.setattr(device, "describe_device", lambda where: "another machine")
    monkeypatch.setenv("TWOSTREAM_PRECISION", "fp16")
    assert tiny.results() == before
    path = tiny.checkpoint("temporal")
    kept = torch.load(path, weights_only=True)
    other = {"device": "Tesla T4, 15 GiB", "precision": "fp16", "torch": "2.9.0"}
    torch.save(kept | {"trained_with": [other]}, path)
    assert tiny.results()["device"].endswith(
        f"and Tesla T4, 15 GiB, {made['precision']} and float16"
    )
    torch.save(kept, path)


def test_another_split_has_other_networks(video_folder, tmp_path):
    """The same frames, extracted with another pattern for the groups."""
    courses = []
    for folder, pattern in (("a", None), ("same", r"_(g\d+)_"), ("other", r"_(.+)_g\d+_")):
        extract(video_folder, tmp_path / folder, group_pattern=pattern, workers=1)
        courses.append(Course(TINY, FrameStore(tmp_path / folder), tmp_path / "runs"))
    first, same, other = courses
    assert first.checkpoint("spatial") == same.checkpoint("spatial") and first.train == same.train
    assert set(first.test) & set(other.train)  # what the first network must not see
    assert first.checkpoint("spatial") != other.checkpoint("spatial")


def test_labels_are_part_of_the_fingerprint(data):
    store = FrameStore(data)
    before = store.fingerprint()
    store.labels[store.clips[0]] = "TrampolineJumping"
    assert store.fingerprint() != before


def test_clips_of_other_classes_in_the_folder_change_no_name(video_folder, tmp_path):
    """ucf10 and ucf20 share data/ucf101: what one fetches leaves the other's networks alone."""
    extract(video_folder, tmp_path / "more", workers=1)
    (tmp_path / "few").mkdir()
    for label in ("JumpRope", "PullUps"):
        shutil.copy(tmp_path / "more" / f"{label}.zip", tmp_path / "few")
    two = replace(TINY, classes=("JumpRope", "PullUps"))
    names = set()
    for folder in ("few", "more"):
        store = FrameStore(tmp_path / folder)
        names.add(Course(two, store, tmp_path).checkpoint("spatial"))
    assert len(store.clips) == 9 and len(names) == 1
    three = replace(TINY, classes=("JumpRope", "PullUps", "YoYo"))
    assert Course(three, store, tmp_path).checkpoint("spatial") not in names


def test_bilinear_fusion_starts_alike_whether_its_streams_are_trained_or_loaded(tiny, tmp_path):
    fresh = Course(TINY, tiny.store, tmp_path)
    trained, loaded = (fresh.new("conv", kind="bilinear", towers=1) for _ in range(2))
    assert torch.equal(trained.classifier.weight, loaded.classifier.weight)


def test_other_sizes_are_other_checkpoints(tiny):
    wider = Course(get_profile("folder", width=1 / 8), tiny.store, tiny.run_dir)
    assert wider.checkpoint("spatial") != tiny.checkpoint("spatial")
    slower = TINY.__class__(**{**TINY.__dict__, "temporal": Recipe(2, 0.01)})
    other = Course(slower, tiny.store, tiny.run_dir)
    assert other.checkpoint("spatial") == tiny.checkpoint("spatial")
    assert other.checkpoint("temporal") != tiny.checkpoint("temporal")
    assert other.checkpoint("conv") != tiny.checkpoint("conv")


def test_scores_of_other_views_and_parts_lie_beside_the_first(tiny):
    five = tiny.scores("temporal")
    assert five.logits.shape == (8, 10, 2)  # five crops, as is and flipped
    assert tiny.scores("temporal", "train").clips == tuple(tiny.train)
    again = Course(TINY, tiny.store, tiny.run_dir).scores("temporal", crops="five")
    assert (again.logits == five.logits).all()


def test_fusions_of_other_kinds_have_checkpoints_of_their_own(tiny):
    one = tiny.scores("conv", towers=1)
    assert tiny.checkpoint("conv", towers=1).exists()
    assert tiny.checkpoint("conv", towers=1) != tiny.checkpoint("conv")
    assert tiny.checkpoint("conv", towers=2) == tiny.checkpoint("conv")  # the profile's choice
    assert one.logits.shape == (8, 10, 2)
    chunks = tiny.scores("conv", chunks=3, kind="sum", time="3dpool", crops="centre")
    assert chunks.logits.shape == (8, 2, 2)
    assert tiny.snippets(3).profile.flow_fields == 1


def test_unknown_names_are_refused(tiny):
    with pytest.raises(ValueError, match="mini, folder, weizmann"):
        get_profile("tiny")
    with pytest.raises(ValueError, match="spatial, temporal, conv"):
        tiny.recipe("audio")


@pytest.mark.parametrize(
    ("profile", "commands"),
    [
        ("ucf10", "fetch_ucf101.py --profile ucf10\n.*extract.py data/ucf101_videos data/ucf101 "),
        ("ucf20", "fetch_ucf101.py --profile ucf20\n.*extract.py data/ucf101_videos data/ucf101 "),
        ("ucf101", "fetch_ucf101.py --profile ucf101\n.* data/ucf101 --short-side 256\n"),
        ("weizmann", r"fetch_weizmann.py\n.* data/weizmann --short-side 80 .*'\^\(\[a-z\]\+\)_'"),
        ("folder", "give\n  python data_scripts/extract.py VIDEOS data/folder --short-side 80"),
    ],
)
def test_a_profile_without_data_names_the_commands(monkeypatch, tmp_path, profile, commands):
    monkeypatch.setattr(course, "ROOT", tmp_path)
    match = f"(?s)'{profile}' in data/.*{commands}.*mini"
    with pytest.raises(FileNotFoundError, match=match) as refused:
        course.prepare_data(get_profile(profile))
    for script in re.findall(r"python (\S+)", str(refused.value)):
        assert (ROOT / script).is_file()


def test_in_colab_commands_are_those_of_any_folder_and_the_end_is_named(
    data, monkeypatch, tmp_path, capsys
):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setattr(course, "ROOT", tmp_path)
    with pytest.raises(FileNotFoundError) as refused:
        course.prepare_data(get_profile("ucf10"))
    said = str(refused.value)
    assert f"python {tmp_path.as_posix()}/data_scripts/fetch_ucf101.py --profile ucf10\n" in said
    paths = ("data_scripts/extract.py", "data/ucf101_videos", "data/ucf101")
    assert " ".join((tmp_path / path).as_posix() for path in paths) in said
    monkeypatch.delenv("TWOSTREAM_PROFILE", raising=False)
    monkeypatch.setattr(course, "prepare_data", lambda *arguments: data)
    course.setup("folder")
    assert "end with this session: mount Google Drive" in capsys.readouterr().out


def test_the_variable_gives_a_folder_its_groups(monkeypatch, tmp_path, capsys):
    for label in "jump", "wave":
        for k, person in enumerate(("anna", "ben", "carl")):
            write_video(tmp_path / "v" / label / f"{person}_{k}.avi", moving_frames(8, seed=k))
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setenv("TWOSTREAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TWOSTREAM_PROFILE", "folder")
    monkeypatch.setenv("TWOSTREAM_DATA", str(tmp_path / "v"))
    monkeypatch.delenv("TWOSTREAM_GROUPS", raising=False)
    course.setup("mini")
    assert "warning: no group is known for 6 of 6 clips" in capsys.readouterr().out
    monkeypatch.setenv("TWOSTREAM_GROUPS", "^([a-z]+)_")
    made = course.setup("mini")
    assert {made.store.group(clip) for clip in made.train + made.test} == {"anna", "ben", "carl"}
    assert "no group" not in capsys.readouterr().out
    for name in "weizmann", "mini", "ucf10":
        assert course.choose_profile(name) == get_profile(name)


def test_archives_in_parts_and_unpacked_folders_are_data(monkeypatch, tmp_path):
    monkeypatch.setattr(course, "ROOT", tmp_path)
    root = tmp_path / "data" / "ucf101"
    root.mkdir(parents=True)
    (root / "ucf101_jpegs_256.zip.001").touch()
    assert course.prepare_data(get_profile("ucf101")) == root
    (root / "ucf101_jpegs_256.zip.001").rename(root / "notes.txt")
    with pytest.raises(FileNotFoundError, match="no data"):
        course.prepare_data(get_profile("ucf101"))
    (root / "jpegs_256").mkdir()
    assert course.prepare_data(get_profile("ucf101")) == root


def test_environment_check_prints_a_line_for_everything(capsys):
    assert course.check_environment("mini")
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("[OK]") for line in lines)
    assert len(lines) > len(course.PACKAGES) + 3
    assert not course.check_environment("no such profile")
    assert "[FAIL] profile: no profile 'no such profile'" in capsys.readouterr().out


def test_a_package_below_its_floor_is_named(capsys, monkeypatch):
    def old(package, found=importlib.metadata.version):
        return "2.8.9+cpu" if package == "torch" else found(package)

    monkeypatch.setattr(importlib.metadata, "version", old)
    assert not course.check_environment("mini")
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[FAIL]")]
    assert failed == [
        "[FAIL] torch: 2.8.9+cpu is too old, the course needs 2.9. pip install -U torch"
    ]


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_keeps_the_two_stacks_of_the_original(name):
    profile = get_profile(name)
    assert profile.rgb_frames >= 1 and profile.flow_fields >= 1
    if name not in ("folder", "weizmann"):
        assert (profile.rgb_frames, profile.flow_fields) == (10, 50)


def test_setup_says_which_classes_of_the_profile_are_missing(data, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("TWOSTREAM_PROFILE", raising=False)
    monkeypatch.setenv("TWOSTREAM_RUNS", str(tmp_path))
    monkeypatch.setattr(course, "prepare_data", lambda *arguments: data)
    course.setup("ucf10", split_rule="folds", classes=("JumpRope", "Archery"))
    out = capsys.readouterr().out
    assert "has 1 of the 2 classes of this profile; without Archery" in out
    assert "python data_scripts/fetch_ucf101.py --profile ucf10" in out
    course.setup("ucf10", split_rule="folds", classes=CLASSES)
    assert "without" not in capsys.readouterr().out


def test_a_split_without_training_clips_is_named(tiny):
    """The data are groups 1 to 3, all of them test groups of the official split 1."""
    official = get_profile("ucf10", classes=CLASSES)
    with pytest.raises(ValueError, match="no clips to train on: of the 24 clips .* split 1 has"):
        Course(official, tiny.store, tiny.run_dir)
    with pytest.raises(ValueError, match="no clips to test on: .* split 2 has none"):
        Course(official, tiny.store, tiny.run_dir, split=2)


def test_runs_lie_where_the_variable_says_or_on_drive(monkeypatch, tmp_path):
    monkeypatch.delenv("TWOSTREAM_RUNS", raising=False)
    monkeypatch.setattr(course, "DRIVE", tmp_path / "MyDrive")
    assert course.runs_folder() == course.ROOT / "runs"
    (tmp_path / "MyDrive").mkdir()
    assert course.runs_folder() == tmp_path / "MyDrive" / "two_stream_runs"
    monkeypatch.setenv("TWOSTREAM_RUNS", str(tmp_path / "elsewhere"))
    assert course.runs_folder() == tmp_path / "elsewhere"
    assert course.shown(tmp_path / "elsewhere") == (tmp_path / "elsewhere").as_posix()
    assert course.shown(course.ROOT / "runs" / "mini") == "runs/mini"


def test_a_lost_session_goes_on_from_drive(data, monkeypatch, tmp_path, capsys):
    """The same cell, a new process: setup finds the first session's epoch on Drive."""
    monkeypatch.delenv("TWOSTREAM_PROFILE", raising=False)
    monkeypatch.delenv("TWOSTREAM_RUNS", raising=False)
    (tmp_path / "MyDrive").mkdir()
    monkeypatch.setattr(course, "DRIVE", tmp_path / "MyDrive")
    monkeypatch.setattr(course, "prepare_data", lambda *arguments: data)
    sizes = {k: v for k, v in TINY.__dict__.items() if k != "name"}
    sizes |= {"spatial": Recipe(2, 0.01, batch_size=8)}

    class Lost(Exception):
        pass

    def lose(history):
        raise Lost

    first = course.setup("folder", **sizes)
    with pytest.raises(Lost):
        first.fit("spatial", first.new("spatial"), on_epoch=lose)
    again = course.setup("folder", **sizes)
    assert "kept on Google Drive" in capsys.readouterr().out
    seen = []
    history = again.fit("spatial", again.new("spatial"), lambda rows: seen.append(len(rows)))
    assert seen == [2] and len(history) == 2  # the second epoch only
    assert again.checkpoint("spatial").is_relative_to(tmp_path / "MyDrive" / "two_stream_runs")
