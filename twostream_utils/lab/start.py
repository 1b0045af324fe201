"""Setting a notebook up: profile, data, seed, device, and a report of what was found."""

from __future__ import annotations

import importlib.metadata
import os
import random
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import torch

from ..course import Course
from ..data.extract import make_shards
from ..device import PRECISIONS, describe_device, mixed_precision, pick_device
from ..profiles import PROFILES, Profile, get_profile
from ..store import FOLDERS, FrameStore, find_archives
from .own_classes import group_warnings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "torch", "torchvision", "numpy", "opencv-contrib-python-headless", "accelerate",
    "scikit-learn", "scipy", "matplotlib", "ipywidgets", "ipython", "pillow", "tqdm", "safetensors",
)  # fmt: skip

DRIVE = Path("/content/drive/MyDrive")  # where Colab shows a mounted Google Drive


def runs_folder() -> Path:
    """Return the folder of checkpoints and scores, which a later session goes on from.

    ``TWOSTREAM_RUNS`` names it; else it is on Google Drive if that is mounted, since a Colab
    session ends without warning and its disk with it; else ``runs`` of the repository.
    """
    if given := os.environ.get("TWOSTREAM_RUNS"):
        return Path(given).expanduser().resolve()
    return DRIVE / "two_stream_runs" if DRIVE.is_dir() else ROOT / "runs"


def in_colab() -> bool:
    """Return whether this is a notebook in Google Colab."""
    return "google.colab" in sys.modules


def shown(path: Path) -> str:
    """Return ``path`` as a reader should see it: from the repository on, if it lies there."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def data_root(profile: Profile) -> Path:
    """Return where the frames and flow of ``profile`` lie: ``data/<name>`` of the repository."""
    name = "ucf101" if profile.name.startswith("ucf") else profile.name
    return ROOT / "data" / name


def prepare_data(profile: Profile, videos: str | Path | None = None) -> Path:
    """Make sure that the shards of ``profile`` are there and return their folder.

    The mini set is generated. For the other profiles ``videos`` is a folder of class folders,
    which is extracted to shards; without it shards or archives must be there already. Both go on
    where an earlier call was interrupted. Raises ``FileNotFoundError`` with the commands to give.
    """
    root = data_root(profile)
    if profile.name == "mini":
        from ..mini import make_mini

        make_mini(root)
    elif videos:
        make_shards(videos, root, profile)
    elif not find_archives(root) and not any((root / folder).is_dir() for folder in FOLDERS):
        commands = "\n  ".join(_commands(profile))
        raise FileNotFoundError(
            f"no data for profile {profile.name!r} in {shown(root)}. In the folder of the course, "
            f"give\n  {commands}\nor use the profile 'mini', which needs no data"
        )
    return root


def _commands(profile: Profile) -> list[str]:
    """What brings the shards of ``profile``: fetching where there is a source, and extraction.

    Paths are those of the repository, and in Colab, where cells run elsewhere, absolute.
    """
    root = data_root(profile)
    place = Path.as_posix if in_colab() else shown
    fetch = {"ucf101": f"fetch_ucf101.py --profile {profile.name}", "weizmann": "fetch_weizmann.py"}
    scripts = place(ROOT / "data_scripts")
    first = [f"python {scripts}/{fetch[root.name]}"] if root.name in fetch else []
    videos = f"{place(root)}_videos" if first else "VIDEOS"  # with a folder of videos a class
    words = [f"{scripts}/extract.py", videos, place(root), "--short-side", profile.short_side]
    if profile.group_pattern:
        words += ["--group-pattern", profile.group_pattern]
    return [*first, shlex.join(["python", *map(str, words)])]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def choose_profile(name: str, **changes) -> Profile:
    """Return a profile with ``changes`` and with ``TWOSTREAM_GROUPS`` as its ``group_pattern``.

    The variable is for folders of videos: a pattern or an official split goes before it.
    """
    chosen = get_profile(name, **changes)
    groups = os.environ.get("TWOSTREAM_GROUPS")
    if groups and chosen.group_pattern is None and chosen.split_rule == "folds":
        return replace(chosen, group_pattern=groups)
    return chosen


def setup(
    profile: str = "mini",
    *,
    split: int = 1,
    seed: int = 0,
    quiet: bool = False,
    **changes,
) -> Course:
    """Set one notebook up and return its :class:`~twostream_utils.course.Course`.

    ``profile`` is the one word that changes the scale; the environment variable
    ``TWOSTREAM_PROFILE`` goes before it. ``TWOSTREAM_DATA`` names a folder of videos to extract,
    and ``TWOSTREAM_GROUPS`` is the ``group_pattern`` of their names. ``changes`` overwrite single
    sizes, such as ``rgb_frames=5``. Data that is missing is generated or extracted.
    """
    chosen = choose_profile(os.environ.get("TWOSTREAM_PROFILE") or profile, **changes)
    root = prepare_data(chosen, os.environ.get("TWOSTREAM_DATA") or None)
    seed_everything(seed)
    store = FrameStore(root, cache_gb=chosen.cache_gb)
    workers = 0 if chosen.cache_gb else min(8, joblib.cpu_count())
    course = Course(chosen, store, runs_folder() / chosen.name, split, seed, workers)
    if not quiet:
        report(course)
    return course


def report(course: Course) -> None:
    """Print versions, device and data in a few lines."""
    device = pick_device()
    n_train, n_val, n_test = len(course.train), len(course.val), len(course.test)
    print(
        f"Python {sys.version.split()[0]} · torch {torch.__version__} · {describe_device(device)}"
        f" · precision {PRECISIONS[mixed_precision(device)]}"
    )
    print(f"profile {course.profile.name!r}: {course.profile.title}")
    print(
        f"{len(course.classes)} classes · split {course.split} · clips: {n_train} train, "
        f"{n_val} validation, {n_test} test · seed {course.seed}"
    )
    wanted = course.profile.classes or course.classes
    if missing := [name for name in wanted if name not in course.classes]:
        first = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        print(
            f"the data has {len(course.classes)} of the {len(wanted)} classes of this profile; "
            f"without {first}. To get the rest:\n  {_commands(course.profile)[0]}"
        )
    if course.profile.split_rule == "folds":
        for warning in group_warnings(course):
            print(f"warning: {warning}")
    if course.run_dir.is_relative_to(DRIVE):
        print("checkpoints and scores are kept on Google Drive: the next session goes on from them")
    elif in_colab():
        print("checkpoints and scores end with this session: mount Google Drive to keep them")


def check_environment(profile: str = "mini") -> bool:
    """Print one [OK] or [FAIL] line for everything that the course needs; return whether all is."""
    lines: list[tuple[bool, str]] = []

    def check(what: str, test: Callable[[], str], way_out: str) -> None:
        try:
            lines.append((True, f"{what}: {test()}"))
        except Exception as error:
            lines.append((False, f"{what}: {error}. {way_out}"))

    def python_version() -> str:
        if sys.version_info < (3, 10):
            raise RuntimeError(f"{sys.version.split()[0]} is too old")
        return sys.version.split()[0]

    floors = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8")))

    def version_of(package: str) -> str:
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if not package.startswith("opencv"):
                raise
            found = importlib.metadata.version("opencv-contrib-python")  # Colab's, with windows
        have, need = ([int(n) for n in re.findall(r"\d+", v)] for v in (found, floors[package]))
        if have < need:
            raise RuntimeError(f"{found} is too old, the course needs {floors[package]}")
        return found

    def free_disk() -> str:
        free = shutil.disk_usage(ROOT).free / 1e9
        if free < 2:
            raise RuntimeError(f"only {free:.1f} GB free")
        return f"{free:.0f} GB free"

    def writable() -> str:
        folder = runs_folder()
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
        return f"{folder.name}/ can be written"

    check("Python", python_version, "Install Python 3.10 or newer")
    for package in PACKAGES:
        check(package, lambda p=package: version_of(p), f"pip install -U {package}")
    check("disk", free_disk, "The mini set and its networks need about 2 GB")
    check("folder", writable, "Clone the course to a folder of your own")
    check("profile", lambda: get_profile(profile).title, f"Choose one of {', '.join(PROFILES)}")
    check("device", lambda: describe_device(pick_device()), "Reinstall torch")
    for ok, line in lines:
        print(f"[{'OK' if ok else 'FAIL'}] {line}")
    return all(ok for ok, _ in lines)
