"""Checkers of notebook 06: flow in the mirror, backwards, normalised."""

import numpy as np
import torch

from .checking import ExerciseError, as_array, checker, choice_question, compare, shown, unchanged

__all__ = ["mirror_stack", "normalise_flow", "play_backwards", "exchanged", "shown"]


@checker("Mirrored, and what moved right now moves left, in every field.")
def mirror_stack(answer):
    """``answer(stack (2L, H, W) uint8, u1 v1 u2 …)`` → mirrored in x, u negated (255 − u)."""
    stack = np.random.default_rng(0).integers(1, 255, (6, 4, 5), dtype=np.uint8)
    mirrored = stack[..., ::-1].astype(int)
    wanted = mirrored.copy()
    wanted[0::2] = 255 - wanted[0::2]
    not_mirrored = stack.astype(int)
    not_mirrored[0::2] = 255 - not_mirrored[0::2]
    only_v, first, half, minus = (mirrored.copy() for _ in range(4))
    only_v[1::2] = 255 - only_v[1::2]
    first[0] = 255 - first[0]
    half[: len(half) // 2] = 255 - half[: len(half) // 2]
    minus[0::2] = -minus[0::2]
    upside_down = stack[:, ::-1].astype(int)
    upside_down[0::2] = 255 - upside_down[0::2]
    slips = {
        "u is mirrored but not negated: in a mirror, right goes left": mirrored,
        "u is negated but the pictures are not mirrored from left to right": not_mirrored,
        "v is negated as well: up stays up in a left-right mirror": 255 - mirrored,
        "v is negated where u should be: u, along x, is in channels 0, 2, 4, …": only_v,
        "Only the first u is negated: there is one in every second channel": first,
        "The first half of the channels is negated, but u and v take turns: u1, v1, u2, …": half,
        "The pictures are turned upside down: mirror along the last axis, x": upside_down,
        "The channels are reversed, so that v stands where u should be": stack[::-1].astype(int),
        "u is negated as -u, but rest is 127.5 in quantised flow: the opposite is 255 - u": minus,
        "u is negated as -u, which wraps around in uint8; the opposite is 255 - u": minus % 256,
    }
    with unchanged("The stack that came in was changed; return a new one", stack):
        result = as_array(answer(stack), "the mirrored stack")
    compare(result, wanted, "the mirrored stack", slips)
    if result.dtype != np.uint8:
        raise ExerciseError(f"The values are right, but the type is {result.dtype}, not uint8")


@checker("Rest is zero, u and v share one scale, and so do all fields.")
def normalise_flow(answer):
    """``answer(q (2L, H, W) uint8 tensor)`` → ``(q − 127.5) / (0.226 · 255)``, float."""
    stack = torch.randint(90, 170, (4, 3, 5), generator=torch.Generator().manual_seed(0))
    stack = stack.to(torch.uint8)
    q = stack.numpy().astype(np.float64)
    wanted = (q - 127.5) / (0.226 * 255)
    low, high = q.min((1, 2), keepdims=True), q.max((1, 2), keepdims=True)
    slips = {
        "Centred on 128. The scale runs from 0 to 255, and its middle is 127.5": (
            (q - 128) / (0.226 * 255)
        ),
        "Only divided by 255: rest becomes 0.5 instead of 0": q / 255,
        "Centred, but in units of 0…1 the deviation of 0.226 is 0.226 · 255 grey levels": (
            (q - 127.5) / 0.226
        ),
        "The deviation is missing: divide by 0.226 · 255": [(q - 127.5) / 255, q - 127.5],
        "That is ImageNet's normalisation of red, as if flow were a picture: rest is not 0": (
            (q / 255 - 0.485) / 0.229
        ),
        "Normalised by the mean and deviation of this stack: then each clip has its own scale, and "
        "slow and fast look alike": [(q - q.mean()) / q.std(ddof=k) for k in (0, 1)],
        "Each field is stretched to its own range: that loses the speed": (q - low) / (high - low),
        "Subtracted in uint8, which wraps around below rest: make it float first": [
            ((q - rest) % 256) / (0.226 * 255) for rest in (127, 128)
        ],
    }
    compare(answer(stack), wanted, "the normalised stack", slips)


@checker("The last field first, every motion the other way, and u still before v.")
def play_backwards(answer):
    """``answer(stack (2L, H, W) uint8)`` → the stack of the same film shown backwards."""
    stack = np.random.default_rng(0).integers(1, 255, (8, 3, 4), dtype=np.uint8)
    pairs = stack.reshape(-1, 2, *stack.shape[1:])
    wanted = 255 - pairs[::-1].reshape(stack.shape).astype(int)
    slips = {
        "The order is reversed, but what moved right must now move left: 255 - q": 255 - wanted,
        "Every motion is reversed, but the last field should come first": 255 - stack.astype(int),
        "All channels are reversed one by one, so v stands where u should be": 255
        - stack[::-1].astype(int),
        "All channels are reversed one by one, so v stands where u should be; and what moved "
        "right must now move left: 255 - q": stack[::-1],
        "Motion is reversed as -q, which wraps around in uint8; the opposite is 255 - q": (
            (wanted + 1) % 256
        ),
    }
    with unchanged("The stack that came in was changed; return a new one", stack):
        compare(answer(stack), wanted, "the stack", slips)


exchanged = choice_question(
    "All filters of the first layer start alike, so it does not matter which channel is which, as "
    "long as training and test agree.",
    right="a",
    wrong={
        "b": "Is there anything by which the network could know that channel 0 ought to be u? Its "
        "first layer starts with equal filters in all channels",
        "c": "Chance would mean that nothing can be learned from the stacks. All of the motion is "
        "still in them, only in other channels",
    },
)
