"""What setup does and says: data, profile and size by name, commands, warnings, Drive."""

import importlib.metadata
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import run
from test_own_classes import film

from twostream_utils.experiments import ablations, accuracy
from twostream_utils.lab import environment, start
from twostream_utils.profiles import get_profile
from twostream_utils.store import FrameStore

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def at_tiny(tiny, monkeypatch, tmp_path):
    """Setup takes the clips of the tiny course, whatever the profile, and runs in tmp_path."""
    monkeypatch.delenv("TWOSTREAM_PROFILE", raising=False)
    monkeypatch.setenv("TWOSTREAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(start, "prepare_data", lambda *arguments: tiny.store.root)
    return tiny


@pytest.mark.parametrize(
    ("profile", "commands"),
    [
        ("ucf10", "fetch_ucf101.py --profile ucf10\n.*extract.py data/ucf101_videos data/ucf101 "),
        ("ucf101", "--profile ucf101\n.* data/ucf101 --short-side 256 --flow dis --every 2\n"),
        ("paper", "ucf101.py --profile paper\n.* data/ucf101_videos data/ucf101_tvl1 .* tvl1\n"),
        ("weizmann", r"fetch_weizmann.py\n.* --short-side 80 --flow dis_s.*'\^\(\[a-z\]\+\)_'"),
        ("folder", "give\n  python data_scripts/extract.py VIDEOS data/folder --short-side 80"),
    ],
)
def test_a_profile_without_data_names_the_commands(monkeypatch, tmp_path, profile, commands):
    monkeypatch.setattr(start, "ROOT", tmp_path)
    match = f"(?s)'{profile}' in data/.*{commands}.*mini"
    with pytest.raises(FileNotFoundError, match=match) as refused:
        start.prepare_data(get_profile(profile))
    for script in re.findall(r"python (\S+)", str(refused.value)):
        assert (ROOT / script).is_file()
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    place = re.escape(tmp_path.as_posix())
    with pytest.raises(FileNotFoundError, match=f"python {place}/data_scripts/extract.py .*/data"):
        start.prepare_data(get_profile(profile))  # cells run in another folder there


@pytest.mark.parametrize("name", ["ucf101_jpegs_256.zip.001", "jpegs_256/a clip"])
def test_archives_in_parts_and_unpacked_folders_are_data(monkeypatch, tmp_path, name):
    monkeypatch.setattr(start, "ROOT", tmp_path)
    root = tmp_path / "data" / "ucf101"
    (root / name).mkdir(parents=True) if "/" in name else root.mkdir(parents=True)
    (root / "notes.txt").touch()
    if "/" not in name:
        with pytest.raises(FileNotFoundError, match="no data"):
            start.prepare_data(get_profile("ucf101"))
        (root / name).touch()
    assert start.prepare_data(get_profile("ucf101")) == root


def test_the_variable_gives_a_folder_its_groups(one_core, monkeypatch, tmp_path, capsys):
    film(tmp_path / "v", ("jump", "wave"), ("anna_0", "ben_1", "carl_2"))
    monkeypatch.setattr(start, "ROOT", tmp_path)
    monkeypatch.setenv("TWOSTREAM_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TWOSTREAM_PROFILE", "folder")
    monkeypatch.setenv("TWOSTREAM_DATA", str(tmp_path / "v"))
    monkeypatch.delenv("TWOSTREAM_GROUPS", raising=False)
    start.setup("mini")
    assert "warning: no group is known for 6 of 6 clips" in capsys.readouterr().out
    monkeypatch.setenv("TWOSTREAM_GROUPS", "^([a-z]+)_")
    made = start.setup("mini")
    assert {made.store.group(clip) for clip in made.train + made.test} == {"anna", "ben", "carl"}
    assert "no group" not in capsys.readouterr().out
    monkeypatch.delenv("TWOSTREAM_PROFILE")
    for name in "weizmann", "mini", "ucf10":
        assert start.choose_profile(name) == get_profile(name)


def test_setup_says_what_is_missing_changed_and_lost(at_tiny, monkeypatch, tmp_path, capsys):
    start.setup("ucf10", split_rule="folds", classes=(*at_tiny.classes, "Archery"), rgb_frames=5)
    out = capsys.readouterr().out
    assert "has 2 of the 3 classes of this profile; without Archery" in out
    assert "python data_scripts/fetch_ucf101.py --profile ucf10" in out
    assert "changed: rgb_frames is 5, not 10\n" in out
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    start.setup("ucf10", split_rule="folds", classes=tuple(at_tiny.classes))
    out = capsys.readouterr().out
    assert "without" not in out and "end with this session: mount Google Drive" in out
    assert start.runs_folder() == tmp_path / "runs"
    assert start.shown(tmp_path / "runs") == (tmp_path / "runs").as_posix()
    monkeypatch.delenv("TWOSTREAM_RUNS")
    monkeypatch.setattr(start, "DRIVE", tmp_path / "MyDrive")
    assert start.shown(start.runs_folder()) == "runs"
    assert start.setup("folder", quiet=True).scratch is None
    (tmp_path / "MyDrive").mkdir()
    course = start.setup("folder")
    # An unfinished checkpoint an epoch would fill Drive: they go to the session's own disk.
    assert course.scratch and not course.scratch.is_relative_to(tmp_path / "MyDrive")
    assert "finished networks and scores are kept on Google Drive" in capsys.readouterr().out
    assert course.checkpoint("spatial").is_relative_to(tmp_path / "MyDrive" / "two_stream_runs")


def test_changed_is_only_said_where_it_is_true(at_tiny, capsys, monkeypatch):
    start.setup("folder", flow="tvl1", crop=72, seed=1)
    out = capsys.readouterr().out
    assert "not changed: flow is 'dis_small' in the data on disk, not 'tvl1'" in out
    assert "changed: crop" not in out  # what the profile has anyway
    for side in 64, 128:  # smaller and larger than what is there
        start.setup("folder", short_side=side)
        assert "\nnot changed: short_side is 72" in capsys.readouterr().out
    monkeypatch.setattr(FrameStore, "flow_algorithm", lambda store, clip: None)  # older archives
    start.setup("folder", flow="tvl1")
    assert "\nnot changed: flow is not known" in capsys.readouterr().out


def test_a_notebook_shows_the_sentence_of_setup_and_the_traceback_of_all_else(monkeypatch, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.delenv("TWOSTREAM_PROFILE", raising=False)
    monkeypatch.setenv("TWOSTREAM_DEVICE", "tpu")
    shell = InteractiveShell(colors="NoColor", user_ns={"setup": start.setup})
    for cell, sentence, traceback in (
        ("setup('minni')", "ValueError: no profile 'minni'; there are: mini, ", False),
        ("setup(rgb_frames='5')", "ValueError: rgb_frames must be a whole number", False),
        ("setup()", "ValueError: no TWOSTREAM_DEVICE 'tpu' on this machine", False),
        ("int('five')", "ValueError: invalid literal", True),  # a reader's own slip
    ):
        assert not shell.run_cell(cell).success
        said = capsys.readouterr().out
        assert sentence in said and ("Traceback" in said) == traceback
        assert traceback or len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("device", "profile", "sentence"),
    [("", "minni", "no profile 'minni'; there are"), ("tpu", "mini", "no TWOSTREAM_DEVICE 'tpu'")],
)
def test_commands_end_in_the_same_sentence(monkeypatch, capsys, device, profile, sentence):
    monkeypatch.setenv("TWOSTREAM_PROFILE", profile)  # is put back afterwards
    monkeypatch.setenv("TWOSTREAM_DEVICE", device)
    monkeypatch.setattr(start, "prepare_data", lambda *arguments: pytest.fail("too late"))
    for main, words in (accuracy.main, [profile]), (ablations.main, []):
        monkeypatch.setattr(sys, "argv", ["command", *words])
        with pytest.raises(SystemExit, match=f"error: {sentence}"):
            main()
    assert run.main(["--profile", profile]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith(sentence) and "\n" not in said


def test_environment_check_prints_a_line_for_everything(capsys, monkeypatch):
    assert environment.check_environment("mini")
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("[OK]") for line in lines)
    said = {line.split()[1].rstrip(":") for line in lines}
    assert said > {"Python", "torch", "opencv-contrib-python-headless", "disk", "device"}

    def old(package, found=importlib.metadata.version):
        return "2.8.9+cpu" if package == "torch" else found(package)

    monkeypatch.setattr(importlib.metadata, "version", old)
    assert not environment.check_environment("no such profile")
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[FAIL]")]
    assert failed[0] == (
        "[FAIL] torch: 2.8.9+cpu is too old, the course needs 2.9. pip install -U torch"
    )
    assert len(failed) == 2 and "no profile 'no such profile'" in failed[1]
