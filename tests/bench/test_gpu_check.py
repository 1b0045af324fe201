"""`make gpu-check` without a GPU: it says that it was skipped, and its logic runs on the CPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
import gpu_check  # noqa: E402


def command(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "bench" / "gpu_check.py", *arguments],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip


def test_without_a_gpu_it_says_so_and_is_no_failure(tmp_path):
    done = command("--data", str(tmp_path / "data"))
    assert done.returncode == 0 and "skipped: no CUDA device" in done.stdout
    assert not (tmp_path / "data").exists()


def test_the_tests_of_the_gpu_are_chosen_without_nbval():
    """In Colab, which has no nbval, pyproject's options would be unknown ones."""
    done = subprocess.run(
        [sys.executable, *gpu_check.TESTS, "--collect-only"], cwd=ROOT, text=True,
        capture_output=True, env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    collected = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(collected) >= 8 and all("test_gpu.py::" in line for line in collected)


def test_a_rehearsal_on_the_cpu_prints_rate_memory_and_loss_of_each(tmp_path):
    sizes = ["--width", "0.1", "--crop", "64", "--batch-size", "8", "--epoch-clips", "24"]
    done = command(*sizes, "--seconds", "1", "--device", "cpu", "--data", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "73").glob("*.zip")) == [
        "Down.zip", "Left.zip", "Right.zip", "Up.zip",
    ]  # fmt: skip
    number = r"([\d.]+)"
    for name in ("spatial", "temporal", "conv"):
        line = re.search(rf"^{name} +{number} +{number}   {number} → {number} in", done.stdout,
                         re.MULTILINE)  # fmt: skip
        assert line, done.stdout
        rate, memory, first, last = map(float, line.groups())
        assert rate > 0 and 0.1 < memory < 50
        assert 0 < last < 10 and 0 < first < 10
    assert re.search(rf"^average fusion +{number} +{number} \(test clips", done.stdout, re.M)


@pytest.mark.parametrize(("label", "step"), gpu_check.DIRECTIONS.items())
def test_textures_move_towards_their_class(label, step):
    from twostream_utils.flow import compute_flow

    frames = gpu_check.moving_texture(label, 5, 96)
    assert frames.shape == (110, 96, 128, 3) and frames.dtype == np.uint8
    grey = frames[..., 1].copy()
    flow = np.median(compute_flow(grey[0], grey[1], "dis"), axis=(0, 1))
    assert np.argmax(np.abs(flow)) == (0 if step[0] else 1)
    assert np.sign(flow).round()[np.argmax(np.abs(flow))] == sum(step)
