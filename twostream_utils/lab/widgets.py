"""From controls to a picture: what all explorers share.

Only core widgets and the API that ipywidgets 7 (Colab) and 8 share. The drawing is in plain
functions without widgets, in the explore_… files: each returns a picture and the sentence that
says what it shows, so ``show(*view(…))`` is the static twin of an explorer.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from weakref import WeakKeyDictionary, ref

import cv2
import ipywidgets as widgets
import numpy as np

Drawing = tuple[np.ndarray, str]  # picture (H, W, 3) uint8, and what one sees in it


def explorer(
    draw: Callable[..., Drawing],
    controls: Mapping[str, widgets.Widget],
    rows: Sequence[Sequence[widgets.Widget]] | None = None,
) -> widgets.VBox:
    """Return controls above a picture, and below it the sentence that ``draw`` gives.

    ``draw`` is called with the value of every control by name, once for each change that changes
    a value. ``rows`` arranges the controls, others such as a play button among them; by default
    they stand in one row. The box's last two children are the ``Image`` and the ``HTML`` sentence.
    """
    image = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
    sentence = widgets.HTML()
    drawn: dict = {}

    def redraw(*_) -> None:
        values = {name: control.value for name, control in controls.items()}
        if values == drawn or None in values.values():  # None: a menu between two lists
            return
        picture, words = draw(**values)
        image.value, sentence.value = png_bytes(picture), html.escape(words)
        drawn.clear()
        drawn.update(values)

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    wrap = widgets.Layout(flex_flow="row wrap")
    boxes = [widgets.HBox(list(row), layout=wrap) for row in rows or [list(controls.values())]]
    start = widgets.Layout(align_items="flex-start")  # pictures keep their shape
    return widgets.VBox([*boxes, image, sentence], layout=start)


def kept_with_store(most: int) -> Callable[[Callable], Callable]:
    """Return a decorator that keeps a function's last ``most`` results for each store.

    The store is the function's first argument. A plain ``lru_cache`` would hold on to it, and with
    it to gigabytes of decoded clips, after the reader has dropped it; these results go with it.
    """

    def decorate(function: Callable) -> Callable:
        kept: WeakKeyDictionary = WeakKeyDictionary()

        @wraps(function)
        def remembered(store, *arguments):
            if store not in kept:
                weak = ref(store)
                kept[store] = lru_cache(most)(lambda *rest: function(weak(), *rest))
            return kept[store](*arguments)

        return remembered

    return decorate


def clip_menus(labels: Mapping[str, str]) -> tuple[widgets.Dropdown, widgets.Dropdown]:
    """Return a menu of classes and a menu of the clips in the chosen one; ``labels`` by clip."""
    by_class: dict[str, list[str]] = {}
    for clip, label in labels.items():
        by_class.setdefault(label, []).append(clip)
    classes = sorted(by_class, key=str.lower)
    class_menu = widgets.Dropdown(options=classes, description="class")
    clip_menu = widgets.Dropdown(
        options=by_class[classes[0]], description="clip", layout=widgets.Layout(width="360px")
    )

    def choose_class(change: dict) -> None:
        clip_menu.options = by_class[change["new"]]

    class_menu.observe(choose_class, names="value")
    return class_menu, clip_menu


def follow_clip(
    clip_menu: widgets.Dropdown, slider: widgets.IntSlider, last: Callable[[str], int]
) -> None:
    """Keep ``slider`` within 1 to ``last(clip)``; call it before :func:`explorer`."""
    slider.max = last(clip_menu.value)

    def choose_clip(change: dict) -> None:
        if change["new"] is not None:
            slider.max = last(change["new"])

    clip_menu.observe(choose_clip, names="value")


def int_slider(name: str, value: int, low: int, high: int, step: int = 1) -> widgets.IntSlider:
    """Return a slider with room for its name."""
    return widgets.IntSlider(
        value=value, min=low, max=high, step=step, description=name,
        style={"description_width": "90px"},
    )  # fmt: skip


def png_bytes(image: np.ndarray) -> bytes:
    """Encode an ``(H, W, 3)`` uint8 RGB picture as PNG, fast rather than small."""
    ok, data = cv2.imencode(
        ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    if not ok:
        raise ValueError(f"a picture of shape {image.shape} could not be encoded as PNG")
    return data.tobytes()
