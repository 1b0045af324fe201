"""A reader's way through the course: from an empty clone, exercises unsolved, then all solved.

`make test` runs every notebook and every twin by itself, on whatever data and networks are there.
Here they run in order, as `make run` does, in a copy of the repository that has neither.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build as bn
import nbformat
import pytest
from test_project import copy_repository

SOURCES = bn.read_sources()
NOT_YET, RIGHT = "⏳", "✅"


def printed(notebook: nbformat.NotebookNode, cell_has: str) -> list[str]:
    """What the code cells that hold ``cell_has`` printed, one text a cell."""
    return [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code" and re.search(cell_has, cell.source, flags=re.MULTILINE)
    ]


def assert_nothing_is_solved(notebook: nbformat.NotebookNode) -> None:
    """Every exercise said "not yet", and none of them stopped the notebook."""
    asked = r"\A(?=[\s\S]*" + re.escape(bn.STUB) + r")(?=[\s\S]*^check\.\w+\()"
    for text in printed(notebook, asked):
        assert NOT_YET in text and RIGHT not in text, text


def assert_all_is_solved(notebook: nbformat.NotebookNode) -> None:
    """Every check that must pass said so."""
    for text in printed(notebook, r"^assert check\.\w+\("):
        assert RIGHT in text and NOT_YET not in text, text


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_committed_notebooks_are_unsolved(source):
    notebook = nbformat.read(bn.NOTEBOOKS / f"{source.stem}.ipynb", as_version=4)
    assert_nothing_is_solved(notebook)
    stubs = source.text.count(bn.BEGIN)
    checks = len(re.findall(r"^check\.\w+\(", source.text, flags=re.MULTILINE))
    assert (stubs > 0) == (checks > 0)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The files of the repository and nothing else: no data, no networks, no outputs of a run."""
    folder = copy_repository(tmp_path_factory.mktemp("clone"))
    assert not (folder / "data").exists() and not (folder / "runs").exists()
    return folder


def walk(clone: Path) -> list[nbformat.NotebookNode]:
    """Run the course in ``clone``; return the executed notebooks."""
    others = {name: value for name, value in os.environ.items() if "TWOSTREAM" not in name}
    command = [sys.executable, "notebooks/make/run.py", "--profile", "mini"]
    done = subprocess.run(
        command,
        cwd=clone,
        env=others | {"PYTHONPATH": str(clone)},  # this copy of the module, not the installed one
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    executed = sorted((clone / "runs" / "mini" / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in executed] == [source.stem for source in SOURCES]
    return [nbformat.read(path, as_version=4) for path in executed]


@pytest.mark.slow
def test_from_an_empty_clone_with_every_exercise_unsolved(clone):
    for notebook in walk(clone):
        assert_nothing_is_solved(notebook)


@pytest.mark.slow
def test_with_every_solution_pasted_in(clone):
    for source in SOURCES:
        shutil.copy(clone / "notebooks/solutions" / f"{source.stem}.ipynb", clone / "notebooks")
    for notebook in walk(clone):
        assert_all_is_solved(notebook)
