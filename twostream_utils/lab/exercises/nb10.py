"""Checkers of notebook 10: Grad-CAM, frame times, groups."""

import numpy as np
import torch

from .checking import (
    ExerciseError,
    as_array,
    checker,
    choice_question,
    compare,
    compare_names,
    number_question,
    unchanged,
)

__all__ = ["grad_cam", "steady_frames", "leaks", "growth", "coarse"]


@checker("Each map weighted by its mean gradient, summed, and cut off at zero.")
def grad_cam(answer):
    """``answer(maps (K, h, w), gradient (K, h, w))``, tensors → ``(h, w)``, not scaled."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(5, 3, 4, generator=generator)
    gradient = torch.randn(5, 3, 4, generator=generator)
    m, g = maps.numpy(), gradient.numpy()
    weights = g.mean(axis=(1, 2), keepdims=True)
    summed = (weights * m).sum(axis=0)
    wanted = np.maximum(summed, 0)
    every_place = (g * m).sum(axis=0)
    slips = {
        "What speaks against the class is still in it: cut off at zero at the end": summed,
        "The absolute value turns evidence against the class into evidence for it: cut off at zero "
        "instead": np.abs(summed),
        "Each map was cut off before the sum. Evidence for and against must be weighed first": (
            np.maximum(weights * m, 0).sum(axis=0)
        ),
        "The gradient is multiplied place by place; Grad-CAM takes its mean over all places of a "
        "map, one weight for each map": np.maximum(every_place, 0),
        "The gradient is multiplied place by place, and nothing is cut off": every_place,
        "The gradient is summed over the places of a map; take the mean": wanted * m[0].size,
        "That is the mean over the maps; Grad-CAM sums them": wanted / len(m),
        "The maps are not weighted: that is their plain sum": m.sum(axis=0),
        "The weights come from the maps; they come from the gradient": np.maximum(
            (m.mean(axis=(1, 2), keepdims=True) * m).sum(axis=0), 0
        ),
        "Right, but scaled to a maximum of 1, which was not asked for": wanted / wanted.max(),
    }
    with unchanged("The maps that came in were changed; return a new tensor", maps):
        result = answer(maps, gradient)
    compare(result, wanted, "the map", slips)


@checker("For each tick the nearest frame, however unsteady the camera.")
def steady_frames(answer):
    """``answer(times (T,), rate)`` → 0-based indices of the frames nearest to 0, 1/rate, 2/rate …

    ``times`` in seconds, rising from 0; the last tick is not after the last time.
    """
    gaps = [0.03, 0.05, 0.04, 0.11, 0.02, 0.02, 0.13, 0.04, 0.21, 0.03, 0.02, 0.06]
    for times, rate in (
        (np.concatenate([[0.0], np.cumsum(gaps)]), 13.0),
        (np.arange(31) / 30, 12.5),
    ):
        ticks = np.arange(0, times[-1] + 1e-9, 1 / rate)
        wanted = np.abs(times[None] - ticks[:, None]).argmin(axis=1)
        after = np.searchsorted(times, ticks).clip(0, len(times) - 1)
        before = (np.searchsorted(times, ticks, side="right") - 1).clip(0)
        mean = (len(times) - 1) / times[-1]
        counted = np.rint(np.arange(len(ticks)) * mean / rate).astype(int)
        slips = {
            "The indices count from 1; arrays count from 0": wanted + 1,
            "Those are the times of the frames; their indices are asked for": times[wanted],
            "Those are the ticks; the indices of the frames nearest to them are asked for": ticks,
            "Always the frame after the tick; the one before may be nearer": after,
            "Always the frame before the tick; the one after may be nearer": before,
            "That counts frames as if the rate were steady; look at the times": counted,
        }
        result = as_array(answer(times.copy(), rate), "the indices")
        if result.shape == (len(ticks) - 1,):
            raise ExerciseError(
                f"{len(ticks)} ticks fit, {len(result)} indices came back: is the first or the "
                "last tick missing?"
            )
        # A tick in the middle between two frames has two right answers.
        if result.shape == wanted.shape and result.dtype.kind in "iu":
            valid = result.clip(0, len(times) - 1) == result
            distance = np.abs(times[result.clip(0, len(times) - 1)] - ticks)
            if valid.all() and np.allclose(distance, np.abs(times[wanted] - ticks), atol=1e-6):
                continue
        compare(result, wanted, "the indices", slips, tolerance=1e-6)


@checker("No person of the training set in the test, in any class.")
def leaks(answer):
    """``answer(train, test, group)`` → sorted test clips whose group is also in training.

    ``train`` and ``test`` are lists of clip names, ``group`` maps a clip to its group.
    """
    group = {
        "wave_3": "anna", "wave_1": "ben", "jump_2": "carl", "jump_5": "anna", "clap_4": "dora",
        "clap_9": "ben", "wave_7": "emil", "jump_8": "fay", "clap_6": "gus", "clap_2": "dora",
    }  # fmt: skip
    cases = (
        (["wave_3", "jump_2", "clap_4"], ["wave_7", "jump_5", "clap_9", "clap_2"]),
        (["wave_1", "clap_6"], ["clap_9", "jump_8"]),
        (["wave_1", "wave_7"], ["wave_3", "jump_8", "jump_5"]),
    )
    for train, test in cases:
        known = {group[clip] for clip in train}
        wanted = sorted(clip for clip in test if group[clip] in known)
        tested = {group[clip] for clip in test}
        slips = {
            "Those are the names of the groups; the test clips are asked for": sorted(
                known & tested
            ),
            "Those are the training clips with a twin in the test; the test clips are asked for": (
                sorted(clip for clip in train if group[clip] in tested)
            ),
            "Those are the clean test clips; the ones that leak are asked for": sorted(
                set(test) - set(wanted)
            ),
            "Clip names are compared. No clip is in both parts, yet a person may be: compare "
            "groups": sorted(set(train) & set(test)),
            "Only clips of the same class are compared; a person leaks from one class to another, "
            "too": sorted(
                clip
                for clip in test
                if any(
                    group[clip] == group[other] and clip.split("_")[0] == other.split("_")[0]
                    for other in train
                )
            ),
        }
        case = f"with {', '.join(train)} in training"
        compare_names(answer(list(train), list(test), dict(group)), wanted, slips, case)


growth = number_question(
    "Twice as far from one frame to the next: flow is px per frame, and not px per second.",
    2,
    {
        "Half the frames, but each step spans twice the time: flow grows": 0.5,
        "The motion is as fast as before in px per second; flow is px per frame": 1.0,
        "Both u and v double, and so does their length; it is not squared": 4.0,
    },
    0.01,
)


coarse = choice_question(
    "ReLU5 has one cell for 16 × 16 px; the picture of the evidence is no finer than that.",
    "b",
    {
        "a": "The frames are sharp enough: look at the picture below the light",
        "c": "It may look at fine things; the map that is shown cannot tell where within a cell",
    },
)
