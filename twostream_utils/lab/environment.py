"""Is everything here that the course needs? One line for each."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
from functools import partial

from ..device import describe_device, pick_device
from ..profiles import get_profile
from .start import ROOT, runs_folder

NOT_IN_COLAB = {"jupyterlab", "nbclient", "nbformat"}  # it has a front end of its own


def check_environment(profile: str = "mini") -> bool:
    """Print an [OK] or [FAIL] line for everything that the course needs; return whether all is."""

    def at_least(found: str, needed: str) -> str:
        have, need = ([int(n) for n in re.findall(r"\d+", v)] for v in (found, needed))
        if have < need:
            raise RuntimeError(f"{found} is too old, the course needs {needed}")
        return found

    def version_of(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if not package.startswith("opencv"):
                raise
            return importlib.metadata.version("opencv-contrib-python")  # Colab's, with windows

    def room() -> str:
        probe, free = runs_folder() / ".probe", shutil.disk_usage(ROOT).free / 1e9
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        if free < 2:
            raise RuntimeError(f"only {free:.1f} GB free")
        return f"{probe.parent.name}/ can be written, {free:.0f} GB free"

    tests = {"Python": (lambda: at_least(platform.python_version(), "3.10"), "Install a newer one")}
    _, _, listed = (ROOT / "pyproject.toml").read_text("utf-8").partition("\ndependencies = ")
    for package, floor in re.findall(r'"([\w-]+)>=([\d.]+)"', listed.partition("]")[0]):
        if package not in NOT_IN_COLAB:
            version = partial(lambda p, floor: at_least(version_of(p), floor), package, floor)
            tests[package] = version, f"pip install -U {package}"
    tests["disk"] = room, "Clone the course to a folder of your own with 2 GB of room"
    tests["profile"] = lambda: get_profile(profile).title, "setup takes one of them"
    tests["device"] = lambda: describe_device(pick_device()), "Reinstall torch"
    ready = True
    for what, (test, way_out) in tests.items():
        try:
            print(f"[OK] {what}: {test()}")
        except Exception as error:
            print(f"[FAIL] {what}: {error}. {way_out}")
            ready = False
    return ready
