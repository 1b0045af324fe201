"""Checkers of notebook 03: which frames, in which order, cut and enlarged how."""

import numpy as np

from .checking import ExerciseError, as_array, checker, compare, number_question, picture

__all__ = ["stack_indices", "interleave", "one_view", "enlarged_flow", "picture"]


@checker("Counted from 1, the step kept, and a short clip loops.")
def stack_indices(answer):
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
def interleave(answer):
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
def one_view(answer):
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
    if [view(seed) for seed in range(9)] != views[:9]:  # one alone may agree by chance
        raise ExerciseError("The same rng gives another square: draw from the rng that comes in")
    tops, lefts = (set(part) for part in zip(*views, strict=True))
    if len(tops) == 1 or len(lefts) == 1:
        raise ExerciseError("Only one of the two, row or column, is drawn at random")
    if len(set(views)) < 0.75 * len(tops) * len(lefts):  # all, where both are drawn
        raise ExerciseError("Row and column hang together: draw a number for each of the two")
    if max(tops) < height - side or max(lefts) < width - side:
        raise ExerciseError(
            "The last row or column is never reached: rng.integers leaves out its upper end"
        )


enlarged_flow = number_question(
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
