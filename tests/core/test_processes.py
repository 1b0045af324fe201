"""Several processes train and score together as one would; two on the CPU, through gloo."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from twostream_utils import device
from twostream_utils.evaluation import Scores

SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import torch
from test_stacks import dataset
from twostream_utils.device import processes
from twostream_utils.evaluation import score
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.training import fit
from twostream_utils.vgg import vgg19

folder = Path(sys.argv[1])
count = processes()[1]
profile = get_profile("mini", rgb_frames=2, crop=32, short_side=40, positions=1)
torch.manual_seed(0)
model = vgg19(6, 2, width=1 / 16, dropout=0.0)
train = dataset(profile, streams=("rgb",), repeat=4)  # 24 clips: three batches of 8
val = dataset(profile, train=False, streams=("rgb",))
val.clips, val.labels = val.clips[:5], val.labels[:5]  # an odd number: unequal shares
recipe = Recipe(3, 0.2, batch_size=8 // count, dropout=0.0)
history = fit(model, train, recipe, folder / "model.pt", val)
read = val.store.decoded
scores = score(model, val, batch_size=2)
if processes()[0] == 0:
    scores.save(folder / "scores.npz")
(folder / f"history{{processes()[0]}}.json").write_text(json.dumps(history))
(folder / f"read{{processes()[0]}}.json").write_text(str(val.store.decoded - read))
"""


def run(folder: Path, count: int) -> tuple[list[dict], Scores, list[int]]:
    """Train and score with `count` processes; histories must agree between them."""
    folder.mkdir()
    script = folder / "script.py"
    here = Path(__file__).resolve().parent
    script.write_text(SCRIPT.format(tests=str(here), root=str(here.parent)))
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    done = subprocess.run(
        [sys.executable, *(launch if count > 1 else []), str(script), str(folder)],
        capture_output=True, text=True, timeout=300,
        env={**device.os.environ, "TWOSTREAM_PRECISION": "no", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    histories = [json.loads((folder / f"history{k}.json").read_text()) for k in range(count)]
    keys = ("loss", "top1", "val_loss", "val_top1")
    for other in histories[1:]:
        assert [[row[k] for k in keys] for row in other] == [
            [row[k] for k in keys] for row in histories[0]
        ]
    read = [int((folder / f"read{k}.json").read_text()) for k in range(count)]
    return histories[0], Scores.load(folder / "scores.npz"), read


def test_two_processes_train_as_one_with_twice_the_batch(tmp_path):
    one, one_scores, one_read = run(tmp_path / "one", 1)
    two, two_scores, two_read = run(tmp_path / "two", 2)
    for name in ("loss", "val_loss"):
        assert [r[name] for r in two] == pytest.approx([r[name] for r in one], abs=1e-4)
    for name in ("top1", "val_top1", "lr"):
        assert [r[name] for r in two] == pytest.approx([r[name] for r in one])
    assert one[0]["loss"] - one[-1]["loss"] > 1e-3  # it learns, so equal curves mean something
    assert two_scores.clips == one_scores.clips
    np.testing.assert_array_equal(two_scores.labels, one_scores.labels)
    np.testing.assert_allclose(two_scores.logits, one_scores.logits, atol=1e-4)
    assert sum(two_read) == sum(one_read) and min(two_read) > 0  # every clip by one of them, once


BATCH_NORM = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import torch
from test_stacks import dataset
from twostream_utils import validation
from twostream_utils.device import processes
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.training import fit
from twostream_utils.vgg import vgg19

profile = get_profile("mini", rgb_frames=2, crop=32, short_side=40, positions=1)
torch.manual_seed(0)
model = vgg19(6, 2, width=1 / 16, dropout=0.0, batch_norm=True)
train = dataset(profile, streams=("rgb",), repeat=4)
val = dataset(profile, train=False, streams=("rgb",))
rank, seen = processes()[0], []
scored = validation.Validation._logits
def spied(self, model):
    seen.append({{k: v.clone() for k, v in model.state_dict().items()}})
    return scored(self, model)
validation.Validation._logits = spied
fit(model, train, Recipe(2, 0.02, batch_size=4, dropout=0.0), Path(sys.argv[1]) / "m.pt", val)
torch.save([*seen, model.state_dict()], Path(sys.argv[1]) / f"{{rank}}.pt")
"""


def test_all_processes_score_with_one_network(tmp_path):
    """Also where batch norm keeps statistics, and each process has seen other clips."""
    script = tmp_path / "script.py"
    here = Path(__file__).resolve().parent
    script.write_text(BATCH_NORM.format(tests=str(here), root=str(here.parent)))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(tmp_path)],
        capture_output=True, text=True, timeout=300,
        env={**device.os.environ, "TWOSTREAM_PRECISION": "no", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert len(first) == 3  # at both validations, and as they were handed back
    for a, b in zip(first, second):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6, msg=name)


NOTEBOOK = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from accelerate import notebook_launcher

def train(folder):
    import json
    from pathlib import Path
    import torch
    from test_stacks import dataset
    from twostream_utils.device import processes
    from twostream_utils.profiles import Recipe, get_profile
    from twostream_utils.training import fit
    from twostream_utils.vgg import vgg19

    profile = get_profile("mini", rgb_frames=2, crop=32, short_side=40, positions=1)
    torch.manual_seed(0)
    model = vgg19(6, 2, width=1 / 16, dropout=0.0)
    clips = dataset(profile, streams=("rgb",), repeat=4)
    history = fit(model, clips, Recipe(1, 0.02, batch_size=4, dropout=0.0), Path(folder) / "m.pt")
    said = [*processes(), history[-1]["loss"]]
    (Path(folder) / f"{{said[0]}}.json").write_text(json.dumps(said))

if __name__ == "__main__":
    notebook_launcher(train, (sys.argv[1],), num_processes=2)
"""


def test_fit_trains_under_the_launcher_of_notebooks(tmp_path):
    script = tmp_path / "script.py"
    here = Path(__file__).resolve().parent
    script.write_text(NOTEBOOK.format(tests=str(here), root=str(here.parent)))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300,
        env={**device.os.environ, "TWOSTREAM_PRECISION": "no", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (*first, loss), (*second, other) = (
        json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)
    )
    assert (first, second) == ([0, 2], [1, 2]) and loss == other and 0 < loss < 2
    assert (tmp_path / "m.pt").exists()


def test_one_process_is_the_first_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert device.processes() == (0, 1)
    device.wait_for_all()
