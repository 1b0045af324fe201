"""Draw the diagrams of the streams and of both fusions: notebooks/figures/*.svg.

    python notebooks/make/draw_diagrams.py

Sizes are those of a full-size network: VGG-19, crops of 224 px. Text stays text, on a white ground,
so that the diagrams can be read, searched and enlarged on light and dark pages.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

FIGURES = Path(__file__).resolve().parents[2] / "notebooks" / "figures"
INK, GREY = "#222222", "#555555"
# Fill and edge of what belongs to the spatial stream, the temporal stream, both.
SPATIAL, TEMPORAL, BOTH = ("#d8e9f4", "#0072B2"), ("#fbe4d6", "#D55E00"), ("#d6efe6", "#009E73")
PLAIN = ("#f0f0f0", GREY)


class Diagram:
    """Collects shapes of one picture of ``width`` × ``height`` px; ``svg`` gives them as a file."""

    def __init__(self, width: int, height: int, title: str):
        self.size = width, height
        self.title = title
        self.parts: list[str] = []

    def text(self, x: float, y: float, line: str, size: int = 14, **style: str) -> None:
        """One line of text centred on ``x`` with its middle at ``y``; ``anchor`` moves it."""
        anchor, weight = style.get("anchor", "middle"), style.get("weight", "normal")
        self.parts.append(
            f'<text x="{x:g}" y="{y + 0.35 * size:g}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{style.get("colour", INK)}">{escape(line)}</text>'
        )

    def box(
        self, x: float, y: float, w: float, h: float, lines: list[str], look, dashed: bool = False
    ) -> None:
        """A box from its upper left corner, with lines of text in its middle."""
        fill, edge = look
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append('<g class="box">')
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" fill="{fill}" '
            f'stroke="{edge}" stroke-width="1.5"{dash}/>'
        )
        for k, line in enumerate(lines):
            middle = y + h / 2 + 19 * (k - (len(lines) - 1) / 2)
            self.text(x + w / 2, middle, line, weight="normal" if k else "bold")
        self.parts.append("</g>")

    def stack(self, x: float, y: float, look) -> None:
        """A stack of pictures, each a little behind the one before."""
        fill, edge = look
        for k in (4, 3, 2, 1, 0):
            self.parts.append(
                f'<rect x="{x + 7 * k:g}" y="{y - 6 * k:g}" width="64" height="48" fill="{fill}" '
                f'stroke="{edge}" stroke-width="1.2"/>'
            )

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through ``points`` with a head at the last one."""
        line = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(
            f'<polyline points="{line}" fill="none" stroke="{GREY}" stroke-width="1.8" '
            'marker-end="url(#head)"/>'
        )

    def bars(self, x: float, y: float, shares: list[float], look) -> None:
        """Probabilities as bars ``A B C …`` standing on the line ``y``."""
        for k, share in enumerate(shares):
            left = x + 30 * k
            self.parts.append(
                f'<rect x="{left:g}" y="{y - 80 * share:g}" width="20" height="{80 * share:g}" '
                f'fill="{look[1]}"/>'
            )
            self.text(left + 10, y + 11, "ABC"[k], 13)
        self.parts.append(f'<path d="M{x - 6:g} {y:g}h{30 * len(shares) + 2:g}" stroke="{GREY}"/>')

    def svg(self) -> str:
        """The whole file. ``<title>`` is what a screen reader says."""
        width, height = self.size
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" '
            'font-family="Arial, Helvetica, Liberation Sans, DejaVu Sans, sans-serif">',
            f"<title>{escape(self.title)}</title>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
            f'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="{GREY}"/>'
            "</marker></defs>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            *self.parts,
            "</svg>\n",
        ])  # fmt: skip


def two_streams() -> Diagram:
    """Both streams from the stack to the fused answer."""
    d = Diagram(900, 330, "Two streams and their fusion")
    rows = (
        (90, SPATIAL, "Spatial stream: what it looks like", "10 RGB frames", "30×224×224"),
        (240, TEMPORAL, "Temporal stream: how it moves", "50 flow fields", "100×224×224"),
    )
    for y, look, name, stack, shape in rows:
        d.text(20, y - 66, name, 15, anchor="start", weight="bold", colour=look[1])
        d.stack(22, y - 12, look)
        d.text(68, y + 54, stack)
        d.arrow((122, y), (236, y))
        d.text(178, y - 15, shape, 13)
        d.box(240, y - 32, 150, 64, ["VGG-19", "16 convolutions"], look)
        d.arrow((392, y), (486, y))
        d.text(438, y - 15, "512×7×7", 13)
        d.box(490, y - 32, 104, 64, ["Classifier", "3 layers"], look)
        d.text(652, y - 15 if y < 165 else y + 16, "scores", 13)
        d.arrow((596, y), (712, y), (712, 139 if y < 165 else 191))
    d.box(660, 141, 104, 48, ["Fusion"], BOTH)
    d.arrow((766, 165), (800, 165))
    d.text(848, 165, "the action", weight="bold")
    return d


def late_fusion() -> Diagram:
    """Average fusion with the coin-toss example of notebook 06."""
    d = Diagram(900, 300, "Average fusion: softmax of each stream, then the mean")
    rows = (
        (75, SPATIAL, "Spatial stream", "30×224×224", [0.5, 0.5, 0.0], "“A or B”"),
        (230, TEMPORAL, "Temporal stream", "100×224×224", [0.0, 0.5, 0.5], "“B or C”"),
    )
    for y, look, name, shape, shares, says in rows:
        d.arrow((20, y), (128, y))
        d.text(72, y - 15, shape, 13)
        d.box(132, y - 32, 150, 64, [name, "VGG-19"], look)
        d.arrow((284, y), (356, y))
        d.text(319, y - 15, "logits", 13)
        d.box(360, y - 32, 94, 64, ["Softmax"], look)
        d.arrow((456, y), (494, y))
        d.bars(510, y + 20, shares, look)
        d.text(552, y - 44, says, 13)
    d.arrow((606, 75), (672, 75), (672, 125))
    d.text(625, 58, "½", 16)
    d.arrow((606, 230), (672, 230), (672, 181))
    d.text(625, 213, "½", 16)
    d.box(620, 127, 104, 52, ["Average"], BOTH)
    d.arrow((726, 153), (764, 153))
    d.bars(780, 173, [0.25, 0.5, 0.25], BOTH)
    d.text(822, 109, "“B”", 14, weight="bold")
    d.text(822, 212, "the highest wins", 13)
    return d


def conv_fusion() -> Diagram:
    """Fusion after ReLU5: concatenate, 1×1 convolution, pool, classify."""
    d = Diagram(900, 560, "Convolutional fusion after ReLU5")
    columns = (
        (225, SPATIAL, "Spatial stream", "10 RGB frames", "30×224×224", 370),
        (675, TEMPORAL, "Temporal stream", "50 flow fields", "100×224×224", 530),
    )
    for x, look, name, stack, shape, into in columns:
        d.text(x, 26, f"{name}: {stack}", 15, weight="bold", colour=look[1])
        d.arrow((x, 42), (x, 84))
        d.text(x + 14, 62, shape, 13, anchor="start")
        lines = ["Conv 1 to conv 5", "16 convolutions, 4 max pools, frozen"]
        d.box(x - 150, 88, 300, 60, lines, look, dashed=True)
        d.arrow((x, 150), (x, 212), (into, 212))
        d.text(x + 14 if x < 450 else x - 14, 180, "ReLU5: 512×14×14", 13,
               anchor="start" if x < 450 else "end")  # fmt: skip
    d.box(374, 188, 152, 48, ["Concatenate"], PLAIN)
    d.arrow((450, 238), (450, 280))
    d.text(464, 258, "1024×14×14", 13, anchor="start")
    d.box(300, 284, 300, 60, ["1×1 convolution and ReLU", "starts as ¼ spatial + ¾ temporal"], BOTH)
    d.arrow((450, 346), (450, 388))
    d.text(464, 366, "512×14×14", 13, anchor="start")
    d.box(374, 392, 152, 40, ["Max pool"], PLAIN)
    d.arrow((450, 434), (450, 476))
    d.text(464, 454, "512×7×7", 13, anchor="start")
    d.box(300, 480, 300, 60, ["3 fully connected layers", "begin as the spatial stream's"], BOTH)
    d.arrow((602, 510), (668, 510))
    d.text(680, 510, "one score a class", 14, anchor="start", weight="bold")
    d.box(60, 430, 36, 24, [], BOTH)
    d.text(106, 442, "trained", 13, anchor="start")
    d.box(60, 466, 36, 24, [], PLAIN, dashed=True)
    d.text(106, 478, "frozen", 13, anchor="start")
    return d


DIAGRAMS = {
    "two_streams_diagram.svg": two_streams,
    "average_fusion_diagram.svg": late_fusion,
    "conv_fusion_diagram.svg": conv_fusion,
}


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    for name, draw in DIAGRAMS.items():
        (FIGURES / name).write_text(draw().svg(), encoding="utf-8", newline="\n")
        print(f"wrote notebooks/figures/{name}")


if __name__ == "__main__":
    main()
