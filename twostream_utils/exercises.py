"""Exercise checkers for data, stacks and the first layer; each prints a verdict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .checking import ExerciseError, as_array, checker, compare


@checker("Every filter keeps its own mean over RGB, once for each new channel.")
def check_transform_first_layer(answer: Callable) -> None:
    """``answer(weight (O, 3, k, k), in_channels)`` → ``(O, in_channels, k, k)``, not rescaled."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    channels = 10
    w = weight.numpy()
    mean, rgb_sum = w.mean(1, keepdims=True), w.sum(1, keepdims=True)
    first = np.broadcast_to(mean[:1], mean.shape)
    cycled = w[:, np.arange(channels) % 3]
    slips = {
        "All output filters are equal: you took filter 0 for all (the [0] of the original code). "
        "Each output filter has its own mean": first,
        "That is the sum over RGB, three times too large; take the mean": rgb_sum,
        "The mean over RGB is missing: the three colour filters are only repeated": cycled,
        "Each value is 3/in_channels of the expected one: rescaling was not asked for here": mean
        * (3 / channels),
    }
    slips = {
        text: values if values.shape[1] == channels else values.repeat(channels, axis=1)
        for text, values in slips.items()
    }
    before = weight.clone()
    result = answer(weight, channels)
    if not torch.equal(weight, before):
        raise ExerciseError("The weight that came in was changed; return a new tensor")
    compare(result, mean.repeat(channels, axis=1), "the new weight", slips)
    compare(answer(weight[:2, :, :1], 3), mean[:2, :, :1].repeat(3, 1), "the new weight", {})


@checker("Colours kept, every frame counts alike, and the response keeps its size.")
def check_keep_colours(answer: Callable) -> None:
    """``answer(weight (O, 3, k, k), frames)`` → ``(O, 3·frames, k, k)`` that keeps the colours.

    To a stack of one frame over and over it must respond as ``weight`` does to that frame.
    """
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    frames = 5
    w = weight.numpy()
    wanted = np.tile(w, (1, frames, 1, 1)) / frames
    middle = np.zeros_like(wanted)
    middle[:, 3 * (frames // 2) : 3 * (frames // 2) + 3] = w
    mean = np.repeat(w.mean(1, keepdims=True), 3 * frames, axis=1)
    slips = {
        "Repeated but not divided: a stack of equal frames gives a response that is as many times "
        "too large as there are frames": wanted * frames,
        "Divided by the number of channels; it is frames that are counted": wanted / 3,
        "The channels come in the order r r r … g g g … b b b …; a stack has r g b r g b …": (
            np.repeat(w, frames, axis=1) / frames
        ),
        "That is the mean over RGB: the colours are gone": mean,
        "That is the mean over RGB: the colours are gone.": mean / frames,
        "Only the frame in the middle counts; all frames should count alike": middle,
    }
    before = weight.clone()
    result = answer(weight, frames)
    if not torch.equal(weight, before):
        raise ExerciseError("The weight that came in was changed; return a new tensor")
    compare(result, wanted, "the new weight", slips)


@checker("Mirrored, and what moved right now moves left.")
def check_flip_flow(answer: Callable) -> None:
    """``answer(q (H, W, 2) uint8)`` → the same, mirrored in x, with u negated (255 − u)."""
    q = np.random.default_rng(0).integers(0, 256, (4, 6, 2), dtype=np.uint8)
    wanted = q[:, ::-1].astype(int)
    wanted[..., 0] = 255 - wanted[..., 0]
    only_mirrored = q[:, ::-1]
    not_mirrored = np.stack([255 - q[..., 0], q[..., 1]], -1)
    both = 255 - q[:, ::-1]
    only_v = np.stack([q[:, ::-1, 0], 255 - q[:, ::-1, 1]], -1)
    upside_down = np.stack([255 - q[::-1, :, 0], q[::-1, :, 1]], -1)
    minus = -wanted
    minus[..., 0], minus[..., 1] = -only_mirrored[..., 0].astype(int), only_mirrored[..., 1]
    slips = {
        "u is mirrored but not negated: in a mirror, right goes left": only_mirrored,
        "u is negated but the picture is not mirrored from left to right": not_mirrored,
        "v is negated as well: up stays up in a left-right mirror": both,
        "v is negated where u should be: u, along x, is channel 0": only_v,
        "The picture is turned upside down: axis 0 is y, mirror along axis 1": upside_down,
        "u is negated as -u, but rest is 127.5 in quantised flow: the opposite is 255 - u": minus,
        "u is negated as -u, which wraps around in uint8; the opposite is 255 - u": minus % 256,
    }
    before = q.copy()
    result = as_array(answer(q), "the flipped flow")
    if not np.array_equal(q, before):
        raise ExerciseError("The flow that came in was changed; return a new array")
    compare(result, wanted, "the flipped flow", slips)
    if result.dtype != np.uint8:
        raise ExerciseError(f"The values are right, but the type is {result.dtype}, not uint8")


@checker("Counted from 1, the step kept, and a short clip loops.")
def check_stack_indices(answer: Callable) -> None:
    """``answer(n_frames, count, step, start)`` → ``count`` 1-based frame numbers that loop."""
    cases = (100, 10, 10, 1), (60, 5, 3, 7), (7, 10, 2, 3), (1, 4, 1, 1)
    for n_frames, count, step, start in cases:
        at = start - 1 + step * np.arange(count)
        wanted = at % n_frames + 1
        call = f"frames for (n_frames={n_frames}, count={count}, step={step}, start={start})"
        slips = {
            "The numbers are 0-based: frame 1 is the first": at % n_frames,
            "The last number comes first: the stack is rotated by one": np.roll(wanted, 1),
            "The numbers are rotated by one: the first comes last": np.roll(wanted, -1),
            "Frames beyond the end: a clip that is too short starts again at frame 1": at + 1,
            "The last frame is repeated; a clip that is too short starts again at frame 1": (
                np.minimum(at + 1, n_frames)
            ),
            "start is ignored": (at - start + 1) % n_frames + 1,
            "Modulo n_frames gives 0 for the last frame. Count from 0, take the modulo, add 1": (
                (at + 1) % n_frames
            ),
        }
        result = as_array(answer(n_frames, count, step, start), call)
        compare(result, wanted, call, slips)


@checker("u1, v1, u2, v2, …: channel 0 is the u of the first field.")
def check_interleave(answer: Callable) -> None:
    """``answer(flow (L, H, W, 2))`` → ``(2L, H, W)`` in the order u1, v1, u2, v2, …"""
    flow = np.arange(4 * 2 * 3 * 2, dtype=np.uint8).reshape(4, 2, 3, 2)
    wanted = np.concatenate([[field[..., 0], field[..., 1]] for field in flow])
    grouped = np.concatenate([flow[..., 0], flow[..., 1]])
    swapped = np.concatenate([[field[..., 1], field[..., 0]] for field in flow])
    slips = {
        "The first field stands at the end (channels -2 and -1), as in the original code: field j, "
        "counted from 1, goes to channels 2(j-1) and 2(j-1)+1": np.roll(wanted, -2, axis=0),
        "The last field stands in front: the stack is rotated by one field": np.roll(wanted, 2, 0),
        "All u come first, then all v; the order asked for is u1, v1, u2, v2, …": grouped,
        "v comes before u in every pair": swapped,
        "The fields are in reverse order": wanted.reshape(4, 2, 2, 3)[::-1].reshape(wanted.shape),
        "The numbers are only reshaped, so pixels of u and v are mixed; move the last axis first, "
        "then reshape": flow.reshape(wanted.shape),
    }
    compare(answer(flow), wanted, "the stack", slips)


@checker("Clamped to ±20 px, rest in the middle, uint8.")
def check_quantise(answer: Callable) -> None:
    """``answer(flow float32, px per frame)`` → uint8: ±20 px clamped onto 0…255, rounded."""
    rows = [-50.0, -20.0, -7.3, -0.05], [0.0, 0.1, 13.37, 20.0], [20.1, 300.0, 3.0, -3.0]
    flow = np.array(rows, dtype=np.float32)
    scaled = 255 * (flow.astype(np.float64) + 20) / 40
    wanted = np.rint(np.clip(scaled, 0, 255))
    stretched = 255 * (flow - flow.min()) / (flow.max() - flow.min())
    slips = {
        "Large flow wraps around: clamp to ±20 px before the cast to uint8": np.rint(scaled) % 256,
        "Large flow wraps around: clamp to ±20 px before the cast": np.floor(scaled) % 256,
        "Large flow lies outside 0…255: clamp to ±20 px first": np.rint(scaled),
        "Cut off instead of rounded: round, then cast to uint8": np.floor(np.clip(scaled, 0, 255)),
        "Stretched from its own minimum to its maximum: that loses the scale, so slow and fast "
        "motion look alike. Use the fixed ±20 px": np.rint(stretched),
        "Stretched from its own minimum to its maximum: use the fixed ±20 px": np.floor(stretched),
        "Quantised with 256 steps instead of 255": np.rint(np.clip(scaled * 256 / 255, 0, 255)),
    }
    before = flow.copy()
    result = as_array(answer(flow), "the quantised flow")
    if not np.array_equal(flow, before):
        raise ExerciseError("The flow that came in was changed; return a new array")
    difference = np.abs(result.astype(float) - wanted) if result.shape == wanted.shape else None
    at_half = np.isclose(scaled % 1, 0.5)  # rest is 127.5: 127 and 128 are both right there
    if difference is not None and (difference[at_half] <= 0.5 + 1e-6).all():
        wanted = np.where(at_half, result, wanted)
    compare(result, wanted, "the quantised flow", slips, tolerance=1e-3)
    if result.dtype != np.uint8:
        raise ExerciseError(f"The values are right, but the type is {result.dtype}, not uint8")


@checker("The last field first, every motion the other way, and u still before v.")
def check_play_backwards(answer: Callable) -> None:
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
    before = stack.copy()
    compare(answer(stack), wanted, "the stack", slips)
    if not np.array_equal(stack, before):
        raise ExerciseError("The stack that came in was changed; return a new one")


@checker("Whole groups, in every class.")
def check_group_split(answer: Callable) -> None:
    """``answer(names, numbers)`` → sorted names of the clips whose group number is in numbers."""
    names = [
        f"v_{label}_g{group:02d}_c{clip:02d}"
        for label in ("YoYo", "HandStandPushups", "Bowling")
        for group in (1, 3, 9, 13, 23)
        for clip in (1, 3, 4)
    ]
    for numbers in {3, 9}, {1}, {13, 23}:
        tags = {f"g{number:02d}" for number in numbers}
        wanted = sorted(name for name in names if name.split("_")[-2] in tags)
        slips = {
            "These are the clips to train on; return those that are held out": (
                set(names) - set(wanted)
            ),
            "That is the number of the clip (c03); the group is the part before it (g03)": {
                name for name in names if int(name[-2:]) in numbers
            },
            "Group 3 is also found in g13 and g23: compare whole group numbers": {
                name for name in names if int(name.split("_")[-2][-1]) in {n % 10 for n in numbers}
            },
            "One clip of each group is not enough: its siblings stay in the training set": {
                name for name in wanted if name.endswith("c01")
            },
        }  # fmt: skip
        result = answer(list(names), set(numbers))
        if result is None:
            raise ExerciseError("The result is None: is there a return at the end?")
        result = list(result)
        for slip, values in slips.items():
            if set(result) == values != set(wanted):
                raise ExerciseError(f"{slip} (groups {sorted(numbers)})")
        if set(result) != set(wanted) or len(result) != len(wanted):
            odd = sorted(set(result) ^ set(wanted)) or ["a clip twice"]
            raise ExerciseError(f"For groups {sorted(numbers)}, look at {odd[0]}")
        if result != wanted:
            raise ExerciseError("The right clips, but not sorted")
