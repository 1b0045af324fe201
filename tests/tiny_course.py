"""A course small enough to train in a test: two classes of the mini set, networks 1/16 wide."""

from __future__ import annotations

from pathlib import Path

from twostream_utils.course import Course
from twostream_utils.mini import make_mini
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.store import FrameStore

RECIPE = Recipe(1, 0.01, batch_size=8)
TINY = get_profile(
    "folder", rgb_frames=2, rgb_step=2, flow_fields=3, short_side=48, crop=32, width=1 / 16,
    weights=None, positions=2, epoch_clips=0, recipe_clips=0,
    spatial=RECIPE, temporal=RECIPE, conv=RECIPE,
)  # fmt: skip


def make_course(root: Path, run_dir: Path) -> Course:
    """Generate the clips in `root`; networks are trained when they are asked for."""
    make_mini(root, progress=False, classes=("ClapOffice", "WipeBoard"), groups=3, workers=1)
    return Course(TINY, FrameStore(root), run_dir)
