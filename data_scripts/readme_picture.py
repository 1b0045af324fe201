"""Draw the picture of the README from the mini set: notebooks/figures/two_streams.png.

python data_scripts/readme_picture.py
"""

from __future__ import annotations

import matplotlib.pyplot as plt

from twostream_utils import course
from twostream_utils.flow import decode, flow_to_rgb
from twostream_utils.flow_plots import liveliest

CLASSES = ("BoxingPunchingBag", "JumpRope", "TrampolineJumping")
COLUMNS = 2


def main() -> None:
    c = course.setup("mini", quiet=True)
    fig, axes = plt.subplots(
        2, COLUMNS * len(CLASSES), figsize=(12, 3.3), gridspec_kw={"wspace": 0.04, "hspace": 0.06}
    )
    for k, label in enumerate(CLASSES):
        clips = [clip for clip in c.test if c.store.label(clip) == label]
        clip, lively = liveliest(c.store, clips)
        first = min(lively, c.store.n_flow(clip) - 3 * (COLUMNS - 1))
        for column in range(COLUMNS):
            at = first + 3 * column
            top, bottom = axes[:, k * COLUMNS + column]
            top.imshow(c.store.rgb(clip, at))
            bottom.imshow(flow_to_rgb(decode(c.store.flow(clip, at)), max_px=4))
            for axis in (top, bottom):
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
        axes[0, k * COLUMNS].set_title(label, loc="left", fontweight="bold")
    axes[0, 0].set_ylabel("spatial stream")
    axes[1, 0].set_ylabel("temporal stream")
    path = course.ROOT / "notebooks" / "figures" / "two_streams.png"
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path, dpi=90, facecolor="white", bbox_inches="tight")
    print(f"wrote {path.relative_to(course.ROOT)}")


if __name__ == "__main__":
    main()
