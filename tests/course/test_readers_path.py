"""A reader's way through the course: from an empty clone, with every exercise unsolved.

`make test` runs every notebook and every twin by itself, on whatever data and networks are there.
Here they run in order, as `make run` does, in a copy of the repository that has neither.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import build as bn
import nbformat
import pytest
from test_notebooks import SOURCES, committed, each
from test_project import copy_repository

NOT_YET, RIGHT = "⏳", "✅"


def assert_nothing_is_solved(notebook: nbformat.NotebookNode) -> None:
    """Every exercise said "not yet", and none of them stopped the notebook."""
    for cell in notebook.cells:
        if bn.STUB in cell.source and re.search(r"^check\.\w+\(", cell.source, re.MULTILINE):
            text = "".join(output.get("text", "") for output in cell.outputs)
            assert NOT_YET in text and RIGHT not in text, text


@each
def test_committed_notebooks_are_unsolved(source):
    assert_nothing_is_solved(committed(source))
    stubs = source.text.count(bn.BEGIN)
    checks = len(re.findall(r"^check\.\w+\(", source.text, flags=re.MULTILINE))
    assert (stubs > 0) == (checks > 0)


@pytest.mark.slow
def test_from_an_empty_clone_with_every_exercise_unsolved(tmp_path):
    clone = copy_repository(tmp_path / "clone")  # no data, no networks, no outputs of a run
    assert not (clone / "data").exists() and not (clone / "runs").exists()
    others = {name: value for name, value in os.environ.items() if "TWOSTREAM" not in name}
    done = subprocess.run(
        [sys.executable, "notebooks/make/run.py", "--profile", "mini"], cwd=clone, text=True,
        env=others | {"PYTHONPATH": str(clone)},  # this copy of the module, not the installed one
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    executed = sorted((clone / "runs" / "mini" / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in executed] == [source.stem for source in SOURCES]
    for path in executed:
        assert_nothing_is_solved(nbformat.read(path, as_version=4))
