"""Fusion-layer explorer: which maps of the two streams the fusion has matched, on a clip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import ipywidgets as widgets
import numpy as np
import torch
from torch import nn

from ...flow import decode
from ...stacks import StackDataset, normalise
from ..flow_colours import colour_wheel, flow_to_rgb
from ..flow_plots import first_view, liveliest_field
from ..widgets import Canvas, Drawing, clip_menus, explorer, heat, resize

PANEL, GAP, TOP = 196, 16, 26
PAIRS = 30
Pair = tuple[int, int, int]  # spatial map, temporal map, output map


def matched_pairs(weight: torch.Tensor, own: bool = False) -> list[Pair]:
    """Return the pairs of maps that a fusion layer brings together, the strongest first.

    ``weight`` ``(M, 2M, …)`` of the fusion layer. Spatial map s and temporal map t meet in output o
    as strongly as ``|weight[o, s]| · |weight[o, M + t]|``; over all outputs that is summed, and o
    is the output where it is largest. No map is in two pairs. Map m with map m is how the layer
    started (Feichtenhofer et al. 2016): these pairs are left out unless ``own``. Raises
    ``ValueError`` for another shape.
    """
    size = len(weight)
    if weight.ndim < 2 or weight.shape[1] != 2 * size:
        raise ValueError(f"a fusion layer's weight is (M, 2M, …), got {tuple(weight.shape)}")
    strength = weight.detach().float().cpu().reshape(size, 2 * size, -1).norm(dim=2)
    left, right = strength[:, :size], strength[:, size:]
    together = left.T @ right
    if not own:
        together.fill_diagonal_(-1)
    pairs = []
    for _ in range(size if own else size - 1):
        s, t = divmod(int(together.argmax()), size)
        pairs.append((s, t))
        together[s], together[:, t] = -1, -1
    return [(s, t, int((left[:, s] * right[:, t]).argmax())) for s, t in pairs]


def fusion_layer_view(
    frame: np.ndarray, motion: np.ndarray, maps: Sequence[np.ndarray], weight: torch.Tensor,
    pair: Pair,
) -> Drawing:  # fmt: skip
    """Draw where a pair of maps answers on a clip, and where the two meet.

    ``frame`` and ``motion`` ``(S, S, 3)`` uint8, ``maps`` the two streams' ``(M, h, w)``,
    ``weight`` that of the fusion layer, ``pair`` one of :func:`matched_pairs`. Each map has a scale
    of its own: 0 is dark, its largest answer, named above it, is yellow. Returns the image and a
    sentence.
    """
    s, t, o = pair
    size = len(weight)
    w = weight.reshape(size, 2 * size, -1).sum(dim=2)
    weights = {"spatial": w[o, s], "temporal": w[o, size + t]}
    canvas = Canvas(4 * PANEL + 3 * GAP + 120, 2 * (PANEL + TOP) + 12)
    rows = ("spatial", "a frame", frame, maps[0], s), ("temporal", "its flow", motion, maps[1], t)
    for y, (stream, title, image, of_clip, k) in enumerate(rows):
        mean, top = of_clip.mean(0), float(of_clip[k].max())
        panels = {
            title: image,
            f"{stream}: mean of all maps": heat(mean, 0, float(mean.max())),
            f"{stream} map {k}: up to {top:.2f}": heat(of_clip[k], 0, top),
        }
        for x, (title, panel) in enumerate(panels.items()):
            place = x * (PANEL + GAP), y * (PANEL + TOP + 6) + TOP
            canvas.image(panel, *place, PANEL, PANEL, title, smooth=x == 0)
    a, b = maps[0][s], maps[1][t]
    meet = a / max(float(a.max()), 1e-9) * b / max(float(b.max()), 1e-9)
    lit = 0.25 + 0.75 * resize(meet / max(float(meet.max()), 1e-9), PANEL, PANEL, smooth=False)
    ground = (resize(frame, PANEL, PANEL) * lit[..., None]).astype(np.uint8)
    x, half, side = 3 * (PANEL + GAP), TOP + (PANEL + TOP + 6) // 2, 76
    canvas.image(ground, x, half, PANEL, PANEL, "bright: where both answer")
    right, low = canvas.width - side - 12, canvas.height - side - 12
    canvas.image(colour_wheel(side), right, low, side, side, "direction")
    for y, (stream, value) in zip((TOP + 14, TOP + 34), weights.items()):
        canvas.text(x, y, f"{stream} map into output {o}: {value:+.3f}")
    where = "nowhere on this clip"
    if meet.max() > 0:
        row, column = np.unravel_index(meet.argmax(), meet.shape)
        where = f"most in row {row + 1}, column {column + 1} of {meet.shape[0]} × {meet.shape[1]}"
    sentence = (
        f"Spatial map {s} and temporal map {t} meet in output {o} of the fusion layer, with "
        f"weights {weights['spatial']:+.3f} and {weights['temporal']:+.3f}. Here they answer with "
        f"up to {a.max():.2f} and {b.max():.2f}, both together {where}."
    )
    return canvas.pixels(), sentence


class FusionLayer:
    """A trained fusion with the clips of ``dataset`` (both streams, test views): what to draw.

    Raises ``ValueError`` for a fusion without a convolution ``fuse`` over both streams' maps.
    """

    def __init__(self, model: nn.Module, dataset: StackDataset):
        self.model, self.dataset = model, dataset
        if not hasattr(getattr(model, "fuse", None), "weight"):
            raise ValueError("this fusion has no layer with weights: give one of kind 'conv'")
        self.weight = model.fuse.weight.detach().float().cpu()
        self.pairs = {own: matched_pairs(self.weight, own) for own in (False, True)}
        self.on_clip = lru_cache(maxsize=8)(self.on_clip)

    @torch.no_grad()
    def on_clip(self, clip: str) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """A frame, a lively field in colour, and both trunks' maps ``(M, h, w)`` of a clip.

        The trunks are put into evaluation mode for it, and back.
        """
        seen, maps = first_view(self.dataset, clip), []
        device = next(self.model.parameters()).device
        for trunk, kind in (self.model.spatial, "rgb"), (self.model.temporal, "flow"):
            training = trunk.training
            stack = normalise(seen[kind][None].to(device), kind)
            maps.append(trunk.eval()(stack)[0].float().cpu().numpy())
            trunk.train(training)
        frame = seen["rgb"][:3].permute(1, 2, 0).numpy()
        flow = decode(seen["flow"].unflatten(0, (-1, 2)).permute(0, 2, 3, 1).numpy())
        return frame, flow_to_rgb(flow[liveliest_field(flow)[0]]), maps

    def view(self, clip: str, pair: Pair) -> Drawing:
        """Draw ``pair`` on ``clip``."""
        return fusion_layer_view(*self.on_clip(clip), self.weight, pair)

    def answering(self, clip: str, own: bool = False) -> list[Pair]:
        """Return the strongest pairs whose maps both answer at a place of ``clip``, 30 at most.

        Half of all maps are silent on a given clip, and a picture of them is dark. Where all pairs
        are, the strongest one is returned.
        """
        a, b = self.on_clip(clip)[2]
        pairs = self.pairs[own]
        return [p for p in pairs if (a[p[0]] * b[p[1]]).max() > 0][:PAIRS] or pairs[:1]


def fusion_layer_explorer(model: nn.Module, dataset: StackDataset) -> widgets.VBox:
    """Return the explorer over the matched pairs of ``model`` and the clips of ``dataset``."""
    layer = FusionLayer(model, dataset)
    class_menu, clip = clip_menus(dataset.store, dataset.clips)
    own = widgets.Checkbox(value=False, description="also map m with map m")
    pair = widgets.Dropdown(description="pair")

    def list_pairs(change: dict | None = None) -> None:
        """The pairs that answer; the chosen one stays, and goes first, if it does on a new clip."""
        if clip.value is None:  # a menu between two lists
            return
        pairs, chosen = layer.answering(clip.value, own.value), pair.value
        if chosen in pairs and change["owner"] is clip:
            pairs.insert(0, pairs.pop(pairs.index(chosen)))
        pair.options = [(f"spatial {s}, temporal {t}", (s, t, o)) for s, t, o in pairs]
        pair.value = pairs[0]  # as a second list has it anyway: another one would be drawn twice

    list_pairs()
    for control in clip, own:
        control.observe(list_pairs, names="value")
    controls = {"clip": clip, "pair": pair}
    return explorer(layer.view, controls, [[class_menu, clip], [pair, own]])
