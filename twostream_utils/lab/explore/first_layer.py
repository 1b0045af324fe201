"""First-layer explorer: one filter on its way from RGB to a stack, and what it responds."""

from __future__ import annotations

from functools import lru_cache

import ipywidgets as widgets
import numpy as np
import torch
from torch.nn import functional as F

from ...stacks import StackDataset, normalise
from ...vgg import transform_first_layer
from ..flow_plots import first_view
from ..plots import FLOW_MAP
from ..widgets import Canvas, Drawing, clip_menus, explorer, heat, int_slider

WAYS = ["rgb: mean", "rgb: mean_rescaled", "rgb: inflate", "flow: mean", "flow: mean_rescaled"]


def first_layer_view(
    weight: torch.Tensor, rgb: torch.Tensor, flow: torch.Tensor, k: int,
    stream: str = "rgb", how: str = "mean",
) -> Drawing:  # fmt: skip
    """Draw filter ``k`` before and after the first-layer transformation, and both responses.

    ``weight`` ``(O, 3, kH, kW)``; ``rgb`` ``(3·frames, S, S)`` and ``flow`` ``(2·fields, S, S)``
    float32, one clip's normalised stacks. Above: the filter in colour, its three colours, their
    mean, the copies. Below: the first frame and the old filter's response to it; the mean of the
    stack's channels (of its frames, if colours are kept), all that the copies can see, and their
    response. Both responses share a scale, white is 0; the bias is left out. ``stream`` is
    ``"rgb"`` or ``"flow"``, ``how`` as in :func:`~twostream_utils.vgg.transform_first_layer`.

    Returns the image and a sentence. Raises ``IndexError`` for a filter that is not there.
    """
    if not 0 <= k < len(weight):
        raise IndexError(f"no filter {k}: they are numbered 0 to {len(weight) - 1}")
    stack, old = {"rgb": rgb, "flow": flow}[stream], weight[k : k + 1]
    new = transform_first_layer(old, len(stack), how)
    before, after = (
        F.conv2d(x[None], w, padding=1)[0, 0].numpy() for x, w in ((rgb[:3], old), (stack, new))
    )
    largest, mean = float(old.abs().max()), old.mean(dim=1)[0].numpy()

    def signed(values: np.ndarray, top: float) -> np.ndarray:
        return heat(values, -top, top, FLOW_MAP)

    canvas = Canvas(960, 430)
    colour = 255 * (old[0].permute(1, 2, 0).numpy() / (2 * largest) + 0.5)
    squares = {f"filter {k}": colour.round().astype(np.uint8)}
    for name, part in zip(("red", "green", "blue"), old[0].numpy()):
        squares[f"its {name} part"] = signed(part, largest)
    squares["mean of the three"] = signed(mean, largest)
    for column, (title, square) in enumerate(squares.items()):
        canvas.image(square, 150 * column + 12, 26, 110, 110, title, smooth=False)
    # A copy that is N/3 times weaker is drawn so: what rescaling does to one channel.
    copies, copy = f"{len(stack)} copies", signed(new[0, 0].numpy(), largest)
    if how == "mean_rescaled":
        copies += ", × 3/N"
    elif how == "inflate":
        first = new[0, :3].permute(1, 2, 0).numpy()
        copy = (255 * (first / (2 * largest) + 0.5)).round().astype(np.uint8)
        copies = f"{len(stack) // 3} in colour, ÷ {len(stack) // 3}"
    canvas.text(766, 21, copies)
    for place in range(6, -1, -1):  # seven of them behind one another
        left, below = 768 + 9 * place, 28 + 9 * (6 - place) // 2
        canvas.image(np.full((1, 1, 3), 120, np.uint8), left - 1, below - 1, 92, 82)
        canvas.image(copy, left, below, 90, 80, smooth=False)
    for x in (128, 578, 728):
        canvas.text(x, 87, "→", size=17)

    def colours(frame: torch.Tensor) -> np.ndarray:
        values = frame.permute(1, 2, 0).numpy()
        return (255 * (values - values.min()) / max(float(np.ptp(values)), 1e-6)).astype(np.uint8)

    if how == "inflate":
        seen = colours(stack.unflatten(0, (-1, 3)).mean(dim=0))
        title = f"mean of the {len(stack) // 3} frames"
    else:
        mean_of_all = stack.mean(dim=0).numpy()
        seen = heat(mean_of_all, *np.quantile(mean_of_all, (0.005, 0.995)), "gray")
        title = f"mean of the {len(stack)} channels"
    scale = max(float(np.abs(before).max()), 1e-6)
    below = {
        "the first frame": colours(rgb[:3]),
        "the old filter's response to it": signed(before, scale),
        title: seen,
        "the copies' response to the stack": signed(after, scale),
    }
    for column, (title, panel) in enumerate(below.items()):
        canvas.image(panel, 240 * column + 10, 190, 220, 220, title)
    ratio = float(after.std() / max(float(before.std()), 1e-9))
    lost = 1 - float((3 * mean**2).sum() / max(float((old**2).sum()), 1e-12))
    fate = "keeps its colours" if how == "inflate" else f"loses {lost:.0%} of its square"
    sentence = (
        f"Filter {k}, {how}: it {fate}. Responses, in red and blue on one scale: the old filter's "
        f"to the first frame deviates by {before.std():.2f}, the copies' to the {stream} stack of "
        f"{len(stack)} channels by {after.std():.2f}, × {ratio:.2f}."
    )
    return canvas.pixels(), sentence


def first_layer_explorer(weight: torch.Tensor, dataset: StackDataset) -> widgets.VBox:
    """Return the explorer over the filters of ``weight`` and the test clips of ``dataset``.

    ``dataset`` gives both streams.
    """

    @lru_cache(maxsize=8)
    def stacks(clip: str) -> tuple[torch.Tensor, torch.Tensor]:
        seen = first_view(dataset, clip)
        return tuple(normalise(seen[stream][None], stream)[0] for stream in ("rgb", "flow"))

    def draw(clip: str, k: int, way: str) -> Drawing:
        return first_layer_view(weight, *stacks(clip), k, *way.split(": "))

    class_menu, clip = clip_menus(dataset.store, dataset.clips)
    controls = {
        "clip": clip,
        "k": int_slider("filter", 0, 0, len(weight) - 1),
        "way": widgets.Dropdown(options=WAYS, description="stack"),
    }
    return explorer(draw, controls, [[class_menu, clip], list(controls.values())[1:]])
