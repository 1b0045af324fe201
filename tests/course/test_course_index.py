"""The index of the course: measured minutes where there are any, estimates marked as such."""

from __future__ import annotations

import json
import re

import build as bn
import index as course_index
import pytest
import readme as update_readme
import run as run_course

SOURCES = bn.read_sources()
RUN = {
    "device": "CPU, 2 threads",
    "torch": "2.9.0",
    "notebooks": {SOURCES[0].stem: {"seconds": 61.0, "longest_cell": 12.1}},
}


def rows_of(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_measured_minutes_are_rounded_up_and_the_rest_is_an_estimate():
    table = course_index.index_table(SOURCES, measured={"cpu": RUN})
    head, rule, first, second, *_ = rows_of(table)
    assert head[4:] == ["CPU, min to run", "Exercises"] and len(rule) == len(head)
    assert first[4] == "2" and second[4].startswith("≈")
    assert "Measured by `make run` on CPU, 2 threads, torch 2.9.0" in table
    assert "≈ marks an estimate" in table
    assert "≈ marks" not in course_index.caption(SOURCES[:1], {"cpu": RUN})


def test_a_t4_has_a_column_once_a_run_measured_it_and_no_guess():
    table = course_index.index_table(SOURCES, measured={"cpu": RUN})
    assert "T4" not in table.splitlines()[0] and "On a T4: not measured yet." in table
    on_t4 = {**RUN, "device": "Tesla T4, 15 GiB"}
    table = course_index.index_table(SOURCES, measured={"cpu": RUN, "t4": on_t4})
    head, rule, first, second, *_ = rows_of(table)
    assert head[5] == "T4, min to run" and len(rule) == len(head) == len(first)
    assert first[5] == "2" and second[5] == "–"
    assert "on Tesla T4, 15 GiB" in table and "not measured yet" not in table
    source = next(source for source in SOURCES if "(" in source.cpu)
    run = {**on_t4, "notebooks": {source.stem: {"seconds": 200.0, "longest_cell": 60.0}}}
    assert course_index.minutes(source, "t4", {"t4": run}) == "4"  # the CPU's remark is not its own


def test_every_row_says_what_one_learns_and_counts_exercises():
    _, _, *rows = rows_of(course_index.index_table(SOURCES, "notebooks/"))
    for source, cells in zip(SOURCES, rows, strict=True):
        assert cells[1] == f"[{source.title}](notebooks/{source.stem}.ipynb)"
        assert cells[2] == "; ".join(source.learn)
        assert re.fullmatch(r"≈?\d+", cells[4])
        assert cells[-1] == str(source.text.count("\n### Exercise ") or "–")


def test_what_stands_behind_the_estimate_stays():
    source = next(source for source in SOURCES if "(" in source.cpu)
    run = {**RUN, "notebooks": {source.stem: {"seconds": 200.0, "longest_cell": 60.0}}}
    assert course_index.minutes(source, "cpu", {"cpu": run}).startswith("4 (")
    assert "60 s (CPU, 2 threads)" in course_index.longest_wait(source, {"cpu": run})
    assert course_index.longest_wait(source, {}) == ""


@pytest.mark.parametrize(
    ("device", "column"), [("CPU, 2 threads", "cpu"), ("Tesla T4, 15 GiB", "t4"), ("A100", None)]
)
def test_a_run_is_kept_under_its_device(tmp_path, device, column):
    path = tmp_path / "minutes.json"
    assert course_index.record({**RUN, "device": device}, path) == column
    kept = course_index.read_minutes(path)
    assert list(kept) == ([column] if column else [])


def test_a_run_writes_the_waits_that_the_index_reads(tmp_path):
    path = tmp_path / "minutes.json"
    run_course.write_minutes(path, RUN["notebooks"], {**RUN, "methods": {}})
    assert json.loads(path.read_text()) == RUN


def test_a_run_says_where_its_time_went():
    methods = {"spatial": {"seconds": 30.0}, "conv_fusion": {"seconds": 90.0}}
    said = run_course.where_time_went(300.0, 60.0, methods)
    assert said == "minutes: data 1.0, training 1.5, all else 2.5"
    assert run_course.where_time_went(60.0, 6.0, {}).endswith("training 0.0, all else 0.9")


def test_update_readme_takes_the_minutes_over(tmp_path, monkeypatch):
    for name in "README", "COMMITTED":
        copy = tmp_path / getattr(update_readme, name).name
        copy.write_text(getattr(update_readme, name).read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(update_readme, name, copy)
    results = tmp_path / "results.json"
    results.write_text(update_readme.COMMITTED.read_text(encoding="utf-8"), encoding="utf-8")
    run_course.write_minutes(tmp_path / "minutes.json", RUN["notebooks"], RUN)
    kept = []
    monkeypatch.setattr(update_readme, "record", lambda run: kept.append(run) or "cpu")
    assert update_readme.main([str(results)]) == 0
    assert kept == [RUN]
