"""The cells of the chapter on getting the data, against a server: stopped, gone on, offline."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace

import pytest
from conftest import REPO, moving_frames
from servers import Nginx

from twostream_utils.data import fetch as fetching
from twostream_utils.data.fetch import UCF101, FetchError
from twostream_utils.lab import sources
from twostream_utils.lab.sources import encode_video, get_data, open_source
from twostream_utils.profiles import get_profile
from twostream_utils.store import FrameStore

TEXT = (REPO / "notebooks" / "source" / "01_get_the_data.md").read_text(encoding="utf-8")
CELLS = re.findall(r"^```python[^\n]*\n(.*?)^```$", TEXT, re.M | re.S)
LABELS = ("JumpRope", "YoYo")
CLIPS = {
    f"UCF-101/{label}/v_{label}_g{group:02d}_c{number:02d}.avi":
        encode_video(moving_frames(6, seed=10 * group + number), 25)
    for label in LABELS for group in (1, 8, 9) for number in (1, 2)
}  # fmt: skip


def cell(words: str) -> str:
    (found,) = (text for text in CELLS if words in text)
    return found


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A profile of two classes whose zip lies on a server on this machine, and that server."""
    (tmp_path / "www").mkdir()
    with zipfile.ZipFile(tmp_path / "www" / "UCF-101.zip", "w") as file:
        for name, data in CLIPS.items():
            file.writestr(name, data)
    (tmp_path / "nginx").mkdir()
    server = Nginx(tmp_path / "nginx", tmp_path / "www")
    address = {"gone": server.url + "/gone.zip", "here": server.url + "/UCF-101.zip"}
    videos = UCF101._replace(sources=address, clips=dict.fromkeys(LABELS, 6))
    for name, value in dict(DIRECTORY=2_000, TIMEOUT=(2, 1), TRIES=2).items():
        monkeypatch.setattr(fetching, name, value)
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)
    monkeypatch.setitem(sources.SERVED, "ucf101", videos)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    for name in "TWOSTREAM_DATA", "TWOSTREAM_PROFILE":
        monkeypatch.delenv(name, raising=False)
    yield replace(get_profile("ucf10"), classes=LABELS, short_side=48), server, tmp_path / "data"
    server.close()


def test_the_cells_fetch_one_class_and_go_on_where_they_were_stopped(served, monkeypatch, capsys):
    profile, server, folder = served
    names = {"profile": profile}
    exec(cell("source = open_source(profile)"), names)
    assert names["source"].folder == folder / "ucf101_videos"
    assert "12 videos, " + server.url in capsys.readouterr().out
    exec(cell("def get(names, folder):"), names)
    read, calls = names["source"].read, []

    def stopped(name):
        calls.append(name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(name)

    monkeypatch.setattr(names["source"], "read", stopped)
    with pytest.raises(KeyboardInterrupt):
        exec("get(one_class[:5], source.folder)", names)
    assert len([*folder.rglob("*.avi")]) == 2
    exec(cell("get(one_class, source.folder)"), names)
    assert "2 are here, 4 to get" in capsys.readouterr().out and len(calls) == 7
    there = {path.name: path.read_bytes() for path in folder.rglob("*.avi")}
    assert there == {n.split("/")[-1]: data for n, data in CLIPS.items() if "JumpRope" in n}
    assert not [*folder.rglob("*.partial")]
    assert all(status == 206 for status, _, path in server.served() if path == "/UCF-101.zip")


def test_the_rest_is_fetched_and_extracted_and_then_no_server_is_asked(served, capsys):
    profile, server, folder = served
    root = get_data(profile)
    assert root == folder / "ucf101" and sorted(p.stem for p in root.glob("*.zip")) == [*LABELS]
    store = FrameStore(root)
    assert len(store.clips) == 12 and store.flow_every(store.clips[0]) == profile.flow_step
    said = capsys.readouterr().out
    assert "did not work" in said and "12 clips, 0 of them here already" in said
    asked = len(server.served())
    server.close()
    assert get_data(profile) == root
    source = open_source(profile)  # nobody answers: the clips are read back out of the shards
    assert "for no server answers" in source.about and len(source.namelist()) == 12
    assert source.read("YoYo/v_YoYo_g01_c01.avi")[:4] == b"RIFF" and asked


def test_without_internet_a_sentence_says_what_to_do(served):
    profile, server, _ = served
    server.close()
    for ask in open_source, get_data:
        with pytest.raises(FetchError, match="no internet, fetch on one that.*'mini'") as refused:
            ask(profile)
        assert len(refused.value._render_traceback_()) == 1


def test_the_generator_answers_in_the_same_words():
    source = open_source(get_profile("mini"))
    names = source.namelist()
    assert len(names) == 1000 and source.read(names[0])[:4] == b"RIFF"
    assert source.folder.is_dir() and source.read(names[0]) == source.read(names[0])
