"""Grad-CAM: where in its input a stream found its evidence for a class."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure

from ..flow import decode
from ..profiles import INPUTS
from ..stacks import crop_frames, flow_positions, normalise, read_stacks
from ..store import FrameStore
from ..vgg import VGG
from ..views import View
from .flow_colours import flow_to_rgb
from .flow_plots import fastest, field_at, liveliest_field, with_wheel
from .plots import ORANGE, WIDTH, contact_sheet, rgb_of

EDGE = rgb_of(ORANGE)
SHADE = 0.3  # brightness that is left where a stream does not look


def grad_cam(
    model: VGG, stacks: torch.Tensor, targets: int | Sequence[int], scale: bool = True
) -> torch.Tensor:
    """Where each stack speaks for its target class (Selvaraju et al. 2017, arXiv:1610.02391, §3).

    The gradient of the class's logit on the ReLU5 maps, averaged over all places of a map, says
    how much that map counts; the maps, summed with these weights, are cut off at zero, since what
    speaks against the class is of no interest. ``classify`` starts at the maps, so no hook is
    needed.

    ``stacks`` is a batch of normalised input ``(B, C, H, W)`` float32 on the model's device,
    ``targets`` one class number for all or one each. Returns ``(B, H/16, W/16)`` float32 on the
    CPU, each map divided by its own maximum (0..1; all 0 where nothing speaks for the class), or
    as it is if not ``scale``. A whole stack is one input to the first layer, so there is one map
    for all its frames.

    Raises ``ValueError`` for a model in training mode (dropout would make the maps random), for
    another number of targets than stacks, or a class that is not there.
    """
    if model.training:
        raise ValueError("Grad-CAM needs the network in evaluation mode: call model.eval() first")
    targets = torch.as_tensor(targets).reshape(-1)
    if len(targets) not in (1, len(stacks)):
        raise ValueError(f"{len(targets)} target classes for {len(stacks)} stacks")
    targets = targets.expand(len(stacks))
    with torch.no_grad():
        maps = model.maps(stacks)
    with torch.enable_grad():
        maps = maps.float().requires_grad_()
        logits = model.classify(maps)
        if targets.min() < 0 or targets.max() >= logits.shape[1]:
            raise ValueError(
                f"no class {targets.tolist()}: the network has 0 to {logits.shape[1] - 1}"
            )
        score = logits.gather(1, targets.to(logits.device)[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    cams = (weights * maps.detach()).sum(dim=1).relu().cpu()
    if scale:
        cams = cams / cams.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return cams


def clip_cams(
    model: VGG, stream: str, store: FrameStore, clip: str, views: Sequence[View], profile,
    target: int,
) -> np.ndarray:  # fmt: skip
    """Grad-CAM of ``"spatial"`` or ``"temporal"`` for several views of a clip, ``(V, h, w)``.

    float32 in 0..1 at one scale for all views, so that they can be shown one after another.
    """
    device = next(model.parameters()).device
    (kind,) = INPUTS[stream]
    found = []
    for first in range(0, len(views), 16):
        some = read_stacks(store, clip, views[first : first + 16], profile, kind)
        stacks = normalise(some.to(device), kind)
        found.append(grad_cam(model, stacks, target, scale=False))
    cams = torch.cat(found).numpy()
    return cams / max(float(cams.max()), 1e-12)


def spotlight(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Dim an image ``(H, W, 3)`` uint8 where ``cam`` ``(h, w)``, 0..1, is low; same shape.

    The map is enlarged between its cells. Brightness leaves the colours of flow what they are; the
    orange line runs where the map has half its maximum.
    """
    height, width = image.shape[:2]
    large = cv2.resize(cam, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    out = (image * (SHADE + (1 - SHADE) * large[..., None])).round().astype(np.uint8)
    lines, _ = cv2.findContours(
        (large >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    return cv2.drawContours(out, lines, -1, EDGE, max(1, height // 120), cv2.LINE_AA)


def shown_pair(
    store: FrameStore, clip: str, number: int, view: View, side: int, top: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frame ``number`` (1-based) and its flow in colour, cropped as ``view`` and ``side`` px high.

    Both ``(side, side, 3)`` uint8 and never mirrored. ``top`` is the speed in px per frame drawn in
    full colour; default: the fastest of this field.
    """
    frame = crop_frames(store.read_rgb(clip, [number]), view, side)[0]
    field = crop_frames(store.read_flow(clip, [field_at(store, clip, number)]), view, side)[0]
    return frame, flow_to_rgb(decode(field), top)


def where_it_looks(
    networks: dict[str, VGG], store: FrameStore, clip: str, view: View, profile, target: int
) -> Figure:
    """Draw where streams look in one clip: frame or flow, each as it is and as a spotlight.

    ``networks`` holds ``"spatial"``, ``"temporal"`` or both. Of the flow stack of ``view`` a lively
    field is drawn with its frame; the colour wheel says how fast.
    """
    numbers = flow_positions(store, clip, profile, view.start)
    fields = decode(crop_frames(store.read_flow(clip, numbers), view, view.side))
    lively = liveliest_field(fields)[0]
    top = fastest(fields[lively])
    shown = shown_pair(store, clip, int(numbers[lively]), view, 240, top)
    images, titles = [], []
    for name, model in networks.items():
        image = shown[0] if name == "spatial" else shown[1]
        cam = clip_cams(model, name, store, clip, [view], profile, target)[0]
        images += [image, spotlight(image, cam)]
        titles += ["frame" if name == "spatial" else "flow", f"{name} stream"]
    fig = contact_sheet(images, titles, columns=4, width=WIDTH / 4 * len(images))
    return with_wheel(fig, top) if "temporal" in networks else fig
