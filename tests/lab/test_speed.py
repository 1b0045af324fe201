"""Who waits for whom, and the stages of a profile."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from torch.profiler import ProfilerActivity, profile

from twostream_utils.lab import speed


@pytest.mark.parametrize(
    ("cores", "decode_ms", "gpu", "together", "waits", "idle"),
    [(2, 90, 40, 2 / 0.09, "GPU", 1 - 2 / 0.09 / 40), (4, 10, 100, 100, "loader", 0.75)],
)
def test_the_slower_one_sets_the_pace(cores, decode_ms, gpu, together, waits, idle):
    found = speed.pace(cores, decode_ms, gpu)
    assert found.together == pytest.approx(together) and found.waits == waits
    assert found.idle == pytest.approx(idle)


def test_enough_cores_are_just_enough():
    for decode_ms, gpu in itertools.product((5, 25, 90), (10, 40, 400)):
        cores = speed.cores_needed(decode_ms, gpu)
        assert speed.pace(cores, decode_ms, gpu).loader >= gpu - 1e-9
        assert cores == 1 or speed.pace(cores - 1, decode_ms, gpu).loader < gpu


def test_a_pace_needs_numbers_above_zero():
    with pytest.raises(ValueError, match="above 0, got 2, 0, 40"):
        speed.pace(2, 0, 40)


@pytest.mark.parametrize(("cores", "decode_ms", "gpu"), [(2, 90, 40), (2, 15, 40), (8, 90, 40)])
def test_the_time_line_settles_at_the_pace_and_keeps_the_rules(cores, decode_ms, gpu):
    jobs = speed.timeline(cores, decode_ms, gpu, 80)
    rows = {who: [job for job in jobs if job[0] == who] for who, *_ in jobs}
    for row in rows.values():  # nobody does two things at once
        assert all(a[3] <= b[2] + 1e-9 for a, b in itertools.pairwise(row))
    loaded = {clip: end for who, clip, _, end in jobs if who != "GPU"}
    taken = {clip: start for who, clip, start, _ in jobs if who == "GPU"}
    assert all(taken[clip] >= loaded[clip] for clip in loaded)
    rate = 1000 * 40 / (taken[79] - taken[39])
    assert rate == pytest.approx(speed.pace(cores, decode_ms, gpu).together, rel=0.05)
    for clip, start in taken.items():  # two clips a worker wait, no more
        assert sum(end <= start for k, end in loaded.items() if k > clip) <= 2 * cores


# --- stages -----------------------------------------------------------------------------------


def test_own_times_leave_out_what_lies_inside_and_add_up():
    slept: list[float] = []  # a busy machine wakes up late: only what was slept counts

    def sleep(seconds: float) -> None:
        began = time.perf_counter()
        time.sleep(seconds)
        slept.append(1000 * (time.perf_counter() - began))

    kit = SimpleNamespace(inner=lambda: sleep(0.02))

    def outer() -> None:
        sleep(0.01)
        kit.inner()
        kit.inner()

    kit.outer = outer
    original = kit.inner
    places = {"outside": [(kit, "outer")], "inside": [(kit, "inner")]}
    with speed.labelled(places), profile(activities=[ProfilerActivity.CPU]) as profiled:
        kit.outer()
    assert kit.inner is original and kit.outer is outer
    found = speed.own_times(profiled, ["outside", "inside", "never"])
    own, *inner = slept
    assert found["inside"] == pytest.approx(sum(inner), rel=0.1) and found["inside"] >= 40
    assert found["outside"] == pytest.approx(own, rel=0.5) and found["outside"] < found["inside"]
    assert found["never"] == 0


def test_a_function_that_is_not_there_cannot_be_labelled():
    places = {"decode": [(np, "imdecoded")]}
    with pytest.raises(AttributeError, match="imdecoded"), speed.labelled(places):
        pass
