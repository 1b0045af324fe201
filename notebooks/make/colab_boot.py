"""Make a bare Colab session ready for the course; the set-up cell of a notebook runs this.

That cell has just cloned the repository. Here the package is installed without its dependencies,
those that are missing are added, and the session moves to the notebooks. Packages that a session
brings along, torch above all, keep their version: another one would need a restart.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JUPYTER = {"ipython", "jupyterlab", "nbclient", "nbformat"}  # Colab is the Jupyter
# Names to import, where they are not the name of the package.
MODULES = {"opencv-contrib-python-headless": "cv2", "pillow": "PIL", "scikit-learn": "sklearn"}


def missing(pyproject: str) -> list[str]:
    """Return the requirements in the text of pyproject.toml that notebooks cannot import."""
    block = re.search(r"^dependencies = \[\n(.*?)^\]", pyproject, re.MULTILINE | re.DOTALL)[1]
    lines = {re.match(r"[\w-]+", line)[0]: line for line in re.findall(r'"([^"]+)"', block)}
    return [
        line for name, line in lines.items()
        if name not in JUPYTER and find_spec(MODULES.get(name, name)) is None
    ]  # fmt: skip


def pip(*arguments: str) -> None:
    """Install. Raises ``RuntimeError`` with what pip said."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stdout}{done.stderr}")


def boot() -> None:
    """Install what is missing and move to the notebooks. Nothing to do: nothing is done."""
    if find_spec("twostream_utils") is not None:
        return
    pins = sorted({f"{each.metadata['Name']}=={each.version}" for each in distributions()})
    pip("--no-deps", "-e", str(ROOT))
    if lines := missing((ROOT / "pyproject.toml").read_text(encoding="utf-8")):
        print(f"Adding what this session lacks: {', '.join(lines)}")
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(pins), encoding="utf-8")
            pip("-c", str(constraints), *lines)
    sys.path.insert(0, str(ROOT))  # an editable install is seen by the next session only
    importlib.invalidate_caches()
    os.chdir(ROOT / "notebooks")
    print(f"The course is in {ROOT.name}/")


if __name__ == "__main__":
    boot()
