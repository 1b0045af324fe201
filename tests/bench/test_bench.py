"""`make bench`: the arithmetic of its ratios, its file, its clips, and every row at a tiny size."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import bench
import bench_import
import clips
import gpu_check
import measure
import numpy as np
import pytest
import torch

from twostream_utils.flow import compute_flow
from twostream_utils.lab import kept
from twostream_utils.stacks import StackDataset, make_loader
from twostream_utils.vgg import vgg19

pytestmark = pytest.mark.usefixtures("one_core")


# --- figures and the file ---------------------------------------------------------------------


def test_the_ratio_is_the_median_of_the_rounds_own_ratios():
    entry = measure.compare([1.0, 2.0, 4.0], [2.0, 8.0, 4.0])  # 2, 4 and 1 times as good
    assert entry == {"ours": 2.0, "theirs": 4.0, "ratio": 2.0, "quartiles": [1.5, 3.0]}
    alone = measure.compare([1.0, 2.0, 4.0, 5.0])
    assert alone == {"ours": 3.0, "quartiles": [1.75, 4.25]}


def test_rows_measured_anew_replace_their_own_and_leave_the_others(tmp_path):
    path = tmp_path / "bench.json"
    measure.keep({"loader-plain": {"ours": 1}, "fit-memory": {"ours": 2}}, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"no-row-any-more": {}}))
    merged = measure.keep({"loader-plain": {"ours": 3}}, path)
    assert merged == kept.load(path) == {"loader-plain": {"ours": 3}, "fit-memory": {"ours": 2}}
    assert kept.load(tmp_path / "none.json") == {}


def test_rows_are_chosen_by_name_or_group(capsys):
    assert bench.chosen(["fit-memory", "import"]) == ["fit-memory", "import-course"]
    assert bench.chosen([]) == list(measure.ROWS)
    assert {row.group for row in measure.ROWS.values()} == set(bench.GROUPS)
    with pytest.raises(SystemExit):
        bench.main(["faster", "loader"])
    assert "no row faster; there are the groups loader" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("goal", "ours", "ratio", "met"),
    [("≥ 5", 1, 5.0, True), ("≥ 5", 9, 4.9, False), ("≤ 60", 61, None, False),
     ("≤ 60", 60, None, True), ("", 1, 3.0, None)],
)  # fmt: skip
def test_the_table_says_whether_a_goal_is_met(goal, ours, ratio, met):
    entry = {"goal": goal, "ours": ours, "unit": "s", "quartiles": [1, 2], "what": "x",
             "baseline": ""} | ({"ratio": ratio, "theirs": 1} if ratio else {})  # fmt: skip
    assert kept.met(entry) is met
    line = kept.table({"row": entry}).splitlines()[1].rstrip()
    assert line.endswith({True: f"{goal} met", False: f"{goal} missed", None: "1 – 2"}[met])


def test_committed_results_are_of_rows_that_there_are():
    assert kept.load(), "make bench"
    for name, entry in kept.load().items():
        row = measure.ROWS[name]
        assert (entry["what"], entry["unit"]) == (row.what, row.unit), f"make bench: {name}"


# --- clips and rows ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sizes(tmp_path_factory) -> measure.Sizes:
    return replace(measure.TINY, data=tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("name", [name for name in measure.ROWS if name != "loader-plain"])
def test_every_row_can_be_measured(name, sizes, monkeypatch):
    """But the one that the next test measures."""
    monkeypatch.setattr(measure, "pin", lambda: None)  # the other tests want their cores
    importing = bench_import.importing

    def light(modules):  # whose imports would take seconds more in a process of their own
        exec(f"import {modules}")
        return importing("json")

    monkeypatch.setattr(bench_import, "importing", light)
    entry = measure.measure(name, sizes, rounds=1)
    assert set(entry["run"]) >= {"date", "commit", "cores", "torch", "opencv", "python"}
    assert entry["ours"] > 0 and ("ratio" in entry) == bool(entry["baseline"])
    assert name in kept.table({name: entry})


def test_a_row_has_a_process_of_its_own_and_is_kept(sizes, tmp_path, capsys):
    path = tmp_path / "bench.json"
    options = ["--tiny", "--rounds", "2", "--data", str(sizes.data), "--results", str(path)]
    assert bench.main(["loader-plain", *options]) == 0
    entry = kept.load(path)["loader-plain"]
    assert entry["one_core"] and entry["rounds"] == 2
    assert f"{entry['ratio']:.3g}" in capsys.readouterr().out.splitlines()[-3]


class Leaking(StackDataset):
    """Keeps as much as a clip's stacks of every clip that it has seen."""

    def views(self, index):
        stack = torch.full((100, self.profile.crop, self.profile.crop), 1, dtype=torch.uint8)
        self.__dict__.setdefault("kept", []).append(stack.share_memory_())
        return super().views(index)


def memory(pid: int) -> float:
    """MB of a process, its share of shared pages with it, but without files, once it is at rest."""
    before, now = -1.0, 0.0
    while now != before:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kinds = dict(line.split()[:2] for line in text.splitlines()[1:])
        before, now = now, (int(kinds["Anonymous:"]) + int(kinds.get("Pss_Shmem:", 0))) / 1000
        time.sleep(0.2)
    return now


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says")
@pytest.mark.parametrize(("kind", "grows"), [(StackDataset, False), (Leaking, True)])
def test_memory_of_a_worker_does_not_grow_in_an_epoch(sizes, kind, grows):
    dataset = clips.dataset(replace(sizes, height=128), kind, repeat=20)
    before = set(multiprocessing.active_children())
    batches = iter(make_loader(dataset, sizes.batch, 1, 0))
    (worker,) = set(multiprocessing.active_children()) - before
    total, taken = len(dataset) // sizes.batch, []
    for number, _ in enumerate(batches, start=1):
        if number in (total // 3, total - 2):  # a worker ends with its last batch
            taken.append(memory(worker.pid))
    seen = 100 * dataset.profile.crop**2 * sizes.batch * (total - 2 - total // 3) / 1e6
    assert (taken[1] - taken[0] > seen / 2) == grows, (seen, taken)


@pytest.mark.parametrize(("label", "step"), clips.DIRECTIONS.items())
def test_textures_move_towards_their_class(label, step):
    frames = clips.moving_texture(label, 5, 96, frames=2)
    assert frames.shape == (2, 96, 128, 3) and frames.dtype == np.uint8
    flow = np.median(compute_flow(*frames[..., 1], "dis"), axis=(0, 1))
    assert 0.8 < flow @ step < 3.2 and abs(flow).sum() - flow @ step < 0.2


# --- make gpu-check ---------------------------------------------------------------------------


def test_without_a_gpu_it_says_so_and_is_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TWOSTREAM_DEVICE", "cpu")  # is put back afterwards
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--data", str(tmp_path / "data")]) == 0
    assert "no CUDA device" in capsys.readouterr().out and not (tmp_path / "data").exists()


def test_the_tests_of_the_gpu_are_chosen_without_nbval(monkeypatch, capsys):
    """In Colab, which has no nbval, pyproject's options would be unknown ones."""
    monkeypatch.chdir(measure.ROOT)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    _, module, *options = gpu_check.TESTS
    failed = pytest.main([*options, "--collect-only", "-s"])
    said = capsys.readouterr()
    assert not failed and module == "pytest", said
    collected = [line for line in said.out.splitlines() if "::" in line]
    assert len(collected) >= 5 and all("test_gpu.py::" in line for line in collected)


def test_a_rehearsal_on_the_cpu_measures_every_part_and_keeps_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TWOSTREAM_DEVICE", "cpu")
    monkeypatch.setenv("TWOSTREAM_PRECISION", "no")
    written = gpu_check.FOUND.exists()
    assert gpu_check.main(["--tiny", "--device", "cpu", "--data", str(tmp_path)]) == 0
    assert gpu_check.FOUND.exists() == written  # no figures of a rehearsal in the course
    shards = sorted(path.stem for path in (tmp_path / "37").glob("*.zip"))
    assert shards == sorted(clips.DIRECTIONS)
    found = kept.load(tmp_path / "gpu_check.json")
    assert [*found] == ["run", *gpu_check.PARTS] and found["run"]["device"].startswith("CPU")
    assert len(found["first_layers"]) == 5
    for run in found["first_layers"].values():
        assert 0 < run["last_loss"] < 20 and run["start"]["first"] > 0
    for run in (*found["networks"].values(), found["precisions"]["bfloat16"]):
        assert run["clips_per_second"] > 0 and 0.1 < run["memory_gb"] < 50
        assert all(0 < loss < 20 for loss in run["losses"])
    assert found["precisions"]["float32"]["logits_off"] == 0
    assert 0 < found["precisions"]["bfloat16"]["logits_off"] < 0.5
    assert min(found["loader"][name] for name in ("spatial", "temporal", "conv")) > 0
    for what in ("rgb", "flow"):
        assert found["decoding"][what]["device_per_second"] > 0
        assert found["decoding"][what]["levels_off"] <= 3  # of 255: two libraries round apart
    skipped = "skipped: no CUDA device"
    assert found["precisions"]["float16"] == found["compiled"] == skipped
    assert "the GPU's tests: skipped" in capsys.readouterr().out
    assert os.environ["TWOSTREAM_PRECISION"] == "no"  # as it was

    chapter = next((measure.ROOT / "notebooks" / "source").glob("11_*.md")).read_text("utf-8")
    (cell,) = re.findall(r"```python\n(measured = .*?)```", chapter, re.DOTALL)
    for folder, said in (tmp_path, "temporal takes "), (tmp_path / "none", "Not yet. Nobody"):
        monkeypatch.setattr(kept, "KEPT", folder)
        exec(cell, {"kept": kept})
        assert said in capsys.readouterr().out


def test_weights_that_cannot_be_fetched_are_random_ones(tmp_path, monkeypatch, capsys):
    def offline(*args, **options):
        raise RuntimeError("the ImageNet weights could not be fetched")

    monkeypatch.setattr(gpu_check, "load_weights", offline)
    monkeypatch.setattr(gpu_check, "vgg19", lambda *sizes: vgg19(3, 10, 1 / 16))
    path = gpu_check.weights(tmp_path, 1)
    assert "could not be fetched" in capsys.readouterr().out
    assert vgg19(3, 10, 1 / 16, weights=path).features[0].weight.shape == (4, 3, 3, 3)
