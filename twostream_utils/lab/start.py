"""Setting a notebook up: profile, data, seed, device, and a report of what was found."""

from __future__ import annotations

import os
import platform
import random
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import torch

from ..course import Course
from ..data.extract import make_shards
from ..data.fetch import FetchError, extraction_of
from ..data.lists import read_lists
from ..device import PRECISIONS, describe_device, mixed_precision, pick_device
from ..profiles import PROFILES, Profile, get_profile
from ..store import FOLDERS, FrameStore, find_archives

ROOT = Path(__file__).resolve().parents[2]
DRIVE = Path("/content/drive/MyDrive")  # where Colab shows a mounted Google Drive


@contextmanager
def sentence_alone() -> Iterator[None]:
    """Let a notebook show what a reader can put right as a sentence, without the traceback."""
    try:
        yield
    except (ValueError, OSError, FetchError) as error:
        sentence = f"{type(error).__name__}: {error}"
        error._render_traceback_ = lambda: [sentence]  # IPython asks for it
        raise


@contextmanager
def command() -> Iterator[None]:
    """Let a command end with such a sentence, and print what its console cannot show as ``?``."""
    sys.stdout.reconfigure(errors="replace")  # Windows, into a file: no minus sign, no arrow
    try:
        yield
    except Exception as error:
        if hasattr(error, "_render_traceback_"):
            raise SystemExit(f"error: {error}") from None
        raise


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


def prepare_data(profile: Profile, videos: str | Path | None = None) -> Path:
    """Make sure that the shards of ``profile`` are there and return their folder.

    ``videos`` is a folder of class folders, which is extracted to shards; without it the mini set
    is generated, and shards or archives of other profiles must be there already. Both go on where
    an earlier call was interrupted. Raises ``FileNotFoundError`` with the commands to give.
    """
    root = ROOT / "data" / profile.data
    if profile.source == "generated":
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
    place = Path.as_posix if in_colab() else shown
    scripts, root = place(ROOT / "data_scripts"), place(ROOT / "data" / profile.data)
    first = [f"python {scripts}/{profile.source.format(name=profile.name)}"] * bool(profile.source)
    fetched = profile.source.partition(".")[0].removeprefix("fetch_")
    videos = place(ROOT / "data" / f"{fetched}_videos") if first else "VIDEOS"  # a folder a class
    words = ["python", f"{scripts}/extract.py", videos, root, *extraction_of(profile)]
    return [*first, shlex.join(words)]


@sentence_alone()
def choose_profile(name: str, **changes) -> Profile:
    """Return the profile ``name``, or ``TWOSTREAM_PROFILE`` if that is set, with ``changes``.

    ``TWOSTREAM_GROUPS`` becomes its ``group_pattern``, for folders of videos: a pattern or an
    official split goes before it.
    """
    chosen = get_profile(os.environ.get("TWOSTREAM_PROFILE") or name, **changes)
    groups = os.environ.get("TWOSTREAM_GROUPS")
    if groups and chosen.group_pattern is None and chosen.split_rule == "folds":
        return replace(chosen, group_pattern=groups)
    return chosen


@sentence_alone()
def setup(
    profile: str = "mini", *, split: int = 1, seed: int = 0, quiet: bool = False, **changes
) -> Course:
    """Set one notebook up and return its :class:`~twostream_utils.course.Course`.

    ``profile`` is the one word that changes the scale; the environment variable
    ``TWOSTREAM_PROFILE`` goes before it. ``TWOSTREAM_DATA`` names a folder of videos to extract,
    ``TWOSTREAM_GROUPS`` is the ``group_pattern`` of their names, and ``TWOSTREAM_SPLIT`` a list of
    one's own (see ``data.lists``). ``changes`` overwrite single sizes, such as ``rgb_frames=5``.
    Data that is missing is generated or extracted.
    """
    chosen = choose_profile(profile, **changes)
    mixed_precision(pick_device())  # before the minutes of the data: is what was asked for there?
    root = prepare_data(chosen, os.environ.get("TWOSTREAM_DATA") or None)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    store = FrameStore(root, cache_gb=chosen.cache_gb)
    workers = 0 if chosen.cache_gb else min(8, joblib.cpu_count())
    given = os.environ.get("TWOSTREAM_SPLIT")
    sides, groups = read_lists(given, store.labels) if given else ({}, {})
    store.regroup(groups)
    runs = runs_folder()
    # A checkpoint an epoch would fill a free Drive's 15 GB: what is replaced stays in its bin.
    scratch = Path("/content/two_stream_unfinished") if runs.is_relative_to(DRIVE) else None
    course = Course(chosen, store, runs / chosen.name, split, seed, workers, sides, scratch)
    if not quiet:
        report(course)
        for name in changes:
            print_change(course, name)
    return course


def print_change(course: Course, name: str) -> None:
    """Print that a size is another than the profile's, or that the data on disk is not of it."""
    usual, value = (getattr(p, name) for p in (PROFILES[course.profile.name], course.profile))
    clip, there = course.train[0], value
    if course.profile.source == "generated" or not os.environ.get("TWOSTREAM_DATA"):
        if name == "flow":  # videos that are given are extracted as it says
            there = course.store.flow_algorithm(clip)
        elif name == "short_side":
            there = min(course.store.size(clip))
    if there != value:
        print(
            f"not changed: {name} is {repr(there) if there else 'not known'} in the data on disk, "
            f"not {value!r}. To change it, extract the videos anew with data_scripts/extract.py"
        )
    elif value != usual:
        print(f"changed: {name} is {value!r}, not {usual!r}")


def report(course: Course) -> None:
    """Print versions, device and data in a few lines."""
    device = pick_device()
    n_train, n_val, n_test = len(course.train), len(course.val), len(course.test)
    print(
        f"Python {platform.python_version()} · torch {torch.__version__} · "
        f"{describe_device(device)} · precision {PRECISIONS[mixed_precision(device)]}"
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
    if course.sides or course.store.sides:
        groups = course.store.groups
        torn = {groups[k] for k in course.train} & {groups[k] for k in course.test}
        print(f"the split is your own; {len(torn)} groups have clips on both sides of it")
    elif course.profile.split_rule == "folds":
        from .own_classes import group_warnings  # which imports this file

        for warning in group_warnings(course):
            print(f"warning: {warning}")
    if course.run_dir.is_relative_to(DRIVE):
        print("finished networks and scores are kept on Google Drive, unfinished ones are not")
    elif in_colab():
        print("checkpoints and scores end with this session: mount Google Drive to keep them")
