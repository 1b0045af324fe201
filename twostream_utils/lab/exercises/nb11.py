"""Checkers of notebook 11: who waits for whom, shares of a test set, what helps first."""

import numpy as np

from .checking import ExerciseError, checker, choice_question, number_question, returned

__all__ = ["timeline", "cores", "share", "bottleneck"]


@checker("Nobody does two things at once, and the slower side sets the pace.")
def timeline(answer):
    """``answer(cores, load_ms, gpu_clips, clips, ahead)`` → ``(who, clip, start, end)``, in ms."""
    for given in (1, 60, 50, 8, 2), (3, 60, 50, 20, 2), (2, 10, 20, 14, 2), (2, 10, 20, 14, 1):
        wanted = _jobs(*given)
        jobs = answer(*given)
        found = _by_who(jobs)
        cores, load_ms, gpu_clips, clips, ahead = given
        case = f"with {cores} cores, {load_ms} ms a clip, {gpu_clips} clips/s and ahead={ahead}"
        for key in wanted:
            if key not in found:
                raise ExerciseError(f"No job of {key[0]} for clip {key[1]} {case}")
        if extra := sorted(set(found) - set(wanted)):
            raise ExerciseError(f"There is no job of {extra[0][0]} for clip {extra[0][1]} {case}")
        if all(np.allclose(found[key], wanted[key]) for key in wanted):
            continue
        for slip, switches in {
            "The workers run ahead without end: clip k may start only when the GPU takes clip "
            "k - ahead * cores": {"bounded": False},
            "A worker waits until its clip is done on the GPU; it may load the next one meanwhile":
                {"meanwhile": False},
            "The GPU takes clips that are not loaded yet": {"loaded": False},
            "The GPU does two clips at once: it takes the next when it's done with the one before":
                {"one_by_one": False},
            "The queue has ahead places for each worker: count ahead * cores clips back, not ahead":
                {"places": 1},
        }.items():  # fmt: skip
            slipped = _jobs(*given, **switches)
            if all(np.allclose(found[key], slipped[key]) for key in wanted):
                raise ExerciseError(slip)
        who, clip = next(key for key in wanted if not np.allclose(found[key], wanted[key]))
        begin, end = wanted[who, clip]
        raise ExerciseError(
            f"{who} has clip {clip} from {begin:g} to {end:g} ms {case}; you have "
            f"{found[who, clip][0]:g} to {found[who, clip][1]:g}"
        )


def _jobs(
    cores, load_ms, gpu_clips, clips, ahead, bounded=True, meanwhile=True, loaded=True,
    one_by_one=True, places=None,
):  # fmt: skip
    """The time line as ``{(who, clip): (start, end)}``, with a switch for each slip."""
    free, gpu_free, taken, jobs = [0.0] * cores, 0.0, [], {}
    for clip in range(clips):
        worker, before = clip % cores, clip - ahead * (places or cores)
        start = max(free[worker], taken[before] if bounded and before >= 0 else 0.0)
        ready = start + load_ms
        taken.append(max(ready * loaded, gpu_free * one_by_one))
        gpu_free = taken[-1] + 1000 / gpu_clips
        free[worker] = ready if meanwhile else gpu_free
        jobs[f"worker {worker + 1}", clip] = start, ready
        jobs["GPU", clip] = taken[-1], gpu_free
    return jobs


def _by_who(jobs):
    """A reader's list of jobs as ``{(who, clip): (start, end)}``."""
    try:
        return {(str(who), int(clip)): (float(a), float(b)) for who, clip, a, b in returned(jobs)}
    except (TypeError, ValueError):
        raise ExerciseError(
            "A list of (who, clip, start, end) is asked for, a name and three numbers each"
        ) from None


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


@checker("Every clip once, whatever the number of processes.")
def share(answer):
    """``answer(rank, processes, n)`` → the test clips, numbers below n, that ``rank`` scores."""
    for processes, n in (2, 10), (2, 7), (4, 10), (3, 2):
        shares = [[int(k) for k in returned(answer(rank, processes, n))]
                  for rank in range(processes)]  # fmt: skip
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
