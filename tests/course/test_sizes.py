"""Every chapter runs with other sizes, splits, seeds and classes: no cell depends on a number."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace

import build as bn
import matplotlib
import pytest

from twostream_utils import lab
from twostream_utils.lab import start
from twostream_utils.lab.own_classes import export_videos
from twostream_utils.mini import generate
from twostream_utils.mini.clip import CLASSES
from twostream_utils.profiles import PROFILES
from twostream_utils.store import FrameStore

pytestmark = pytest.mark.slow

CHANGES = {
    "one frame": {"rgb_frames": 1},
    "five frames": {"rgb_frames": 5},
    "ten frames": {"rgb_frames": 10},
    "ten fields": {"flow_fields": 10, "flow_step": 2},
    "split and seed": {"split": 2, "seed": 3},
    "crop": {"crop": 96},
    "two classes": {"classes": CLASSES[:2]},
    "every second field": {"flow_step": 2},
    "folder": {},
}
SOURCES = bn.read_sources()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Nine groups of each class: groups 1 to 7 are a test, two are left to train on."""
    root = tmp_path_factory.mktemp("mini")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "CLIPS_PER_GROUP", 2)
        generate.make_mini(root, progress=False, groups=9, workers=1)
    return root


@pytest.fixture(scope="module")
def sparse(clips, tmp_path_factory):
    """The same as `extract.py --every 2` makes them."""
    root = tmp_path_factory.mktemp("sparse")
    for path in clips.glob("*.zip"):
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(root / path.name, "w") as thin:
            told = json.loads(whole.read("clips.json"))
            told = {clip: info | {"flow_every": 2} for clip, info in told.items()}
            thin.writestr("clips.json", json.dumps(told))
            for name in whole.namelist():
                if re.search(r"jpegs.*jpg|tvl1.*[13579]\.jpg", name):
                    thin.writestr(name, whole.read(name))
    return root


@pytest.fixture(scope="module")
def films(clips, tmp_path_factory):
    """A folder of 83 clips of five classes."""
    store = FrameStore(clips)
    chosen = [clip for clip in store.clips if store.label(clip) in CLASSES[:5]][:83]
    return export_videos(store, chosen, tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module", params=CHANGES)
def sized(request, clips, tmp_path_factory):
    """Set up every notebook with one of the changes, trainings of two steps, runs of its own."""
    changes, folder = CHANGES[request.param], tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        matplotlib.use("Agg")
        patch.setenv("TWOSTREAM_RUNS", str(folder))
        for name in "TWOSTREAM_PROFILE", "TWOSTREAM_DATA", "TWOSTREAM_GROUPS", "TWOSTREAM_SPLIT":
            patch.delenv(name, raising=False)
        if request.param == "folder":
            patch.setenv("TWOSTREAM_PROFILE", "folder")
            patch.setenv("TWOSTREAM_DATA", str(request.getfixturevalue("films")))
            patch.setattr(start, "ROOT", folder)
        else:
            thin = request.param == "every second field"
            root = request.getfixturevalue("sparse") if thin else clips
            patch.setattr(start, "prepare_data", lambda *arguments: root)
            patch.setattr(lab.sources, "prepare_data", lambda *arguments: root)
        short = {
            name: replace(getattr(PROFILES["mini"], name), steps=2)
            for name in ("spatial", "temporal", "conv")
        }
        whole = start.setup

        def setup(profile="mini", **named):
            return whole(profile, **{**short, **changes, **named})

        patch.setattr(lab, "setup", setup)
        patch.setattr(start, "setup", setup)
        yield request.param


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_a_chapter_runs_with_other_sizes(sized, source, tmp_path, monkeypatch):
    """The solved cells; what a checker says of two steps of training is not asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "show", lambda figure, alt: None)
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(bn.build(source, bn.read_sources(), solved=True).cells):
        if cell.cell_type != "code":
            continue
        text = cell.source.replace("assert check.", "check.")
        text = "\n".join(line for line in text.splitlines() if not line.startswith(("%", "!")))
        try:
            exec(compile(text, f"{source.stem}, cell {number}", "exec"), names)
        except Exception as error:
            raise AssertionError(f"{source.stem}, cell {number}, {sized}:\n{text}") from error
    matplotlib.pyplot.close("all")
