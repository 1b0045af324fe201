"""How much memory training takes, and how many clips of a batch fit on the device at once.

A recipe names the batch that the optimizer sees. Where the device cannot hold it, the batch goes
through the network in parts whose gradients add up to its own (`training.fit`, ``micro_batch``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from .device import free_memory, mixed_precision
from .profiles import INPUTS, Profile
from .vgg import VGG19

RESERVE = 0.2  # of the free memory, for cuDNN's workspaces and the gaps between blocks


def activation_bytes(
    channels: int, crop: int, width: float = 1.0, batch_norm: bool = False, element: int = 4
) -> int:
    """Return what one clip's forward pass through a stream keeps for its backward pass, in bytes.

    ``channels`` and ``crop`` (px) are those of the stack, ``element`` the bytes of one activation:
    4, or 2 in mixed precision. What is kept:

    - the input, ``channels·crop²`` elements;
    - the output of every convolution once: ReLU overwrites it, and the next layer reads just that.
      Batch norm cannot work in place, so with it every output is kept twice;
    - the output of every pool, and for each of its elements where the maximum was: 8 bytes;
    - of the classifier, the pooled maps, and for both hidden layers what comes out of ReLU and
      what comes out of dropout, which keeps its mask: one byte an element.
    """
    kept, maps, side = channels * crop * crop * element, 0, crop
    for size in VGG19:
        if size == "M":
            side //= 2
            kept += maps * side * side * (element + 8)
        else:
            maps = max(1, round(size * width))
            kept += maps * side * side * element * (1 + batch_norm)
    hidden = round(4096 * width)
    return kept + maps * 49 * element + 2 * hidden * (2 * element + 1)


def kept_bytes(model: nn.Module, *inputs: torch.Tensor) -> int:
    """Return what the forward pass keeps for the backward pass, in bytes, as autograd counts it.

    All tensors, each once, without the weights. On ``meta`` tensors it costs nothing. What does
    not depend on the batch is in it: take the difference of two batches for that of a clip.
    """
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = (storage.nbytes(), tensor)  # alive: no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = model(*inputs)
    del out
    return sum(size for size, _ in kept.values())


def clip_bytes(
    channels: Sequence[int], profile: Profile, frozen: bool = False, element: int = 4
) -> int:
    """Return what one training clip needs on the device, in bytes.

    ``channels`` are those of the stacks that the network reads. Beside the activations there lie
    the stack itself (uint8) and, in mixed precision, its float32 form. ``frozen`` streams keep no
    activations: only the two largest maps, input and output of a layer, are there at a time.
    """
    pixels = profile.crop**2
    stacks = sum(channels) * pixels * (1 + 4 * (frozen or element != 4))
    if frozen:
        return stacks + 2 * round(64 * profile.width) * pixels * element
    return stacks + sum(
        activation_bytes(c, profile.crop, profile.width, profile.batch_norm, element)
        for c in channels
    )


def parameter_bytes(model: nn.Module, element: int = 4) -> int:
    """Return what weights, gradients and momentum of ``model`` take, in bytes.

    Mixed precision (``element`` 2) keeps a copy of all weights in half precision.
    """
    each = 4 + (element if element != 4 else 0)
    return sum(p.numel() * (each + 8 * p.requires_grad) for p in model.parameters())


def largest_batch(per_clip: int, fixed: int, free: int) -> int:
    """Return how many clips fit at once, at least 1.

    In bytes: what one clip needs (:func:`clip_bytes`), what does not depend on the batch
    (:func:`parameter_bytes`), and what is free, of which ``RESERVE`` is left alone.
    """
    return max(1, int((free * (1 - RESERVE) - fixed) // per_clip))


def largest_part(batch_size: int, per_clip: int, fixed: int, free: int) -> int:
    """Return into parts of how many clips a batch is cut: equal ones, as few as fit, at least 1.

    All but ``batch_size`` in bytes, as for :func:`largest_batch`.
    """
    fitting = largest_batch(per_clip, fixed, free)
    return math.ceil(batch_size / math.ceil(batch_size / fitting))


def micro_batch(profile: Profile, name: str, model: nn.Module, device: torch.device) -> int:
    """Return how many clips of a batch ``device`` takes at once for the network ``name``.

    The whole batch on the CPU, and where batch norm learns: its statistics are those of the batch.
    Conv fusion counts as frozen if nothing convolutional is trained but the fusion itself.
    """
    batch_size = getattr(profile, name).batch_size
    free = free_memory(device)
    frozen = name == "conv" and not (
        getattr(model, "train_trunks", False) or len(getattr(model, "rest", ()))
    )
    if free is None or (profile.batch_norm and not frozen):
        return batch_size
    channels = tuple(profile.channels[stream] for stream in INPUTS[name])
    element = 4 if mixed_precision(device) == "no" else 2
    per_clip = clip_bytes(channels, profile, frozen, element)
    return largest_part(batch_size, per_clip, parameter_bytes(model, element), free)
