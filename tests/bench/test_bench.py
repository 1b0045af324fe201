"""`make bench`: the original's recipe by hand, the arithmetic of ratios, the file, every row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import bench
import bench_clips
import bench_loader
import cv2
import measure
import numpy as np
import pytest
import torch
from PIL import Image

from twostream_utils.experiments.original_loader import (
    FLOW_FIELDS,
    RGB_FRAMES,
    OriginalClips,
    write_folders,
)
from twostream_utils.stacks import RGB_MEAN, RGB_STD, StackDataset
from twostream_utils.store import FrameStore

ROOT = Path(__file__).resolve().parents[2]
RESULTS = measure.load()


# --- the original's recipe --------------------------------------------------------------------


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> Path:
    """One clip of plain pictures, 40×32 px: frame n is grey 10 n, u is 60 + n, v is 160 + n."""
    root = tmp_path_factory.mktemp("flat")
    for folder, base in ("jpegs_256", 0), ("tvl1_flow/u", 60), ("tvl1_flow/v", 160):
        place = root / folder / "clip"
        place.mkdir(parents=True)
        for n in range(1, 5):
            shape = (32, 40, 3) if folder == "jpegs_256" else (32, 40)
            value = base + (n if base else 10 * n)
            Image.fromarray(np.full(shape, value, np.uint8)).save(place / f"frame{n:06d}.jpg")
    return root


def test_the_recipe_has_the_originals_shapes_values_and_order(flat):
    clips = OriginalClips(flat, ["clip"], [3], 24, rgb_frames=(1, 3), flow_fields=(1, 2, 4))
    rgb, flow, label = clips[0]
    assert rgb.shape == (6, 24, 24) and flow.shape == (6, 24, 24) and label == 3
    assert rgb.dtype == flow.dtype == torch.float32
    for channel, grey in enumerate([10, 10, 10, 30, 30, 30]):
        colour = channel % 3
        by_hand = (grey / 255 - RGB_MEAN[colour]) / RGB_STD[colour]
        assert rgb[channel, 5, 7].item() == pytest.approx(by_hand, abs=0.01)
    stored = [62, 162, 64, 164, 61, 161]  # the first field stands at the end
    by_hand = (torch.tensor(stored) / 255 - 0.485) / 0.229  # grey with the figures of red
    assert torch.allclose(flow[:, 5, 7], by_hand, atol=0.01)


def test_each_frame_gets_a_crop_of_its_own(tmp_path):
    place = tmp_path / "jpegs_256" / "clip"
    place.mkdir(parents=True)
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (40, 1, 3))
    for n in range(1, 9):
        cv2.imwrite(str(place / f"frame{n:06d}.jpg"), ramp)
    torch.manual_seed(0)
    rgb, _, _ = OriginalClips(tmp_path, ["clip"], [0], 24, range(1, 9), ())[0]
    assert len(torch.unique(rgb[::3, 0, 0].round(decimals=2))) > 4


def test_full_size_numbers_are_the_originals():
    assert RGB_FRAMES == (10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
    assert FLOW_FIELDS[:2] == (1, 3) and FLOW_FIELDS[-1] == 99 and len(FLOW_FIELDS) == 50


def test_folders_written_for_the_recipe_hold_the_clips_of_a_store(tiny, tmp_path):
    clip = tiny.store.clips[0]
    write_folders(tiny.store, [clip], tmp_path)
    written = FrameStore(tmp_path)
    assert written.clips == [clip] and written.n_flow(clip) == tiny.store.n_flow(clip)
    for a, b in (
        (written.rgb(clip, 2), tiny.store.rgb(clip, 2)),
        (written.flow(clip, 5), tiny.store.flow(clip, 5)),
    ):
        assert np.abs(a.astype(int) - b).mean() < 3  # as JPEGs once more


# --- figures and the file ---------------------------------------------------------------------


def test_the_ratio_is_the_median_of_the_rounds_own_ratios():
    entry = measure.compare([1.0, 2.0, 4.0], [2.0, 8.0, 4.0])  # 2, 4 and 1 times as good
    assert entry == {"ours": 2.0, "theirs": 4.0, "ratio": 2.0, "quartiles": [1.5, 3.0]}


def test_without_a_baseline_the_quartiles_are_those_of_ours():
    assert measure.compare([1.0, 2.0, 4.0, 5.0], []) == {"ours": 3.0, "quartiles": [1.75, 4.25]}


def test_both_run_in_turns_after_a_warm_up():
    calls: list[str] = []

    def sample(name: str, value: float):
        return lambda: calls.append(name) or value

    ours, theirs = measure.in_turns(sample("A", 1.0), sample("B", 2.0), 3)
    assert "".join(calls) == "ABABABAB" and ours == [1.0] * 3 and theirs == [2.0] * 3
    assert measure.in_turns(sample("A", 1.0), None, 2) == ([1.0, 1.0], [])


def test_a_curve_keeps_its_series_apart():
    values = iter([99.0, 1.0, 3.0])  # the first is the warm-up's
    samples = {10: lambda: {"a": next(values), "b": 5.0}, 20: lambda: {"a": 7.0, "b": 6.0}}
    found = measure.curve(samples, 2)
    assert found["x"] == [10, 20]
    assert found["series"]["a"] == {"y": [2.0, 7.0], "quartiles": [[1.5, 2.5], [7.0, 7.0]]}
    assert found["series"]["b"]["y"] == [5.0, 6.0]


def test_a_stopwatch_divides_by_the_units(monkeypatch):
    ticks = iter([10.0, 13.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    assert measure.stopwatch(lambda: None, units=6)() == 500.0


def test_rows_measured_anew_replace_their_own_and_leave_the_others(tmp_path):
    path = tmp_path / "results.json"
    measure.keep({"loader-plain": {"ours": 1}, "growth-classes": {"ours": 2}}, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"no-row-any-more": {}}))
    merged = measure.keep({"loader-plain": {"ours": 3}}, path)
    assert merged == json.loads(path.read_text()) == {
        "loader-plain": {"ours": 3}, "growth-classes": {"ours": 2},
    }  # fmt: skip
    assert list(merged) == [name for name in measure.ROWS if name in merged]
    assert measure.load(tmp_path / "none.json") == {}


def test_rows_are_chosen_by_name_or_group():
    assert bench.chosen(["fit-memory", "import"]) == [
        "fit-memory", "import-course",
    ]  # fmt: skip
    assert bench.chosen([]) == list(measure.ROWS)
    assert {row.group for row in measure.ROWS.values()} == set(bench.GROUPS)
    with pytest.raises(ValueError, match="no row speed; there are the groups loader"):
        bench.chosen(["speed", "loader"])


# --- the rows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "ours", "ratio", "met"),
    [("≥ 5", 1, 5.0, True), ("≥ 5", 9, 4.9, False), ("≤ 60", 61, None, False),
     ("≤ 60", 60, None, True), ("", 1, 3.0, None)],
)  # fmt: skip
def test_the_table_says_whether_a_goal_is_met(goal, ours, ratio, met):
    entry = {"goal": goal, "ours": ours, "unit": "s", "quartiles": [1, 2], "what": "x",
             "baseline": ""} | ({"ratio": ratio, "theirs": 1} if ratio else {})  # fmt: skip
    assert measure.met(entry) is met
    line = measure.table({"row": entry}).splitlines()[1].rstrip()
    assert line.endswith({True: f"{goal} met", False: f"{goal} missed", None: "1 – 2"}[met])


@pytest.fixture(scope="module")
def sizes(tmp_path_factory) -> measure.Sizes:
    return replace(measure.TINY, data=tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("name", measure.ROWS)
def test_every_row_can_be_measured(name, sizes, monkeypatch):
    monkeypatch.setattr(measure, "pin", lambda: False)  # the other tests want their cores
    try:
        entry = measure.measure(measure.ROWS[name], sizes, rounds=1)
    except measure.Skip as reason:
        pytest.skip(str(reason))
    assert set(entry["run"]) >= {"date", "commit", "cores", "torch", "opencv", "python"}
    if "series" in entry:
        assert len(entry["x"]) >= 2
        for column in entry["series"].values():
            assert len(column["y"]) == len(column["quartiles"]) == len(entry["x"])
            assert min(column["y"]) > 0
    else:
        assert entry["ours"] > 0 and ("ratio" in entry) == bool(entry["baseline"])
    assert name in measure.table({name: entry})


class Asleep(StackDataset):
    """Takes no core and the same time for every batch."""

    def batch(self, indices, room=None):
        time.sleep(0.15)
        return {"label": torch.zeros(len(indices))}


def test_two_sleeping_workers_are_twice_as_fast_as_one(sizes):
    dataset = bench_clips.clips(sizes, Asleep)
    dataset.repeat = 18 * sizes.batch // len(dataset)
    one, two = (bench_loader.with_workers(dataset, sizes.batch, n)() for n in (1, 2))
    assert 1.5 < one / two < 2.08  # a busy machine wakes them late; never more than two


class Leaking(StackDataset):
    """Keeps a copy of every batch that it has made."""

    def batch(self, indices, room=None):
        batch = super().batch(indices, room)
        self.__dict__.setdefault("kept", []).append(batch["flow"].clone())
        return batch


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says")
def test_memory_of_a_worker_grows_if_it_keeps_its_batches(sizes, monkeypatch):
    larger, clips = replace(sizes, height=256), bench_clips.clips
    ratios = []
    for kind in StackDataset, Leaking:
        monkeypatch.setattr(bench_clips, "clips", lambda s, kind=kind: clips(s, kind))
        with measure.ROWS["loader-memory"].start(larger) as (ours, theirs):
            end = ours()
            ratios.append(theirs() / end)
    assert ratios[0] > 0.97 and ratios[1] < 0.95


def test_plain_crops_need_no_resize_and_differ_from_clip_to_clip(sizes):
    dataset = bench_clips.clips(sizes, bench_clips.PlainCrops)
    views = [dataset.views(i)[0] for i in range(len(dataset))]
    assert {view.side for view in views} == {sizes.crop}
    assert len({(view.top, view.left) for view in views}) == len(views)
    assert dataset[0]["flow"].shape == (1, 100, sizes.crop, sizes.crop)


def test_folders_hold_the_same_bytes_as_the_shards(sizes):
    stores = FrameStore(bench_clips.shards(sizes)), FrameStore(bench_clips.folders(sizes))
    a, b = (store.read_flow(stores[0].clips[0], [1, 3]) for store in stores)
    assert (a == b).all() and a.shape[1:3] == sizes.frame[::-1]


def test_a_row_in_a_process_of_its_own_is_pinned_and_kept(sizes, tmp_path):
    path = tmp_path / "results.json"
    command = [sys.executable, ROOT / "tests" / "bench" / "bench.py", "loader-plain", "--tiny"]
    command += ["--rounds", "2", "--data", sizes.data, "--results", path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    entry = measure.load(path)["loader-plain"]
    assert entry["one_core"] == hasattr(os, "sched_setaffinity") and entry["rounds"] == 2
    assert f"{entry['ratio']:.3g}" in done.stdout.splitlines()[-3]


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["faster"])
    assert "no row faster" in capsys.readouterr().err


@pytest.mark.skipif(not RESULTS, reason="make bench has not been run")
def test_committed_results_have_every_row():
    due = [name for name, row in measure.ROWS.items() if name in RESULTS or not row.gpu]
    assert list(RESULTS) == due, "run `make bench`"
    for name, entry in RESULTS.items():
        row = measure.ROWS[name]
        assert (entry["what"], entry["unit"]) == (row.what, row.unit), f"make bench: {name}"
