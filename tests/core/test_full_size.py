"""A rehearsal of the UCF101 profiles on the CPU: real clips, 224 px, VGG-19 at its full width.

Twelve steps of each network, in a process that is killed in each; then scores and the table. The
weights are random ones in torchvision's names and shapes. `make test-slow` prints what it took.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from twostream_utils.course import Course
from twostream_utils.data.extract import make_shards
from twostream_utils.lab.results import write_results
from twostream_utils.profiles import INPUTS, Profile, get_profile
from twostream_utils.store import FrameStore
from twostream_utils.training import load_checkpoint

CLASSES = "JavelinThrow", "Surfing"  # of the first split 4 training, 1 validation, 2 test clips
STEPS, BATCH = 12, 2  # in two epochs of all training clips, three times each


def profile(folder: Path) -> Profile:
    usual = get_profile("ucf101")
    recipes = {n: replace(getattr(usual, n), steps=STEPS, batch_size=BATCH) for n in INPUTS}
    return replace(
        usual, classes=CLASSES, weights=str(folder / "vgg19.pth"), val_fraction=0.2, positions=1,
        crops="centre", epoch_clips=STEPS * BATCH // 2, **recipes,
    )  # fmt: skip


def rehearse(folder: Path) -> None:
    """Train what is not trained yet, score and write the table; print what it took."""
    import resource

    from readme import load_results, results_table

    course = Course(
        profile(folder), FrameStore(folder / "shards"), folder / "drive" / "ucf",
        scratch=folder / "disk",
    )  # fmt: skip
    assert course.profile.channels == {"rgb": 30, "flow": 100}
    table = results_table(load_results(write_results(course)))
    for name in INPUTS:
        state = load_checkpoint(course.checkpoint(name), mmap=True)
        seconds = sum(row["seconds"] for row in state["history"]) / STEPS
        weights = sum(tensor.numel() for tensor in state["model"].values())
        precision = state["trained_with"][-1]["precision"]
        print(f"{name}: {weights:,} weights, {seconds:.1f} s a step of {BATCH} clips, {precision}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak * (1 if sys.platform == 'darwin' else 1024) / 1e9:.1f} GB\n{table}")


@pytest.mark.slow
def test_twelve_steps_of_each_network_killed_and_gone_on_with(shared_data, tmp_path, capsys):
    pytest.importorskip("resource")
    (tmp_path / "videos").mkdir()
    for label in CLASSES:
        if not (source := shared_data / "ucf101_clips" / label).is_dir():
            pytest.skip(f"real clips not found at {source}")
        (tmp_path / "videos" / label).symlink_to(source)
    make_shards(tmp_path / "videos", tmp_path / "shards", profile(tmp_path), every=2)
    state = torchvision.models.vgg19().state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 143_667_240
    torch.save(state, tmp_path / "vgg19.pth")
    del state

    command = [sys.executable, __file__, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TWOSTREAM_DEVICE": "cpu"}
    begun = {}
    for name in INPUTS:
        process = subprocess.Popen(command, env=env)
        while not (found := [*(tmp_path / "disk").glob(f"**/{name}_*.pt")]):
            assert process.poll() is None, f"it ended before {name} had an epoch behind it"
            time.sleep(0.05)
        process.kill()  # SIGKILL
        process.wait()
        begun[name] = load_checkpoint(found[0], mmap=True)
        assert len(begun[name]["history"]) == 1 and begun[name]["optimizer"]
        assert not [*(tmp_path / "drive").glob(f"**/{name}_*")]  # only what is finished goes there
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    with capsys.disabled():
        print(f"\n{done.stdout}")
    for name, state in begun.items():
        (path,) = (tmp_path / "drive").glob(f"**/{name}_*.pt")
        end = load_checkpoint(path, mmap=True)
        assert end["history"][0] == state["history"][0], "its first epoch was trained again"
        assert len(end["history"]) == 2 and not end["optimizer"]
        changed = [n for n, w in end["model"].items() if not torch.equal(w, state["model"][n])]
        trained = [n for n in end["model"] if not n.startswith(("spatial.", "temporal."))]
        assert changed == trained, name  # all layers, and in conv fusion those after the trunks
    for method in ("Spatial stream", "Temporal stream", "Average fusion", "Conv fusion"):
        assert f"| {method}" in done.stdout
    assert "peak memory" in done.stdout


if __name__ == "__main__":
    rehearse(Path(sys.argv[1]))
