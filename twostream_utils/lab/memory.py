"""How much memory a training step in 16 bits takes on a GPU, counted layer by layer."""

from __future__ import annotations

import torch
from torch import nn

HALF = 2  # bytes of a bfloat16 or float16
BESIDE = {nn.MaxPool2d: 8, nn.Dropout: 1}  # bytes a value: where the maximum was; what is left out


def kept_bytes(model: nn.Module, *stacks: torch.Tensor) -> tuple[int, int]:
    """Return what the forward pass keeps for the backward pass and what it needs passing by.

    In bytes, of inputs ``(B, C, H, W)``; on the ``meta`` device nothing is computed. Kept is what
    comes out of every layer, except that ReLU overwrites what it is given; batch norm cannot.
    Max pools keep the place of each maximum beside it and dropout its mask. Of frozen layers
    nothing is kept: only the input and output of one of them are there at a time.
    """
    kept, passing = [], [0]

    def count(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if not output.requires_grad:
            passing.append((inputs[0].numel() + output.numel()) * HALF)
        elif not isinstance(layer, nn.ReLU):
            kept.append(output.numel() * (HALF + BESIDE.get(type(layer), 0)))
            if not inputs[0].requires_grad:  # the first layer that is trained
                kept.append(inputs[0].numel() * HALF)

    layers = [layer for layer in model.modules() if not [*layer.children()]]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        model.train()(*stacks)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(kept), max(passing)


def clip_bytes(model: nn.Module, *stacks: torch.Tensor) -> int:
    """Return what a training clip needs, in bytes: its stacks as uint8 and float32, and the maps.

    ``stacks`` are those of one clip, ``(1, C, H, W)``.
    """
    return sum(5 * stack.numel() for stack in stacks) + sum(kept_bytes(model, *stacks))


def parameter_bytes(model: nn.Module) -> int:
    """Return what weights (also in half precision), gradients and momentum take, in bytes."""
    return sum(p.numel() * (4 + HALF + 8 * p.requires_grad) for p in model.parameters())
