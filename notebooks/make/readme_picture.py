"""Make the three pictures of the README: notebooks/figures/*.png, each below 150 kB.

    python notebooks/make/readme_picture.py

The first is drawn from the mini set. The other two are outputs of committed notebooks, found by how
their alt text begins, so run this after the notebooks were built.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import nbformat
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FIGURES = NOTEBOOKS / "figures"
MAX_BYTES = 150_000
CLASSES = ("BoxingPunchingBag", "JumpRope", "TrampolineJumping")
COLUMNS = 2
# file name: notebook, and a pattern at the start of the alt text of one of its pictures
OUTPUTS = {
    "clip_explorer.png": ("02_stacks", r"Frame \d+ of \d+ of \S+, and its flow in colour"),
    "rescued_clip.png": ("06_average_fusion", r"\w+: spatial says \w+, temporal says"),
}


def draw_streams(path: Path) -> None:
    """Draw what both streams see of three clips, two moments each."""
    import matplotlib.pyplot as plt

    from twostream_utils.flow import decode
    from twostream_utils.lab import start as course
    from twostream_utils.lab.flow_colours import flow_to_rgb
    from twostream_utils.lab.flow_plots import liveliest, with_wheel

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
    with_wheel(fig, 4).savefig(path, dpi=90)


def output_picture(stem: str, alt: str) -> tuple[bytes, str]:
    """The first picture of a committed notebook whose alt text begins as ``alt``, and that text.

    Raises ``LookupError`` naming the notebook if it has none.
    """
    for cell in nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells:
        for output in cell.get("outputs", []):
            text = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if re.match(alt, text):
                return base64.b64decode(output.data["image/png"]), text
    raise LookupError(f"{stem}.ipynb has no picture whose alt text begins with {alt!r}")


def small(png: bytes) -> bytes:
    """``png``, in 256 colours if it is larger than a page should load."""
    if len(png) <= MAX_BYTES:
        return png
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, Image.Quantize.FASTOCTREE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    draw_streams(FIGURES / "two_streams.png")
    for name, (stem, alt) in OUTPUTS.items():
        png, text = output_picture(stem, alt)
        (FIGURES / name).write_bytes(small(png))
        print(f"{name}: {text}")


if __name__ == "__main__":
    main()
