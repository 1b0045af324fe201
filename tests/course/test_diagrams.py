"""The committed diagrams are what the code draws, and no text runs over another or out of a box."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path

import draw_diagrams
import matplotlib
import pytest
from PIL import ImageFont

SVG = "{http://www.w3.org/2000/svg}"
# Wider than the fonts that the diagrams ask for first: what fits in it fits in those.
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FILES = {"bold": "DejaVuSans-Bold.ttf", "normal": "DejaVuSans.ttf"}
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in sorted((draw_diagrams.FIGURES.parent / "source").glob("[0-9]*.md"))
)
each = pytest.mark.parametrize("name", draw_diagrams.DIAGRAMS)


def extent(text: ET.Element) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a line of text in px."""
    size = int(text.get("font-size"))
    font = ImageFont.truetype(str(FONTS / FILES[text.get("font-weight")]), size)
    width = font.getlength(text.text)
    x, y = float(text.get("x")), float(text.get("y"))
    left = x - {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor")]
    return left, y - 0.75 * size, left + width, y + 0.25 * size


def inside(inner, outer) -> bool:
    return all(inner[k] >= outer[k] for k in (0, 1)) and all(inner[k] <= outer[k] for k in (2, 3))


def overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@each
def test_committed_diagram_is_what_the_code_draws(name):
    drawn = draw_diagrams.DIAGRAMS[name]().svg()
    committed = (draw_diagrams.FIGURES / name).read_text(encoding="utf-8")
    assert committed == drawn, "run `python notebooks/make/draw_diagrams.py`"


@each
def test_texts_fit_and_do_not_overlap(name):
    root = ET.fromstring(draw_diagrams.DIAGRAMS[name]().svg())
    width, height = draw_diagrams.DIAGRAMS[name]().size
    texts = [(text.text, extent(text)) for text in root.iter(f"{SVG}text")]
    assert len(texts) > 10
    for line, place in texts:
        assert inside(place, (4, 4, width - 4, height - 4)), f"{line!r} leaves the picture"
    for (a, at), (b, there) in combinations(texts, 2):
        assert not overlap(at, there), f"{a!r} runs into {b!r}"
    for group in root.iter(f"{SVG}g"):
        rect = {key: float(group[0].get(key)) for key in ("x", "y", "width", "height")}
        right, bottom = rect["x"] + rect["width"], rect["y"] + rect["height"]
        for text in group.iter(f"{SVG}text"):
            assert inside(extent(text), (rect["x"] + 4, rect["y"], right - 4, bottom)), text.text


@each
def test_arrows_cross_no_text(name):
    root = ET.fromstring(draw_diagrams.DIAGRAMS[name]().svg())
    texts = [(text.text, extent(text)) for text in root.iter(f"{SVG}text")]
    for line in root.iter(f"{SVG}polyline"):
        points = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for (x1, y1), (x2, y2) in zip(points, points[1:], strict=False):
            segment = (min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1)
            for words, place in texts:
                assert not overlap(place, segment), f"an arrow crosses {words!r}"


@each
def test_diagram_has_a_ground_and_stands_in_a_notebook_with_alt_text(name):
    svg = draw_diagrams.DIAGRAMS[name]().svg()
    width, height = draw_diagrams.DIAGRAMS[name]().size
    assert f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>' in svg
    alt = re.search(rf"!\[([^\]]+)\]\(figures/{re.escape(name)}\)", SOURCES)
    assert alt and len(alt[1].split()) > 20
