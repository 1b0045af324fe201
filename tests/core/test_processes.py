"""Several processes train and score together as one would; two on the CPU, through gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from twostream_utils import device
from twostream_utils.evaluation import Scores

HERE = Path(__file__).resolve().parent
WORK = """
import json, sys
from pathlib import Path

def work(folder, norm):
    import torch
    from test_stacks import dataset
    from twostream_utils import training
    from twostream_utils.device import processes
    from twostream_utils.evaluation import score, validate
    from twostream_utils.profiles import Recipe, get_profile
    from twostream_utils.vgg import vgg19

    folder, (rank, count) = Path(folder), processes()
    profile = get_profile("mini", rgb_frames=2, crop=32, short_side=40, positions=1)
    torch.manual_seed(0)
    model = vgg19(6, 2, width=1 / 16, dropout=0.0, batch_norm=norm)
    train = dataset(profile, streams=("rgb",), repeat=4)  # 24 clips: three batches of 8
    val = dataset(profile, train=False, streams=("rgb",))
    val.clips, val.labels = val.clips[:5], val.labels[:5]  # an odd number: unequal shares
    seen = []  # the network as it was validated, and as it was handed back

    def watched(model, *arguments):
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return validate(model, *arguments)

    training.validate = watched
    steps = 9 * count  # three epochs in any case
    recipe = Recipe(steps, 0.02 if norm else 0.2, batch_size=8 // count, dropout=0.0)
    history = training.fit(model, train, recipe, folder / "model.pt", val)
    torch.save([*seen, model.state_dict()], folder / f"seen{rank}.pt")
    read = val.store.decoded
    scores = score(model, val, batch_size=2)
    if rank == 0:
        scores.save(folder / "scores.npz")
    found = {"rank": [rank, count], "history": history, "read": val.store.decoded - read}
    (folder / f"{rank}.json").write_text(json.dumps(found))

if __name__ == "__main__":
    if sys.argv[3] == "notebook":
        from accelerate import notebook_launcher
        notebook_launcher(work, (sys.argv[1], False), num_processes=2)
    else:
        work(sys.argv[1], sys.argv[2] == "norm")
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def run(folder: Path, launch=TORCHRUN, norm: str = "", how: str = "") -> list[dict]:
    """Train and score; return what each process found, whose histories must agree."""
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(WORK)
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(folder), norm, how],
        capture_output=True, text=True, timeout=300,
        env=os.environ | {"TWOSTREAM_PRECISION": "no", "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("?.json"))]
    assert [one["rank"] for one in found] == [[k, len(found)] for k in range(len(found))]
    for row, *others in zip(*(one["history"] for one in found)):
        assert all(row | {"seconds": 0} == other | {"seconds": 0} for other in others)
    return found


@pytest.mark.parametrize("how", ["torchrun", "notebook"])
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path, how):
    one = run(tmp_path / "one", launch=())
    two = run(tmp_path / "two", TORCHRUN if how == "torchrun" else (), how=how)
    assert (len(one), len(two)) == (1, 2)
    history = one[0]["history"]
    for row, expected in zip(two[0]["history"], history, strict=True):
        for name in set(row) - {"seconds"}:
            assert row[name] == pytest.approx(expected[name], abs=1e-4), name
    assert history[0]["loss"] - history[-1]["loss"] > 1e-3  # it learns: equal curves say something
    one_scores, scores = (Scores.load(tmp_path / name / "scores.npz") for name in ("one", "two"))
    assert scores.clips == one_scores.clips
    np.testing.assert_array_equal(scores.labels, one_scores.labels)
    np.testing.assert_allclose(scores.logits, one_scores.logits, atol=1e-4)
    read = [found["read"] for found in two]
    assert sum(read) == one[0]["read"] and min(read) > 0  # every clip by one of them, once


def test_all_processes_score_with_one_network(tmp_path):
    """Also where batch norm keeps statistics, and each process has seen other clips."""
    run(tmp_path / "two", norm="norm")
    first, second = (torch.load(tmp_path / "two" / f"seen{rank}.pt") for rank in range(2))
    assert len(first) == 4  # at three validations, and as they were handed back
    for a, b in zip(first, second):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6, msg=name)


def test_one_process_is_the_first_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert device.processes() == (0, 1)
    device.wait_for_all()
