"""Fusion explorer: the weight of the temporal stream, the accuracy, and the clips that flip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import ipywidgets as widgets
import numpy as np

from ...evaluation import Scores
from ...fusion import late_fusion
from ..plots import BLUE, RED, rgb_of
from ..results import check_same_clips
from ..widgets import Canvas, Diagram, Drawing, explorer, resize, with_mark

WEIGHTS = np.linspace(0, 1, 21)  # of the temporal stream; the spatial stream has the rest
SPACES = {"softmax": "softmax", "logit": "logits"}  # and what they are called on an image
EVEN = 10  # place of half and half in WEIGHTS
PALE = "#AACDE6"
LISTED = 8


@dataclass(frozen=True, eq=False)  # one sweep, one set of cached curves
class Sweep:
    """The answers of late fusion for all of ``WEIGHTS``.

    ``clips`` N names, ``classes`` their names, ``labels`` ``(N,)`` and ``answers``
    ``{space: (21, N)}`` int64, numbers of classes.
    """

    clips: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    answers: dict[str, np.ndarray]

    def right(self, space: str) -> np.ndarray:
        """Return which answers are right, ``(21, N)`` bool."""
        return self.answers[space] == self.labels


def sweep(spatial: Scores, temporal: Scores) -> Sweep:
    """Fuse two streams' scores at every weight and in both spaces.

    Raises ``ValueError`` when the scores are of different clips.
    """
    check_same_clips(spatial, temporal)
    a, b = spatial.clip_logits(), temporal.clip_logits()
    answers = {
        space: np.array([late_fusion(a, b, (1 - w, w), space).argmax(1) for w in WEIGHTS])
        for space in SPACES
    }
    return Sweep(spatial.clips, spatial.classes, spatial.labels, answers)


def fusion_view(swept: Sweep, weight: float = 0.5, space: str = "softmax") -> Drawing:
    """Draw accuracy over the weight, the clips whose answer depends on it, and what flips now.

    ``weight`` of the temporal stream, 0 to 1 in steps of 0.05, ``space`` ``"softmax"`` or
    ``"logit"``. In the middle, one row a clip and one column a weight: pale blue is right, orange
    is wrong. On the right, what is won (+) and lost (−) against half and half of softmax. Returns
    the image and a sentence. Raises ``ValueError`` for a weight or space that does not exist.
    """
    if space not in SPACES or not 0 <= weight <= 1:
        raise ValueError(f"weight from 0 to 1 in softmax or logit, got {weight} in {space!r}")
    place = round(weight * (len(WEIGHTS) - 1))
    now, even = swept.right(space)[place], swept.right("softmax")[EVEN]
    before, after = swept.answers["softmax"][EVEN], swept.answers[space][place]
    won, lost = np.flatnonzero(now & ~even), np.flatnonzero(even & ~now)

    canvas = Canvas(960, 330)
    curves = with_mark(_curves(swept), weight, [100 * now.mean()], 30, 274)
    canvas.image(curves, 0, 0, 330, 330)
    _clip_rows(canvas, swept.right(space), place)
    canvas.text(650, 21, "against half and half of softmax:")
    count = f"{len(won)} won, {len(lost)} lost" if len(won) + len(lost) else "nothing flips"
    canvas.text(650, 40, count)
    flips = [("+", BLUE, k) for k in won] + [("−", RED, k) for k in lost]
    for line, (sign, colour, k) in enumerate(flips[:LISTED]):
        y = 62 + 29 * line
        canvas.text(650, y, f"{sign} {swept.clips[k]}", size=8.5, color=colour)
        change = f"{swept.classes[before[k]]} → {swept.classes[after[k]]}"
        canvas.text(664, y + 13, change, size=8.5)
    if len(flips) > LISTED:
        canvas.text(650, 62 + 29 * LISTED, f"and {len(flips) - LISTED} more", size=8.5)
    sentence = (
        f"Average of {SPACES[space]}, {1 - weight:.2f} spatial and {weight:.2f} temporal: top-1 "
        f"{now.mean():.1%} of {len(now)} clips; half and half of softmax: {even.mean():.1%}. "
        f"{len(won)} clips are won and {len(lost)} lost against it."
    )
    return canvas.pixels(), sentence


@lru_cache(maxsize=4)
def _curves(swept: Sweep) -> Diagram:
    """Accuracy over the weight in both spaces: the part that no control moves."""
    canvas = Canvas(330, 330)
    axis = canvas.axes(52, 30, 270, 244)
    for name, colour, style in zip(SPACES, (BLUE, RED), ("o-", "s--")):
        axis.plot(WEIGHTS, 100 * swept.right(name).mean(axis=1), style, color=colour, markersize=3,
                  linewidth=1.5, label=f"average of {SPACES[name]}")  # fmt: skip
    axis.set(xlabel="weight of the temporal stream", xticks=[0, 0.5, 1])
    axis.set_title("top-1 %", fontsize=9.5, loc="left")
    axis.margins(y=0.22)  # room for the legend below the curves
    axis.legend(fontsize=9, loc="lower center")
    return canvas.diagram(axis)


def _clip_rows(canvas: Canvas, right: np.ndarray, place: int) -> None:
    """Draw right and wrong for the clips that are not the same at every weight."""
    some = np.flatnonzero(right.any(axis=0) & ~right.all(axis=0))
    canvas.text(366, 21, f"{len(some)} clips that depend on the weight")
    if not len(some):
        return
    # First those that need a light temporal stream, last those that need a heavy one.
    centre = (right[:, some] * WEIGHTS[:, None]).sum(axis=0) / right[:, some].sum(axis=0)
    rows = right[:, some[np.argsort(centre, kind="stable")]].T
    wide, high = 12 * rows.shape[1], 244
    colours = np.where(rows[..., None], np.uint8(rgb_of(PALE)), np.uint8(rgb_of(RED)))
    image = resize(colours, wide, high, smooth=False)
    image[:, 12 * place] = image[:, 12 * place + 11] = 0
    image[[0, -1], 12 * place : 12 * place + 12] = 0
    canvas.image(image, 366, 30, wide, high)
    canvas.text(366, 290, "spatial only", size=9)
    canvas.text(366 + wide, 290, "temporal only", size=9, ha="right")
    for x, colour, word in (366, PALE, "right"), (424, RED, "wrong"):
        canvas.text(x, 310, "■", color=colour)
        canvas.text(x + 14, 310, word, size=9)


def fusion_explorer(spatial: Scores, temporal: Scores) -> widgets.VBox:
    """Return the explorer over the scores of two streams for the same clips."""
    weight = widgets.FloatSlider(
        value=0.5, min=0, max=1, step=0.05, description="temporal weight",
        style={"description_width": "110px"},
    )  # fmt: skip
    space = widgets.Dropdown(
        options=[(title, name) for name, title in SPACES.items()], description="average of"
    )
    swept = sweep(spatial, temporal)
    return explorer(partial(fusion_view, swept), {"weight": weight, "space": space})
