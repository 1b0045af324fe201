"""A notebook opened alone, as Colab does it: it fetches the course, installs it, and runs.

The session is real: an environment of its own, into which pip installs, and a kernel in it that
knows `google.colab`. Only the network is missing: git finds the repository's address on the disk.
`make colab-check` runs the same with Colab's versions of everything (TWOSTREAM_COLAB_PYTHON).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import colab_boot
import nbformat
import pytest
from conftest import moving_frames, write_video
from nbclient import NotebookClient
from test_project import ROOT, copy_repository

REPOSITORY = "someone/two-stream"
PYTHON = os.environ.get("TWOSTREAM_COLAB_PYTHON") or sys.executable
NUMBERS = ["00"]
WHOLE = "TWOSTREAM_COLAB_PYTHON" in os.environ  # else the set-up cell alone: others run elsewhere
if WHOLE:  # these show an explorer, the chooser, or train
    NUMBERS += ["01", "02", "03", "06", "07", "09"]


def run(*command: str | Path, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def publish(project: Path, name: str, *numbers: str) -> None:
    """Give the project, or some of its notebooks, an address, as docs/colab.md says it."""
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    line = f'Repository = "https://github.com/{name}"'
    text, found = re.subn(r"^(# )?Repository = .*$", line, text, flags=re.MULTILINE)
    assert found == 1
    pyproject.write_text(text, encoding="utf-8")
    build = sys.executable, "notebooks/make/build.py", *numbers
    assert run(*build, cwd=project) == ""  # no outputs dropped


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """The project with an address."""
    project = copy_repository(tmp_path_factory.mktemp("published"))
    publish(project, REPOSITORY)
    return project


@pytest.fixture(scope="module")
def session(published, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """Colab's disk and environment variables: an empty folder, and git's view of GitHub."""
    home = tmp_path_factory.mktemp("colab")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    run(*git, "init", "-q", "-b", "main", cwd=published)
    run(*git, "add", "-A", cwd=published)
    run(*git, "commit", "-q", "-m", "Published", cwd=published)
    bare = home / "github.com" / f"{REPOSITORY}.git"
    run("git", "clone", "-q", "--bare", published, bare)
    # A clone starts with the generated clips, which the first cell would take a minute to make.
    hook = home / "template" / "hooks" / "post-checkout"
    hook.parent.mkdir(parents=True)
    data = ROOT / "data" / "mini"
    data.mkdir(parents=True, exist_ok=True)
    hook.write_text(f'#!/bin/sh\nmkdir data && ln -s "{data.resolve()}" data/mini\n')
    hook.chmod(0o755)
    runs = home / "runs"
    if (ROOT / "runs" / "mini").is_dir():
        shutil.copytree(ROOT / "runs" / "mini", runs / "mini")
    content = home / "content"
    content.mkdir()
    return content, {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{(home / 'github.com').as_uri()}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "GIT_TEMPLATE_DIR": str(hook.parents[1]),
        "TWOSTREAM_PROFILE": "mini",
        "TWOSTREAM_RUNS": str(runs),
    }


@pytest.fixture(scope="module")
def colab(session, tmp_path_factory) -> dict[str, str]:
    """A kernel with the packages of PYTHON and without the course; its variables.

    The packages are seen through a .pth file. Those that lie there as .pth files themselves, as
    this project does, are not: nested ones are not read.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(PYTHON, "-m", "venv", "--without-pip", folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own, base = Path(run(python, "-c", where).strip()), run(PYTHON, "-c", where).strip()
    (own / "base.pth").write_text(base)
    (own / "google").mkdir()
    (own / "google" / "colab.py").write_text("")
    launcher = folder / "colab_kernel_launcher.py"
    launcher.write_text(
        "import sys; sys.path.pop(0)\n"
        "import google.colab\n"
        "from ipykernel import kernelapp\n"
        "kernelapp.launch_new_instance()\n"
    )
    spec = folder / "jupyter" / "kernels" / "colab" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [str(python), str(launcher), "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TWOSTREAM_DATA")}
    variables |= session[1] | {"JUPYTER_PATH": str(folder / "jupyter")}
    variables["PATH"] = os.pathsep.join([str(python.parent), variables["PATH"]])
    if importable(python, "from setuptools.command import bdist_wheel"):
        variables["PIP_NO_BUILD_ISOLATION"] = "0"  # it means yes: build with what is there
    assert not importable(python, "import twostream_utils")
    return variables | {"SESSION": str(own)}


def importable(python: Path, code: str) -> bool:
    return subprocess.run([python, "-I", "-c", code], capture_output=True).returncode == 0


def open_alone(published: Path, number: str, content: Path, variables: dict[str, str], *more: str):
    """Execute a notebook as Colab does: alone in a folder; its set-up cell twice, then `more`."""
    path = next((published / "notebooks").glob(f"{number}_*.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    setup = next(cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
    again = nbformat.v4.new_code_cell(setup.source)
    where = nbformat.v4.new_code_cell("import os; print(os.getcwd())")
    others = [nbformat.v4.new_code_cell(source) for source in more]
    notebook.cells = [*(notebook.cells if WHOLE else [setup]), again, where, *others]
    # The client looks for the kernel where this process says.
    old = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = variables["JUPYTER_PATH"]
    try:
        NotebookClient(
            notebook, timeout=1800, kernel_name="colab",
            resources={"metadata": {"path": str(content)}},
        ).execute(env=variables, stderr=subprocess.DEVNULL)  # fmt: skip
    finally:
        os.environ.pop("JUPYTER_PATH")
        if old is not None:
            os.environ["JUPYTER_PATH"] = old
    return setup, again, where, *others


def printed(cell) -> str:
    return "".join(o.text for o in cell.outputs if o.output_type == "stream")


def stamps(folder: Path) -> dict[str, int]:
    """When each file of an environment was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_notebook_alone_fetches_the_course_and_the_next_session_has_it(
    published, session, colab, tmp_path
):
    content, own = session[0], Path(colab["SESSION"])
    assert not list(content.iterdir())
    write_video(tmp_path / "v_YoYo_g01_c01.avi", moving_frames(6))
    # As docs/colab.md says it, and then what that printed, as a cell.
    fetch = "{ROOT}/data_scripts/fetch_ucf101.py"
    get = f"said = !python {fetch} --classes YoYo --source {tmp_path}"
    cells = "from twostream_utils.lab import ROOT\n" + get, "command = said[-1].strip()\n!{command}"
    setup, again, where, _, extracted = open_alone(published, NUMBERS[0], content, colab, *cells)
    clone = content / "two-stream"
    assert "The course is in two-stream/" in printed(setup)
    assert "The course is in" not in printed(again) and "profile 'mini'" in printed(again)
    assert Path(printed(where).strip()) == (clone / "notebooks").resolve()
    assert [path.name for path in content.iterdir()] == ["two-stream"]
    assert "1 clips (1 new), 6 frames" in printed(extracted)
    assert (clone / "data" / "ucf101" / "YoYo.zip").is_file()
    brought = {path.name.split("-")[0].lower() for path in own.glob("*.dist-info")}
    assert not brought & {"torch", "torchvision", "ipython", "ipykernel", "ipywidgets", "numpy"}
    assert "two_stream_course" in brought

    # A new session of the same machine: the repository is out of reach, and nothing needs it.
    bare = content.parent / "github.com"
    bare.rename(bare.with_name("gone"))
    before = stamps(own)
    try:
        for number in NUMBERS:
            setup, *_ = open_alone(published, number, content, colab)
            assert "profile 'mini'" in printed(setup) and "fatal" not in printed(setup)
    finally:
        bare.with_name("gone").rename(bare)
    assert stamps(own) == before


def test_an_address_goes_everywhere_and_outputs_stay(published):
    """One place holds it; a build writes it into notebooks, twins and README."""

    def texts(path: Path) -> list[str]:
        changed = path, path.parent / "solutions" / path.name, published / "README.md"
        return [page.read_text(encoding="utf-8") for page in changed]

    for path in sorted((published / "notebooks").glob("[0-9]*.ipynb")):
        ours, theirs = (
            json.loads((at / "notebooks" / path.name).read_text(encoding="utf-8"))["cells"]
            for at in (ROOT, published)
        )
        assert [c.get("outputs") for c in ours] == [c.get("outputs") for c in theirs]
        assert all(REPOSITORY in text for text in texts(path)), path
    name = "other/name.course"
    publish(published, name, path.stem[:2])
    assert all(name in text and REPOSITORY not in text for text in texts(path))


def test_only_what_is_missing_is_added():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert colab_boot.missing(pyproject) == []
    more = pyproject.replace("dependencies = [\n", 'dependencies = [\n    "no-such>=1",\n', 1)
    assert colab_boot.missing(more) == ["no-such>=1"]


def test_what_pip_says_is_passed_on():
    with pytest.raises(RuntimeError, match="pip install .* failed:\n(.|\n)*no-such-folder"):
        colab_boot.pip("--no-deps", "-e", "no-such-folder")
