"""The repository as a whole: commands, dependencies, hooks and workflow, committed files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from outputs import MACHINE_PATH

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def tracked_files() -> list[Path]:
    """What git knows or would add; skips where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: the list of the project's files is not known")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def copy_repository(folder: Path) -> Path:
    """Copy the files of the repository, and nothing else, to ``folder`` and return it."""
    for path in tracked_files():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return folder


def made(*words: str, **variables: str) -> dict[str, str]:
    """The variables of the course that a recipe of the Makefile sees."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    show = "show:\n\t@env | grep ^TWOSTREAM_ || true\n"
    given = ("TWOSTREAM_", "MAKE", "PROFILE", "DATA", "GROUPS")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(given)}
    done = subprocess.run(
        ["make", "-s", "-f", "Makefile", "-f", "-", "show", *words], input=show, cwd=ROOT,
        env=clean | variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_make_exports_what_was_given_and_leaves_the_word_in_the_cell_alone():
    assert made() == {}
    assert made("PROFILE=ucf10") == {"TWOSTREAM_PROFILE": "ucf10"}
    assert made(PROFILE="ucf10") == {"TWOSTREAM_PROFILE": "ucf10"}
    assert made(TWOSTREAM_PROFILE="ucf10") == {"TWOSTREAM_PROFILE": "ucf10"}
    given = made("PROFILE=folder", f"DATA={ROOT}", r"GROUPS=^([a-z]+)_\d$")
    assert given == {
        "TWOSTREAM_PROFILE": "folder", "TWOSTREAM_DATA": str(ROOT),
        "TWOSTREAM_GROUPS": r"^([a-z]+)_\d$",
    }  # fmt: skip


def floors() -> dict[str, str]:
    """Lowest versions in pyproject.toml by package, those of the extras included."""
    lists = r"^(?:dependencies|dev|book) = \[\n(.*?)^\]"
    blocks = re.findall(lists, PYPROJECT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    lines = re.findall(r'"([^"]+)"', "".join(blocks))
    return dict(re.fullmatch(r"([a-z0-9-]+)>=([0-9.]+)", line).groups() for line in lines)


def test_each_dependency_has_a_floor_and_a_reason():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    reasons = dict(re.findall(r"^ +# ([a-z0-9-]+): ([\w/.-]+), \S", text, flags=re.MULTILINE))
    assert sorted(reasons) == sorted(floors())
    for file in reasons.values():
        assert any((place / file).exists() for place in (ROOT / "twostream_utils", ROOT)), file
    listed = yaml.safe_load(text)["dependencies"]
    assert listed[0].startswith("python") and listed[1:] == ["pip", {"pip": ["-e .[dev,book]"]}]


def test_every_package_is_installed():
    found = {p.parent.relative_to(ROOT) for p in (ROOT / "twostream_utils").rglob("__init__.py")}
    assert all(f'"{".".join(path.parts)}"' in PYPROJECT for path in found), found


def test_the_workflow_names_files_that_exist_and_the_oldest_python():
    workflow = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    named = re.findall(r"\b(?:tests|notebooks)/[\w/]+(?:\.py|\.ipynb)?", workflow)
    assert len(named) > 5
    for name in named:
        assert (ROOT / name).exists(), name
    oldest, _ = yaml.safe_load(workflow)["jobs"]["linux"]["strategy"]["matrix"]["include"]
    assert f'requires-python = ">={oldest["python"]}"' in PYPROJECT


def test_no_paths_of_one_machine():
    for path in tracked_files():
        if path.suffix in {".safetensors", ".npz", ".png", ".webp"}:
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":  # figures in base64 may hold anything
            text = re.sub(r'"image/\w+": "[^"]*"', "", text)
        if match := MACHINE_PATH.search(text):
            pytest.fail(f"{path.relative_to(ROOT)} holds a path of one machine: {match[0]}")


def test_python_files_are_ruff_clean():
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
