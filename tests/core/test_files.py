"""A file is whole or not there, whatever happens while it is written."""

import os
import time

import pytest

from twostream_utils.files import atomic_write


def test_the_name_comes_last_and_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "a.json"
    with atomic_write(path) as part:
        part.write_text("new")
        assert not path.exists() and part.parent == path.parent
    with pytest.raises(RuntimeError, match="cut"), atomic_write(path) as part:
        part.write_text("half")
        raise RuntimeError("cut")
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_what_a_kill_left_goes_with_a_later_write_and_a_live_writer_stays(tmp_path):
    path = tmp_path / "a.pt"
    names = "a.pt.123.partial", "a.pt.456.partial", "b.pt.123.partial"
    orphan, live, other = (tmp_path / name for name in names)
    for file in orphan, live, other:
        file.write_text("half")
    for file in orphan, other:
        os.utime(file, (time.time() - 7200,) * 2)
    with atomic_write(path) as part:
        part.write_text("new")
    assert sorted(tmp_path.iterdir()) == [path, live, other]


def test_a_file_that_is_held_open_is_waited_for_and_then_named(tmp_path, monkeypatch):
    """As on Windows, where nobody can replace what something else reads."""
    path, replace, refusals = tmp_path / "a.pt", os.replace, [2]

    def held(part, target):
        if refusals[0]:
            refusals[0] -= 1
            raise PermissionError(13, "Access is denied")
        replace(part, target)

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with atomic_write(path) as part:
        part.write_text("old")
    refusals[0] = 99
    with pytest.raises(PermissionError, match="a.pt is open elsewhere: close it"):
        with atomic_write(path) as part:
            part.write_text("new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
