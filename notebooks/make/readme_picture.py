"""Draw the picture of the README from the mini set: notebooks/figures/two_streams.png.

    python notebooks/make/readme_picture.py
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from index import ROOT

from twostream_utils.flow import decode, flow_to_rgb
from twostream_utils.lab.flow_plots import liveliest, with_wheel
from twostream_utils.lab.start import setup

CLASSES = ("BoxingPunchingBag", "JumpRope", "TrampolineJumping")
COLUMNS = 2


def main() -> None:
    c = setup("mini", quiet=True)
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
    with_wheel(fig, 4).savefig(ROOT / "notebooks" / "figures" / "two_streams.png", dpi=90)


if __name__ == "__main__":
    main()
