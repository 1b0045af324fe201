"""Checkers of notebook 03: an item of a data set, frames of the whole clip, enlarged flow."""

from itertools import product

import numpy as np

from .checking import ExerciseError, as_array, checker, compare, number_question, picture, unchanged

__all__ = ["item", "segment_positions", "enlarged_flow", "picture"]

SIDE, HEIGHT, WIDTH = 5, 7, 9
LOOPS = "A clip that is too short starts again at its first image; yours stays at the last"


def _clip(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames that say (row, column, number) and fields that say (place, number) in each pixel."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.uint8)
    frames = np.stack([np.dstack([y, x, np.full_like(y, 50 + t)]) for t in range(length)])
    fields = np.stack([np.dstack([x + 10 * y, np.full_like(y, t)]) for t in range(length - 1)])
    return frames, fields


def _stack(images: np.ndarray, view: tuple, count: int, step: int, sign: bool = True) -> np.ndarray:
    """What a view (start, top, left, flip) shows, as channels; ``sign``: of flow u is negated."""
    start, top, left, flip = view
    cut = images[(start + step * np.arange(count)) % len(images)]
    cut = cut[:, top : top + SIDE, left : left + SIDE].astype(int)
    if flip:
        cut = cut[:, :, ::-1].copy()
        if images.shape[-1] == 2 and sign:
            cut[..., 0] = 255 - cut[..., 0]
    return cut.transpose(0, 3, 1, 2).reshape(-1, SIDE, SIDE)


def _stuck(images: np.ndarray, view: tuple, count: int, step: int) -> np.ndarray:
    """The stack of someone whose clip ends at its last image instead of starting again."""
    places = np.minimum(view[0] + step * np.arange(count), len(images) - 1)
    return np.concatenate([_stack(images, (place, *view[1:]), 1, 1) for place in places])


def _grouped(stack: np.ndarray, parts: int) -> np.ndarray:
    return stack.reshape(-1, parts, SIDE, SIDE).swapaxes(0, 1).reshape(stack.shape)


def _mixed(stack: np.ndarray) -> np.ndarray:
    return stack.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1).reshape(stack.shape)


def _negated(stack: np.ndarray, parts: int, flip: bool, top: int = 255) -> np.ndarray:
    """A stack whose first channel of each image is taken from ``top``, if it is mirrored."""
    stack = stack.copy()
    stack[::parts] = (top - stack[::parts]) % 256 if flip else stack[::parts]
    return stack


def _views(images: np.ndarray) -> list[tuple]:
    """All views (start, top, left, flip) of a clip."""
    return list(product(range(len(images)), range(HEIGHT - SIDE + 1), range(WIDTH - SIDE + 1),
                        (False, True)))  # fmt: skip


def _not_a_view(rgb: np.ndarray, frames: np.ndarray, count: int, step: int) -> ExerciseError:
    """What is wrong with an RGB stack that shows no view."""

    def shown(view: tuple, step: int = step) -> np.ndarray:
        return _stack(frames, view, count, step)

    slips = {
        "All red channels come first; the order asked for is r1 g1 b1 r2 g2 b2 …":
            lambda view: _grouped(shown(view), 3),
        "Colours come before rows and columns: transpose first, a reshape alone mixes them":
            lambda view: _mixed(shown(view)),
        "The frames are next to each other: step is ignored": lambda view: shown(view, 1),
        "The mirror stands upside down: columns are turned round, not rows":
            lambda view: shown((*view[:3], False))[:, ::-1],
        "Red is negated in the mirror: only u of the flow is":
            lambda view: _negated(shown(view), 3, view[3]),
        LOOPS: lambda view: _stuck(frames, view, count, step),
        "Frames loop by their own number, and there is one field fewer":
            lambda view: _stack(frames[:-1], view, count, step),
    }  # fmt: skip
    for slip, kind in slips.items():
        if any(np.array_equal(kind(view), rgb) for view in _views(frames)):
            return ExerciseError(slip)
    corners = {tuple(plane.min() for plane in rgb[3 * k : 3 * k + 2]) for k in range(count)}
    if len(corners) > 1:
        return ExerciseError(
            "The frames of one clip are cut at different places: draw once for the whole clip"
        )
    return ExerciseError(
        "The RGB stack is no square of the frames, cut once, in the order r1 g1 b1 r2 g2 b2 …"
    )


@checker("One start, one square, one flip, for both streams, and drawn anew for each clip.")
def item(answer):
    """``answer(frames (T, H, W, 3), fields (T - 1, H, W, 2), count, step, side, rng)``.

    Returns ``(3·count, side, side)`` and ``(2·count, side, side)``; of a long clip and a short one.
    """
    for length, count, step, draws in (14, 3, 4, 240), (5, 4, 2, 12):
        frames, fields = _clip(length)
        slack = max(length - (step * (count - 1) + 1), 0)
        known = {_stack(frames, view, count, step).astype(float).tobytes(): view
                 for view in reversed(_views(frames))}  # fmt: skip
        seen = []
        for seed in range(draws):
            with unchanged("The frames or fields were changed: copy first", frames, fields):
                made = answer(frames, fields, count, step, SIDE, np.random.default_rng(seed))
            if not isinstance(made, tuple | list) or len(made) != 2:
                raise ExerciseError("Return two arrays: the RGB stack, the flow stack")
            rgb, flow = as_array(made[0], "the RGB stack"), as_array(made[1], "the flow stack")
            for stack, parts, name in (rgb, 3, "RGB"), (flow, 2, "flow"):
                if stack.shape != (parts * count, SIDE, SIDE):
                    wanted = (parts * count, SIDE, SIDE)
                    raise ExerciseError(f"the {name} stack has shape {stack.shape}, not {wanted}")
            view = known.get(rgb.astype(float).tobytes())
            if view is None:
                raise _not_a_view(rgb, frames, count, step)
            if view[0] > slack:
                why = "so it loops though it would fit" if slack else "a short clip starts at 1"
                raise ExerciseError(f"A clip of {length} frames starts at {view[0] + 1}: {why}")
            _check_flow(flow, fields, view, count, step)
            seen.append(view)
        if length == 14:
            _check_draws(seen, slack)


def _check_flow(flow: np.ndarray, fields: np.ndarray, view: tuple, count: int, step: int) -> None:
    wanted = _stack(fields, view, count, step)
    if np.array_equal(flow, wanted):
        return
    plain = _stack(fields, (*view[:3], False), count, step)
    mirrored = [_stack(fields, (*view[:3], True), count, step, sign) for sign in (True, False)]
    v_too, v_only = wanted.copy(), mirrored[1].copy()
    for stack in v_too, v_only:
        stack[1::2] = 255 - stack[1::2]
    compare(flow, wanted, "the flow stack", {
        "The flow is mirrored, but u is not negated: 255 - u": _stack(fields, view, count, step,
                                                                     False),
        "−u of a uint8 is 256 − u, and rest is 127.5: 255 − u": _negated(
            _stack(fields, view, count, step, False), 2, view[3], 256),
        LOOPS: _stuck(fields, view, count, step),
        "v is negated: in a mirror, down stays down, and only u changes its sign": [v_too, v_only],
        "RGB is mirrored and flow is not: one coin for both": plain,
        "Flow is mirrored and RGB is not: one coin for both": mirrored,
        "All u come first, then all v; the order asked for is u1 v1 u2 v2 …": _grouped(wanted, 2),
        "v comes before u in every pair": wanted.reshape(-1, 2, SIDE, SIDE)[:, ::-1].reshape(
            wanted.shape),
        "u and v are cut from another place, or at another moment, than RGB: one view for both": [
            _stack(fields, (start, top, left, flip), count, step)
            for start, top, left, flip in _views(fields)
        ],
    })  # fmt: skip


def _check_draws(seen: list[tuple], slack: int) -> None:
    starts, tops, lefts, flips = (set(part) for part in zip(*seen))
    if len(set(seen)) == 1:
        raise ExerciseError("Every clip gets the same view: draw it from rng")
    if len(flips) == 1:
        raise ExerciseError("No clip, or every clip, is mirrored: toss a coin")
    if len(starts) == 1:
        raise ExerciseError("Every stack starts at the same frame: draw the start as well")
    for name, found, most in (
        ("start", starts, slack), ("top row", tops, HEIGHT - SIDE),
        ("left column", lefts, WIDTH - SIDE),
    ):  # fmt: skip
        if found == set(range(most)):
            also = " (and only the frames have to fit, not the fields)" if name == "start" else ""
            raise ExerciseError(
                f"The last {name} is never reached: rng.integers leaves out its upper end{also}"
            )
        if found != set(range(most + 1)):
            few = f"The {name} takes only {len(found)} of its {most + 1} values: draw it from rng"
            raise ExerciseError(few)


@checker("One of each part, in order, and the whole clip is seen.")
def segment_positions(answer):
    """``answer(n_frames, count, rng)`` → one position of each of ``count`` parts, from 1."""
    for n_frames, count in (60, 6), (25, 5), (31, 4):
        part, seen = n_frames / count, []
        for seed in range(400):
            found = as_array(answer(n_frames, count, np.random.default_rng(seed)), "the positions")
            if found.shape != (count,):
                raise ExerciseError(f"{count} positions were asked for; shape {found.shape}")
            if (found != found.round()).any():
                raise ExerciseError("Positions are whole numbers")
            seen.append(found)
        seen = np.array(seen)
        if seen.min() == 0:
            raise ExerciseError("The positions are counted from 0: frame 1 is the first")
        if seen.max() > n_frames:
            raise ExerciseError(f"Position {seen.max()} of a clip of {n_frames} frames")
        if (np.diff(seen, axis=1) < 0).any():
            raise ExerciseError("Not in order: draw within each part, not from the whole clip")
        inside = (seen - 1) // part
        if (inside != np.arange(count)).mean() > (0.0 if part == round(part) else 0.1):
            raise ExerciseError(
                f"Each of the {count} parts of {part:g} frames should have one position; here is "
                f"{[int(k) for k in seen[(inside != np.arange(count)).any(axis=1)][0]]}"
            )
        if (np.ptp(seen, axis=0) == 0).any():
            raise ExerciseError("The same position every time: draw within each part")
        steps = np.diff(seen, axis=1)
        if (steps == steps[:, :1]).all():
            raise ExerciseError("All parts share one draw: draw for each of them")
        if part == round(part) and len(set((seen[:, 0] - 1).tolist())) < part:
            raise ExerciseError("The last frame of a part is never drawn")


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
