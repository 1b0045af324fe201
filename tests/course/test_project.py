"""The repository as a whole: dependencies, README, sizes of files, direction of imports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build as bn
import pytest
import readme as update_readme
import yaml
from outputs import MACHINE_PATH

from twostream_utils.fusion import METHODS

ROOT = Path(__file__).resolve().parents[2]

def made(*words: str, **variables: str) -> dict[str, str]:
    """The variables of the course that a recipe of the Makefile sees."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    show = "show:\n\t@env | grep ^TWOSTREAM_ || true\n"
    given = ("TWOSTREAM_", "MAKE", "PROFILE", "DATA", "GROUPS")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(given)}
    done = subprocess.run(
        ["make", "-s", "-f", "Makefile", "-f", "-", "show", *words], input=show, cwd=ROOT,
        env=clean | variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_make_exports_what_was_given_and_leaves_the_word_in_the_cell_alone():
    assert made() == {}
    assert made("PROFILE=ucf10") == {"TWOSTREAM_PROFILE": "ucf10"}
    assert made(PROFILE="ucf10") == {"TWOSTREAM_PROFILE": "ucf10"}
    assert made(TWOSTREAM_PROFILE="ucf10") == {"TWOSTREAM_PROFILE": "ucf10"}
    given = made("PROFILE=folder", f"DATA={ROOT}", r"GROUPS=^([a-z]+)_\d$")
    assert given == {
        "TWOSTREAM_PROFILE": "folder", "TWOSTREAM_DATA": str(ROOT),
        "TWOSTREAM_GROUPS": r"^([a-z]+)_\d$",
    }  # fmt: skip


def tracked_files() -> list[Path]:
    """What git knows or would add; the tree itself where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: the list of the project's files is not known")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def declared_dependencies() -> list[str]:
    """Names from pyproject.toml, those of the extras included (no TOML reader in 3.10)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = r"^(?:dependencies|dev|book) = \[\n(.*?)^\]"
    blocks = re.findall(lists, text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    return re.findall(r'"([A-Za-z0-9_.-]+)', "".join(blocks))


def test_environment_yml_gives_a_reason_for_each_dependency_and_no_other():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    reasons = re.findall(r"^ +# ([a-z0-9-]+): \S", text, flags=re.MULTILINE)
    assert sorted(reasons) == sorted(declared_dependencies())
    listed = yaml.safe_load(text)["dependencies"]
    assert listed[0].startswith("python") and listed[1:] == ["pip", {"pip": ["-e .[dev,book]"]}]


def test_dependencies_are_floors_only():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for line in re.findall(r'^    "([^"]+)",$', text, flags=re.MULTILINE):
        assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", line), line


def test_readme_results_are_those_of_the_results_file():
    results = update_readme.load_results(update_readme.COMMITTED)
    text = update_readme.README.read_text(encoding="utf-8")
    assert update_readme.updated(text, results) == text, "run notebooks/make/readme.py"


def test_readme_index_is_made_from_the_sources():
    text = update_readme.README.read_text(encoding="utf-8")
    assert bn.index_table(bn.read_sources(), "notebooks/") in text, "run `make notebooks`"


def test_readme_links_lead_somewhere():
    text = update_readme.README.read_text(encoding="utf-8")
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)", text):
        if not re.match(r"[a-z]+:", target):
            assert (ROOT / target).exists(), target


RESULTS = {
    "profile": "mini", "split": 1, "n_train": 640, "n_val": 80, "n_test": 280,
    "classes": ["a", "b"], "seed": 0, "torch": "2.9.0", "device": "CPU, 2 threads, float32",
    "methods": {
        method: {"top1": 0.5, "ci95": [0.4567, 0.6], "top5": 1.0, "seconds": 12.3}
        for method in METHODS
    },
}  # fmt: skip


def test_results_table_is_in_percent_beside_published_figures():
    lines = update_readme.results_table(RESULTS).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == ["Spatial stream", "50.0", "45.7 – 60.0", "100.0", "12", "82.61"]
    said = update_readme.caption(RESULTS)
    assert "split 1: 640 training, 80 validation and 280 test clips, seed 0" in said
    without = update_readme.caption(RESULTS | {"n_val": 0})
    assert "split 1: 640 training and 280 test clips, seed 0" in without


def test_readme_update_replaces_what_stands_between_the_markers():
    text = "a\n<!-- results:begin -->\nstale\n<!-- results:end -->\n"
    text += "<!-- accuracy:begin -->\nstale\n<!-- accuracy:end -->\nb"
    new = update_readme.updated(text, RESULTS)
    assert "stale" not in new and new.startswith("a\n") and new.endswith("-->\nb")
    assert update_readme.updated(new, RESULTS) == new
    with pytest.raises(ValueError, match="results:begin"):
        update_readme.updated("no markers", RESULTS)


def test_accuracy_table_names_splits_seeds_and_clips():
    row = {"top1": 0.5, "ci95": [0.4567, 0.6], "seconds": 12.3}
    run = {
        "profile": "mini", "splits": [1, 2, 3], "seeds": [0], "clips": 90, "cores": 2,
        "precision": "float32", "methods": dict.fromkeys(METHODS, row),
        "views": {"single": dict.fromkeys(METHODS, 0.25)},
        "differences": {
            pair: {"gain": gain, "ci95": [gain - 0.01, gain + 0.01]}
            for pair, gain in (
                ("average_fusion − better stream", 0.08),
                ("conv_fusion − average_fusion", 0.02),
                ("conv_fusion − logit_average", -0.005),
            )
        },
    }  # fmt: skip
    both = {**run, "seeds": [0, 1]}
    lines = update_readme.accuracy_table([run, both, {**both, "splits": [1]}]).split("\n")
    assert "`mini`, 3 splits, 90 test clips" in lines[0]
    assert "`mini`, 3 splits, 2 seeds, 90 test clips" in lines[0]
    assert "`mini`, 2 seeds, 90 test clips" in lines[0] and len(lines) == 7
    assert lines[2].count("50.0 (45.7 – 60.0)") == lines[2].count(" 25.0 |") == 3
    said = update_readme.compute([run, {**both, "profile": "weizmann"}])
    assert "2 cores in float32: `mini` 9 networks, 12 s; `weizmann` 18 networks, 12 s." in said
    said = update_readme.differences([run, {**run, "profile": "weizmann"}])
    assert said.startswith(
        "Differences in points, paired by clip: average fusion minus the better stream `mini` +8.0 "
        "(+7.0 to +9.0), `weizmann` +8.0 (+7.0 to +9.0); conv fusion minus average fusion `mini` +2"
    )
    assert "; conv fusion minus the average of logits `mini` -0.5 (-1.5 to +0.5), " in said


def test_unfinished_results_are_named(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(FileNotFoundError, match="make run"):
        update_readme.load_results(path)
    methods = {"spatial": RESULTS["methods"]["spatial"]}
    path.write_text(json.dumps(RESULTS | {"methods": methods}))
    with pytest.raises(ValueError, match="average_fusion, conv_fusion, logit_average, temporal"):
        update_readme.load_results(path)


def test_no_paths_of_one_machine():
    for path in tracked_files():
        if path.suffix in {".safetensors", ".npz", ".png", ".webp"}:
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":  # pictures in base64 may hold anything
            text = re.sub(r'"image/\w+": "[^"]*"', "", text)
        if match := MACHINE_PATH.search(text):
            pytest.fail(f"{path.relative_to(ROOT)} holds a path of one machine: {match[0]}")


def test_python_files_are_ruff_clean():
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
