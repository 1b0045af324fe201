"""Exercise checkers for stacks of frames and of flow; each prints a verdict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .checking import ExerciseError, as_array, checker, compare, unchanged
from .questions import choice_question, number_question


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


@checker("One square for all frames and fields of the clip, drawn anew for each clip.")
def check_one_view(answer: Callable) -> None:
    """``answer(frames (T, H, W, 3), fields (L, H, W, 2), side, rng)`` → both cropped alike.

    ``rng`` is a numpy generator; the result is ``(T, side, side, 3)`` and ``(L, side, side, 2)``.
    """
    side, height, width = 5, 7, 9
    y, x = np.mgrid[:height, :width].astype(np.uint8)  # every pixel says where it stands
    frames = np.stack([np.dstack([y, x, np.full_like(y, 50 + t)]) for t in range(6)])
    fields = np.stack([np.dstack([y, x]) for _ in range(8)])

    def corners(crops: np.ndarray, source: np.ndarray, what: str) -> set[tuple[int, int]]:
        if crops.shape != (len(source), side, side, source.shape[-1]):
            wanted = (len(source), side, side, source.shape[-1])
            raise ExerciseError(f"the cropped {what} has shape {crops.shape}, expected {wanted}")
        found = set()
        for crop, whole in zip(crops, source, strict=True):
            top, left = (int(value) for value in crop[0, 0, :2])
            if not np.array_equal(crop, whole[top : top + side, left : left + side]):
                raise ExerciseError(
                    f"The {what} is no square of {side} × {side} pixels cut out of the frame as it "
                    "is. (The original only resizes the flow, so its streams do not match)"
                )
            found.add((top, left))
        return found

    def view(seed: int) -> tuple[int, int]:
        result = answer(frames.copy(), fields.copy(), side, np.random.default_rng(seed))
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise ExerciseError("Return two arrays: the cropped frames, the cropped fields")
        rgb = corners(as_array(result[0], "the RGB result"), frames, "RGB")
        flow = corners(as_array(result[1], "the flow result"), fields, "flow")
        for what, places in ("frame", rgb), ("field", flow):
            if len(places) > 1:
                raise ExerciseError(
                    f"Each {what} has a crop of its own, as in the original code: the scene jumps "
                    "about inside the stack. Draw once for the whole clip"
                )
        if rgb != flow:
            raise ExerciseError(
                "RGB and flow are cut at different places: draw once for both streams"
            )
        return rgb.pop()

    views = [view(seed) for seed in range(100)]
    if len(set(views)) == 1:
        raise ExerciseError("Every clip gets the same square: draw its place from rng")
    if view(0) != views[0]:
        raise ExerciseError("The same rng gives another square: draw from the rng that comes in")
    tops, lefts = (set(part) for part in zip(*views, strict=True))
    if max(tops) < height - side or max(lefts) < width - side:
        raise ExerciseError(
            "The last row or column is never reached: rng.integers leaves out its upper end"
        )
    if len(tops) == 1 or len(lefts) == 1:
        raise ExerciseError("Only one of the two, row or column, is drawn at random")


@checker("Mirrored, and what moved right now moves left, in every field.")
def check_mirror_stack(answer: Callable) -> None:
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
    with unchanged("The stack that came in was changed; return a new one", stack):
        compare(answer(stack), wanted, "the stack", slips)


@checker("Rest is zero, u and v share one scale, and so do all fields.")
def check_normalise_flow(answer: Callable) -> None:
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
        "The deviation is missing: divide by 0.226 as well": (q - 127.5) / 255,
        "The deviation is missing: divide by 0.226 · 255": q - 127.5,
        "That is ImageNet's normalisation of red, as if flow were a picture: rest is not 0": (
            (q / 255 - 0.485) / 0.229
        ),
        "Normalised by the mean and deviation of this stack: then each clip has its own scale, and "
        "slow and fast look alike": (q - q.mean()) / q.std(),
        "Normalised by the mean and deviation of this stack: each clip has its own scale": (
            (q - q.mean()) / q.std(ddof=1)
        ),
        "Each field is stretched to its own range: that loses the speed": (q - low) / (high - low),
        "Subtracted in uint8, which wraps around below rest: make it float first": (
            ((q - 128) % 256) / (0.226 * 255)
        ),
        "Subtracted in uint8, which wraps around below rest: make it float first.": (
            ((q - 127) % 256) / (0.226 * 255)
        ),
    }
    compare(answer(stack), wanted, "the normalised stack", slips)


check_enlarged_flow = number_question(
    "The stack still says 4 px; resizing moves values about and does not change them.",
    right=4 * 64 / 58,
    tolerance=0.06,
    slips={
        "4 px is what the resized stack still says. In the enlarged picture the same hand covers "
        "more pixels": 4.0,
        "That is for a picture that shrinks: 58 px become 64 px": 4 * 58 / 64,
        "Areas grow by (64 / 58)²; a distance grows by 64 / 58": 4 * (64 / 58) ** 2,
        "64 / 58 is the factor; the hand moved 4 px before": 64 / 58,
    },
)

check_exchanged = choice_question(
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
