"""Who waits for whom, stages of a profile, and the figures of notebook 10."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from torch.profiler import ProfilerActivity, profile

from twostream_utils.lab import gpu_waits, kept, speed_plots, stages
from twostream_utils.lab.explore import pace as explore_pace


@pytest.mark.parametrize(
    ("cores", "decode_ms", "gpu", "together", "waits", "idle"),
    [(2, 90, 40, 2 / 0.09, "GPU", 1 - 2 / 0.09 / 40), (4, 10, 100, 100, "loader", 0.75)],
)
def test_the_slower_one_sets_the_pace(cores, decode_ms, gpu, together, waits, idle):
    found = gpu_waits.pace(cores, decode_ms, gpu)
    assert found.together == pytest.approx(together) and found.waits == waits
    assert found.idle == pytest.approx(idle)


def test_enough_cores_are_just_enough():
    for decode_ms, gpu in itertools.product((5, 25, 90), (10, 40, 400)):
        cores = gpu_waits.cores_needed(decode_ms, gpu)
        assert gpu_waits.pace(cores, decode_ms, gpu).loader >= gpu - 1e-9
        assert cores == 1 or gpu_waits.pace(cores - 1, decode_ms, gpu).loader < gpu


def test_a_pace_needs_numbers_above_zero():
    with pytest.raises(ValueError, match="above 0, got 2, 0, 40"):
        gpu_waits.pace(2, 0, 40)


@pytest.mark.parametrize(("cores", "decode_ms", "gpu"), [(2, 90, 40), (2, 15, 40), (8, 90, 40)])
def test_the_time_line_settles_at_the_pace_and_keeps_the_rules(cores, decode_ms, gpu):
    jobs = gpu_waits.timeline(cores, decode_ms, gpu, 80)
    rows = {who: [job for job in jobs if job[0] == who] for who, *_ in jobs}
    for row in rows.values():  # nobody does two things at once
        assert all(a[3] <= b[2] + 1e-9 for a, b in itertools.pairwise(row))
    loaded = {clip: end for who, clip, _, end in jobs if who != "GPU"}
    taken = {clip: start for who, clip, start, _ in jobs if who == "GPU"}
    assert all(taken[clip] >= loaded[clip] for clip in loaded)
    rate = 1000 * 40 / (taken[79] - taken[39])
    assert rate == pytest.approx(gpu_waits.pace(cores, decode_ms, gpu).together, rel=0.05)
    for clip, start in taken.items():  # two clips a worker wait, no more
        assert sum(end <= start for k, end in loaded.items() if k > clip) <= 2 * cores


@pytest.mark.parametrize("cores", [1, 2, 7, 16])
@pytest.mark.parametrize(("decode_ms", "gpu"), [(5, 5), (5, 400), (90, 40), (200, 5), (200, 400)])
def test_the_pace_can_be_drawn_over_the_range_of_its_sliders(cores, decode_ms, gpu):
    picture, sentence = explore_pace.pace_view(cores, decode_ms, gpu)
    assert picture.shape == (300, 960, 3) and picture.dtype == np.uint8
    assert f"{gpu}: together" in sentence and "waits" in sentence


def test_the_explorer_redraws_for_every_slider():
    box = explore_pace.pace_explorer()
    image, words = box.children[-2:]
    for slider in box.children[0].children:
        before = image.value, words.value
        slider.value = slider.value + slider.step
        assert (image.value, words.value) != before


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
    with stages.labelled(places), profile(activities=[ProfilerActivity.CPU]) as profiled:
        kit.outer()
    assert kit.inner is original and kit.outer is outer
    found = stages.own_times(profiled, ["outside", "inside", "never"])
    own, *inner = slept
    assert found["inside"] == pytest.approx(sum(inner), rel=0.1) and found["inside"] >= 40
    assert found["outside"] == pytest.approx(own, rel=0.5) and found["outside"] < found["inside"]
    assert found["never"] == 0


def test_a_function_that_is_not_there_cannot_be_labelled():
    places = {"decode": [(np, "imdecoded")]}
    with pytest.raises(AttributeError, match="imdecoded"), stages.labelled(places):
        pass


# --- figures ----------------------------------------------------------------------------------


def test_stage_bars_name_every_stage_and_give_the_sums():
    times = {"a": {"read": 1.0, "decode": 2.5}, "b": {"read": 0.5, "decode": 2.0}}
    fig = speed_plots.stage_bars(times)
    axis = fig.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["read", "decode"]
    assert sorted(bar.get_width() for bar in axis.patches) == [0.5, 1.0, 2.0, 2.5]
    assert "a: 3.5 ms a clip" in axis.get_legend().get_texts()[0].get_text()


def test_ratios_and_growth_draw_what_is_kept():
    entries = {
        "first": {"ratio": 2.0, "quartiles": [1.5, 3.0]},
        "alone": {"ours": 1.0, "quartiles": [1.0, 1.0]},
        "curve": {"x": [10, 100], "x_label": "clips", "unit": "ms", "what": "reading", "series":
                  {"": {"y": [1.0, 2.0], "quartiles": [[0.9, 1.1], [1.8, 2.2]]}}},
    }  # fmt: skip
    axis = speed_plots.ratios(entries).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["first"]
    panels = [axis for axis in speed_plots.growth(entries).axes if axis.get_visible()]
    assert len(panels) == 1 and panels[0].get_xlabel() == "clips"
    assert panels[0].get_title() == "reading"
    entries["curve"]["one_core"] = True
    assert speed_plots.growth(entries).axes[0].get_title() == "reading\n(one CPU core)"
    assert "10 → 1, 100 → 2" in kept.table({"curve": entries["curve"]})
