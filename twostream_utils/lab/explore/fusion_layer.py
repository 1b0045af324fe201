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
from ..canvas import Canvas, heat, resize
from ..flow_colours import colour_wheel, flow_to_rgb
from ..widgets import Drawing, clip_menus, explorer, int_slider

PANEL, GAP, TOP = 196, 16, 26
PAIRS = 30
Pair = tuple[int, int, int]  # spatial map, temporal map, output map


@torch.no_grad()
def stream_maps(
    model: nn.Module, rgb: torch.Tensor, flow: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both trunks' maps ``(M, h, w)`` on the CPU, of one clip's normalised stacks.

    ``rgb`` ``(3·frames, S, S)``, ``flow`` ``(2·fields, S, S)``. The trunks are put into evaluation
    mode for it, and back.
    """
    device, found = next(model.parameters()).device, []
    for trunk, stack in (model.spatial, rgb), (model.temporal, flow):
        training = trunk.training
        found.append(trunk.eval()(stack[None].to(device))[0].float().cpu())
        trunk.train(training)
    return tuple(found)


def matched_pairs(weight: torch.Tensor, count: int = PAIRS, own: bool = False) -> list[Pair]:
    """Return the ``count`` pairs of maps that a fusion layer brings together most strongly.

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
    for _ in range(min(count, size if own else size - 1)):
        s, t = divmod(int(together.argmax()), size)
        pairs.append((s, t))
        together[s], together[:, t] = -1, -1
    return [(s, t, int((left[:, s] * right[:, t]).argmax())) for s, t in pairs]


def fusion_layer_view(
    frame: np.ndarray,
    motion: np.ndarray,
    maps: Sequence[torch.Tensor],
    weight: torch.Tensor,
    pair: Pair,
) -> Drawing:
    """Draw where a pair of maps answers on a clip, and where the two meet.

    ``frame`` and ``motion`` ``(S, S, 3)`` uint8, ``maps`` the two streams' ``(M, h, w)``,
    ``weight`` that of the fusion layer, ``pair`` one of :func:`matched_pairs`. Single maps share
    a scale within their stream: 0 is dark, its largest answer to this clip is yellow. Returns the
    picture and a sentence.
    """
    (a, b), (s, t, o) = (m.numpy() for m in maps), pair
    size = len(weight)
    w = weight.detach().float().cpu().reshape(size, 2 * size, -1).sum(dim=2)
    meet = _unit(a[s]) * _unit(b[t])
    rows = [
        [("a frame", frame), ("spatial: mean of all maps", _own(a.mean(0))),
         (f"spatial map {s}", heat(a[s], 0, float(a.max())))],
        [("its flow", motion), ("temporal: mean of all maps", _own(b.mean(0))),
         (f"temporal map {t}", heat(b[t], 0, float(b.max())))],
    ]  # fmt: skip
    canvas = Canvas(4 * PANEL + 3 * GAP + 120, 2 * (PANEL + TOP) + 12)
    for y, row in enumerate(rows):
        for x, (title, image) in enumerate(row):
            place = x * (PANEL + GAP), y * (PANEL + TOP + 6) + TOP
            canvas.picture(image, *place, PANEL, PANEL, title, smooth=x == 0)
    lit = 0.25 + 0.75 * resize(meet / max(float(meet.max()), 1e-9), PANEL, PANEL, smooth=False)
    ground = resize(frame, PANEL, PANEL)
    x = 3 * (PANEL + GAP)
    half = TOP + (PANEL + TOP + 6) // 2
    canvas.picture((ground * lit[..., None]).astype(np.uint8), x, half, PANEL, PANEL,
                   "bright: where both answer")  # fmt: skip
    side = 76
    right, low = canvas.width - side - 12, canvas.height - side - 12
    canvas.picture(colour_wheel(side), right, low, side, side, "direction")
    for y, name, value in ((TOP, "spatial", w[o, s]), (TOP + 20, "temporal", w[o, size + t])):
        canvas.text(x, y + 14, f"{name} map into output {o}: {value:+.3f}")
    where = "nowhere on this clip"
    if meet.max() > 0:
        row, column = np.unravel_index(meet.argmax(), meet.shape)
        where = f"most in row {row + 1}, column {column + 1} of {meet.shape[0]} × {meet.shape[1]}"
    sentence = (
        f"Spatial map {s} and temporal map {t} meet in output {o} of the fusion layer, with "
        f"weights {w[o, s]:+.3f} and {w[o, size + t]:+.3f}. Here they answer with up to "
        f"{a[s].max():.2f} and {b[t].max():.2f}, both together {where}."
    )
    return canvas.pixels(), sentence


def _unit(values: np.ndarray) -> np.ndarray:
    return values / max(float(values.max()), 1e-9)


def _own(values: np.ndarray) -> np.ndarray:
    return heat(values, 0, float(values.max()))


class FusionLayer:
    """A trained fusion with the clips of ``dataset`` (both streams, test views): what to draw.

    Raises ``ValueError`` for a fusion without a convolution ``fuse`` over both streams' maps.
    """

    def __init__(self, model: nn.Module, dataset: StackDataset):
        self.model, self.dataset = model, dataset
        if not hasattr(getattr(model, "fuse", None), "weight"):
            raise ValueError("this fusion has no layer with weights: give one of kind 'conv'")
        self.weight = model.fuse.weight.detach().cpu()
        self.pairs = {own: matched_pairs(self.weight, own=own) for own in (False, True)}
        self._seen = lru_cache(maxsize=8)(self._look)

    def _look(self, clip: str) -> tuple[np.ndarray, np.ndarray, Sequence[torch.Tensor]]:
        seen = self.dataset.first_view(clip)
        stacks = [normalise(seen[stream][None], stream)[0] for stream in ("rgb", "flow")]
        frame = seen["rgb"][:3].permute(1, 2, 0).numpy()
        fields = seen["flow"].unflatten(0, (-1, 2)).permute(0, 2, 3, 1).numpy()
        lively = max(fields, key=lambda q: float(np.abs(decode(q)).mean()))
        return frame, flow_to_rgb(decode(lively)), stream_maps(self.model, *stacks)

    def view(self, clip: str, rank: int = 1, own: bool = False) -> Drawing:
        """Draw the pair of the given ``rank``, from 1, on ``clip``."""
        pairs = self.pairs[own]
        if not 1 <= rank <= len(pairs):
            raise IndexError(f"no pair {rank}: they are numbered 1 to {len(pairs)}")
        return fusion_layer_view(*self._seen(clip), self.weight, pairs[rank - 1])

    def answering(self, clip: str) -> int:
        """Return the rank of the first pair whose maps both answer at a place of ``clip``.

        Many maps are silent on a given clip, the strongest pair's among them. 1 if all pairs are.
        """
        *_, (a, b) = self._seen(clip)
        both = (float((a[s] * b[t]).max()) > 0 for s, t, _ in self.pairs[False])
        return next((rank for rank, answered in enumerate(both, start=1) if answered), 1)


def fusion_layer_explorer(model: nn.Module, dataset: StackDataset) -> widgets.VBox:
    """Return the explorer over the matched pairs of ``model`` and the clips of ``dataset``."""
    layer = FusionLayer(model, dataset)
    class_menu, clip = clip_menus({name: dataset.store.label(name) for name in dataset.clips})
    last = min(map(len, layer.pairs.values()))
    controls = {
        "clip": clip,
        "rank": int_slider("pair", layer.answering(clip.value), 1, last),
        "own": widgets.Checkbox(value=False, description="also map m with map m"),
    }
    return explorer(layer.view, controls, [[class_menu, clip], list(controls.values())[1:]])
