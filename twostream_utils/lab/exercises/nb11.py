"""Checkers of notebook 11: who waits, small gradients in float16, shares of a test set."""

import numpy as np
import torch

from .checking import (
    ExerciseError,
    as_array,
    checker,
    choice_question,
    compare,
    number_in,
    number_question,
    unchanged,
)

__all__ = ["pace", "cores", "scaled", "share", "bottleneck"]


@checker("The slower of the two sets the pace.")
def pace(answer):
    """``answer(cores, decode_ms, gpu_clips)`` → clips a second of loader and GPU together."""
    for cores, ms, gpu in (2, 80, 40), (4, 10, 50), (1, 25, 40), (3, 90, 400):
        loader = 1000 * cores / ms
        given = number_in(answer(cores, ms, gpu), "the pace")
        if np.isclose(given, min(loader, gpu), rtol=1e-3):
            continue
        slips = {
            "That is the faster side: the slower one sets the pace": max(loader, gpu),
            "One of your seconds has no 1000 ms": min(loader / 1000, gpu),
            "Loader and GPU work on one clip after the other, not in one and the same second: they "
            "do not add up": loader + gpu,
            "That would be right if the GPU waited while a clip is loaded and the loader while the "
            "GPU computes; workers load ahead": 1 / (1 / loader + 1 / gpu),
            "More cores load more clips a second: multiply by them": min(1000 / ms / cores, gpu),
            "That is one core's pace; each of them loads": min(1000 / ms, gpu),
        }
        for slip, value in slips.items():
            if np.isclose(given, value, rtol=1e-3):
                raise ExerciseError(slip)
        raise ExerciseError(
            f"{cores} cores at {ms} ms a clip and a GPU of {gpu} clips/s: you said {given:.4g} "
            f"clips/s, it is {min(loader, gpu):.4g}"
        )


cores = number_question(
    "Five cores load 56 clips a second, which is not enough for 60; six load 67.",
    6,
    {
        "That many cores load fewer clips than the GPU takes: round up": 5,
        "There is no part of a core: round up": 5.4,
        "That is what one core loads in a second": 1000 / 90,
        "That is milliseconds of loading in a second; how many cores is that?": 5400,
    },
    0.05,
)


@checker("Scaled before the cast, unscaled after it, in float32.")
def scaled(answer):
    """``answer(gradient float32, scale)`` → what is left of it by way of float16, float32."""
    gradient = torch.tensor([3e-9, -2e-8, 1.5e-6, 4e-4, -0.25])
    scale = 1024.0
    half = (gradient * scale).half()
    wanted = half.float() / scale
    with unchanged("The gradient that was handed in was changed", gradient):
        found = answer(gradient, scale)
    if isinstance(found, torch.Tensor) and found.dtype == torch.float16:
        raise ExerciseError("The result is float16; go back to float32 before you unscale")
    slips = {
        "The scale was never taken out again": half.float(),
        "The small ones are 0. In float16 they must be large: scale before the cast, and unscale "
        "only when it is float32 again": gradient.half().float(),
        "It never was float16, so it shows nothing": gradient,
        "It was divided first: multiply before the cast": (gradient / scale).half().float() * scale,
    }
    array = as_array(found, "the gradient")
    if array.shape == wanted.shape and not np.allclose(array, wanted, rtol=1e-6, atol=0):
        for slip, values in slips.items():
            if np.allclose(array, values, rtol=1e-6, atol=0):
                raise ExerciseError(slip)
    # Relative, since the smallest of these is far below any absolute tolerance.
    size = np.abs(wanted.numpy())
    compare(array / size, wanted.numpy() / size, "the gradient, in parts of what it should be,", {})


@checker("Every clip once, whatever the number of processes.")
def share(answer):
    """``answer(rank, processes, n)`` → the test clips, numbers below n, that ``rank`` scores."""
    for processes, n in (2, 10), (2, 7), (4, 10), (3, 2):
        shares = [[int(k) for k in answer(rank, processes, n)] for rank in range(processes)]
        every = [k for share in shares for k in share]
        case = f"with {n} clips and {processes} processes"
        if twice := [k for k in every if every.count(k) > 1]:
            raise ExerciseError(f"Clip {twice[0]} is scored more than once {case}")
        if missing := sorted(set(range(n)) - set(every)):
            raise ExerciseError(f"Clip {missing[0]} is scored by nobody {case}")
        if strangers := sorted(set(every) - set(range(n))):
            raise ExerciseError(f"There is no clip {strangers[0]} {case}: they begin at 0")
        if max(map(len, shares)) - min(map(len, shares)) > 1:
            sizes = ", ".join(str(len(share)) for share in shares)
            raise ExerciseError(
                f"The shares are {sizes} clips {case}: all wait for the process with the most"
            )


bottleneck = choice_question(
    "The loader needs 60 ms a clip and the GPU 18, so only what shortens the loading helps; "
    "smaller JPEGs are read, decoded and resized faster.",
    "c",
    {
        "a": "A faster GPU would wait longer: it waits already, 42 of every 60 ms",
        "b": "Mixed precision makes forward and backward shorter, and the GPU waits already",
        "d": "A larger batch loads as many clips a second as before",
    },
)
